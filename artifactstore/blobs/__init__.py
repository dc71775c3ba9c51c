"""Bytes at rest"""
