"""Sums whose roundings follow from what is summed alone"""

import math
from collections.abc import Iterable

import torch

from artifactstore.derive.kernels.parts import wide


def total(numbers: Iterable[float]) -> float:
    """Their sum with one rounding; NaN where it cannot be had"""
    try:
        return math.fsum(numbers)
    except (OverflowError, ValueError):
        return math.nan


def length(norms: Iterable[float]) -> float:
    """Of a vector, by those of its blocks"""
    return math.sqrt(total(each * each for each in norms))


def norm(block: torch.Tensor) -> float:
    """The length of a block, in single precision or better"""
    return float(torch.linalg.vector_norm(block, dtype=wide(block.dtype)))


def summed(block: torch.Tensor) -> float:
    """The sum of a block, in single precision or better"""
    return float(block.sum(dtype=wide(block.dtype)))
