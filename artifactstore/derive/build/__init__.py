"""Building: recipes to models that a page can load, step by step"""
