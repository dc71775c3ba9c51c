"""Rows"""
