"""Bytes on the move: shared by all verbs"""
