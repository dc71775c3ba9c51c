"""Exports: a version and its lineage in the documents that other tools read"""
