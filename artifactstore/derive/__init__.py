"""New versions from old"""
