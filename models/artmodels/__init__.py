"""The model shelf: reference models and their recipes"""
