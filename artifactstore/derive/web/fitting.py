"""Fitting: blocks of 32 weights in 2 bits, with the scale and the zero point that lose least

With only four steps, the least and the largest of a block are a poor measure: of several narrower scales and all zero
points that one is taken whose squared error is least. Layout as onnxruntime's MatMulNBits takes it.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from artifactstore.derive.web.levels import BLOCK

BITS = 2
_TOP = (1 << BITS) - 1
_PER_BYTE = 8 // BITS
_SHRUNK = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)

Array = npt.NDArray[Any]


def quantize(matrix: Array) -> tuple[Array, Array, Array]:
    """Bits, scales and zero points of a matrix whose blocks go down its columns, for each column"""
    inner, outer = matrix.shape
    blocks = -(-inner // BLOCK)
    weights = torch.zeros((outer, blocks * BLOCK))
    weights[:, :inner] = torch.tensor(matrix).T
    steps, scale, zero = _fit(weights.view(outer, blocks, BLOCK))
    return _packed(steps), scale.squeeze(-1).numpy(), _packed(zero.view(outer, 1, blocks))[:, 0]


def _fit(weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    low, high = weights.amin(-1, keepdim=True).clamp(max=0), weights.amax(-1, keepdim=True).clamp(min=0)
    wide = (high - low) / _TOP
    wide = torch.where(wide == 0, torch.ones_like(wide), wide)
    least, scale, zero = torch.full_like(wide, torch.inf), wide, torch.zeros_like(wide)
    for share in _SHRUNK:
        tried = wide * share
        rounded = torch.round(weights / tried)
        for at in range(_TOP + 1):
            error = (rounded.clamp(-at, _TOP - at) * tried - weights).square().sum(-1, keepdim=True)
            better = error < least
            least = torch.where(better, error, least)
            scale = torch.where(better, tried, scale)
            zero = torch.where(better, at, zero)
    return (torch.round(weights / scale) + zero).clamp(0, _TOP), scale, zero


def _packed(steps: torch.Tensor) -> Array:
    """Four to a byte along the last dimension, the first in the lowest bits"""
    last = steps.shape[-1]
    padded = torch.nn.functional.pad(steps.to(torch.uint8), (0, -last % _PER_BYTE))
    parts = padded.view(*steps.shape[:-1], -1, _PER_BYTE)
    found: Array = sum(
        (parts[..., n] << (BITS * n) for n in range(_PER_BYTE)), torch.zeros((), dtype=torch.uint8)
    ).numpy()
    return np.ascontiguousarray(found)
