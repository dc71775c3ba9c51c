"""Benchmarking: variants of a model side by side, what each takes and what it still knows"""
