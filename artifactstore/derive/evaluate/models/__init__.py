"""Models: files of each format opened so that they can be asked"""
