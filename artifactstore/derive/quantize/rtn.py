"""Rounding to the nearest of few levels, by groups of a row that share a scale

Symmetric, as compressed-tensors has it: weight ≈ scale · code, codes from -2^(bits-1) to 2^(bits-1) - 1.
"""

import torch

from artifactstore.core.errors import Invalid

_ROUND = 12582912.0  # 1.5 · 2^23: added to a small float, its last bits are the nearest integer
# How much of the largest weight the first guesses reach: with few bits it pays to cut the rest off.
_REACHES = (1.0, 0.85, 0.7)
_FP8_MAX = 448.0


def quantize(groups: torch.Tensor, bits: int, scales: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Of [n, size] float32: codes from 0 (code + 2^(bits-1)) as uint8, and the scale of each group, [n]

    scales: the dtype they are stored in; codes are rounded to what it holds. Raise Invalid for what is not finite.
    """
    half = 1 << (bits - 1)
    codes = torch.abs(groups)
    largest = checked(codes.amax(1))
    scale = largest / (half - 0.5)
    if bits < 8:
        scale = _fit(groups, scale, half, codes)
    stored = _held(scale, scales)
    torch.mul(groups, inverse(stored.to(torch.float32)).unsqueeze(1), out=codes)
    codes.clamp_(-half, half - 1).add_(_ROUND + half)
    return codes.view(torch.int32).to(torch.uint8), stored


def quantize_fp8(rows: torch.Tensor, scales: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Of [n, columns] float32: float8_e4m3fn, and the scale of each row, [n, 1]; Invalid for what is not finite"""
    largest = checked(rows.abs().amax(1, keepdim=True))
    stored = _held(largest / _FP8_MAX, scales)
    scaled = (rows * inverse(stored.to(torch.float32))).clamp_(-_FP8_MAX, _FP8_MAX)
    return scaled.to(torch.float8_e4m3fn), stored


def checked(largest: torch.Tensor) -> torch.Tensor:
    """The largest amounts, all of which are numbers; else raise Invalid"""
    if not bool(torch.isfinite(largest).all()):
        raise Invalid("Values that are infinite or not a number have no code; look at the source", code="not-finite")
    return largest


def inverse(values: torch.Tensor) -> torch.Tensor:
    """1 / value, and 0 for 0"""
    return torch.where(values == 0, 0, values.reciprocal())


def _held(scale: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """As a dtype holds it, which must not be infinite"""
    return scale.clamp(max=torch.finfo(dtype).max).to(dtype)


def _fit(groups: torch.Tensor, scale: torch.Tensor, half: int, codes: torch.Tensor) -> torch.Tensor:
    """Of several first guesses, each moved to where least squares puts it for its codes, the best one"""
    product = torch.empty_like(groups)
    best_scale, best = scale, torch.zeros_like(scale)
    for reach in _REACHES:
        torch.mul(groups, inverse(scale * reach).unsqueeze(1), out=codes)
        codes.round_().clamp_(-half, half - 1)
        mixed = torch.mul(codes, groups, out=product).sum(1)
        second = codes.square_().sum(1)
        gain = mixed * mixed / second
        better = gain > best
        best = torch.where(better, gain, best)
        best_scale = torch.where(better, mixed / second, best_scale)
    return best_scale
