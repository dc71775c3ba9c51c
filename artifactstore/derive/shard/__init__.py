"""Shard: a version's weights as files of at most so many bytes"""
