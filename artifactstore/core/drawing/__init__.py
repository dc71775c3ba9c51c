"""Drawings of a graph of lineage: text, Graphviz, Mermaid"""
