"""A content-addressed store for model checkpoints and their lineage"""
