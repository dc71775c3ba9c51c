"""The one floor that knows torch"""
