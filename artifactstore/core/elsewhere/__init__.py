"""Models as other tools keep them, read from listings: which versions they would be"""
