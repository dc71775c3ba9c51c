"""Merging: one model of several, tensor by tensor, from the store and into it"""
