"""Evaluating: what a model is worth, by its own tensors, by texts, by questions and beside its source"""
