"""Kernels: the mathematics of merging, over chunks of one tensor at a time"""
