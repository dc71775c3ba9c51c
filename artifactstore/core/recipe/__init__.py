"""Recipes: how models are merged, as people write it and as it is done tensor by tensor"""
