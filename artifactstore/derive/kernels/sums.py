"""Sums whose roundings do not follow from how many threads there are"""

import math
from collections.abc import Callable, Iterable

import torch

# Elements. Torch sums fewer than 32768 with one thread, and so each of many rows.
ROW = 1 << 14


def by_rows(reduce: Callable[..., torch.Tensor], *tensors: torch.Tensor) -> list[float]:
    """What `reduce` makes of each row of tensors of one length: of matrices whose rows it is to bring to one number"""
    length = len(tensors[0])
    whole = length - length % ROW
    found: list[float] = []
    if whole:
        found += reduce(*(each[:whole].view(-1, ROW) for each in tensors)).tolist()
    if length > whole:
        found += reduce(*(each[whole:].view(1, -1) for each in tensors)).tolist()
    return found


def total(numbers: Iterable[float]) -> float:
    """Their sum with one rounding; NaN where it cannot be had"""
    try:
        return math.fsum(numbers)
    except (OverflowError, ValueError):
        return math.nan
