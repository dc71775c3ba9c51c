"""Quantizing: tensors in fewer bits, as other tools read them"""
