"""Strict parsers of model files, and where files are cut"""
