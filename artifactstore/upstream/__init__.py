"""Bytes from outside: what a hub or a web server has, read as long as it takes and never believed unchecked"""
