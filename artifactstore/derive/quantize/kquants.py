"""K-quants of GGUF: super-blocks of 256 weights, whose scales are quantized once more

Layouts: ggml/src/ggml-common.h of llama.cpp. Blocks lie side by side while they are worked on (position first, block
last), so that every step runs over contiguous memory. Each scale is searched: from several first guesses, the codes are
rounded and the scale that fits them best is calculated from them (least squares, all weights alike).
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import torch

from artifactstore.core.errors import Invalid

SUPER = 256
_ROUND = 12582912.0  # 1.5 · 2^23: added to a small float, its last bits are the nearest integer
_HALF_MAX = 65504.0

Encoder = Callable[[torch.Tensor], torch.Tensor]


def encode_q4_k(blocks: torch.Tensor) -> torch.Tensor:
    """[n, 256] float32 as [n, 144] uint8: 8 sub-blocks of 32, codes 0..15, scale and minimum of 6 bits"""
    x = _lay(blocks, 8)
    scale, low = _fit_affine(x, 15, (-0.8, -0.2, 0.4))
    unit, scales = _quantize_scales(scale, 63)
    low_unit, lows = _quantize_scales(low, 63)
    codes = _affine_codes(x, unit * scales, low_unit * lows, 15).view(4, 2, 32, -1)
    packed = codes[:, 0] | (codes[:, 1] << 4)
    scales, lows = scales.to(torch.uint8), lows.to(torch.uint8)
    head = scales[:4] | ((scales[4:] >> 4) << 6)
    middle = lows[:4] | ((lows[4:] >> 4) << 6)
    tail = (scales[4:] & 15) | ((lows[4:] & 15) << 4)
    return _rows(_half(unit), _half(low_unit), head, middle, tail, packed)


def encode_q2_k(blocks: torch.Tensor) -> torch.Tensor:
    """[n, 256] float32 as [n, 84] uint8: 16 sub-blocks of 16, codes 0..3, scale and minimum of 4 bits"""
    x = _lay(blocks, 16)
    scale, low = _fit_affine(x, 3, (-0.5, -0.2, 0.1, 0.45))
    unit, scales = _quantize_scales(scale, 15)
    low_unit, lows = _quantize_scales(low, 15)
    codes = _affine_codes(x, unit * scales, low_unit * lows, 3)
    both = scales.to(torch.uint8) | (lows.to(torch.uint8) << 4)
    return _rows(both, _pack_pairs(codes), _half(unit), _half(low_unit))


def encode_q3_k(blocks: torch.Tensor) -> torch.Tensor:
    """[n, 256] float32 as [n, 110] uint8: 16 sub-blocks of 16, codes -4..3, signed scales of 6 bits"""
    x = _lay(blocks, 16)
    scale = _fit_signed(x, 4, (-0.6, -0.2, 0.2, 0.6))
    unit = _to_half(scale.gather(0, scale.abs().argmax(0, keepdim=True)) / -32)
    scales = (scale * _inverse(unit)).round_().clamp_(-32, 31)
    codes = _signed_codes(x, unit * scales, 4)
    bits = (codes >> 2).view(8, 32, -1)
    high = bits[0].clone()
    for bit in range(1, 8):
        high |= bits[bit] << bit
    six = (scales + 32).to(torch.uint8)
    nibbles = (six[:8] & 15) | ((six[8:] & 15) << 4)
    fours = (six >> 4).view(4, 4, -1)
    tops = fours[0] | (fours[1] << 2) | (fours[2] << 4) | (fours[3] << 6)
    return _rows(high, _pack_pairs(codes & 3), nibbles, tops, _half(unit))


K_QUANTS: Mapping[str, Encoder] = MappingProxyType({"Q4_K": encode_q4_k, "Q3_K": encode_q3_k, "Q2_K": encode_q2_k})


def _lay(blocks: torch.Tensor, parts: int) -> torch.Tensor:
    """[n, 256] as [parts, 256 / parts, n]; raise Invalid for what no code stands for"""
    x = blocks.t().contiguous().view(parts, SUPER // parts, -1)
    if not bool(torch.isfinite(x.amax((0, 1)) - x.amin((0, 1))).all()):
        raise Invalid("Values that are infinite or not a number have no code; look at the source", code="not-finite")
    return x


def _fit_affine(x: torch.Tensor, top: int, guesses: Sequence[float]) -> tuple[torch.Tensor, torch.Tensor]:
    """Of each sub-block, scale and minimum (as its amount below zero), [parts, n] each, both ≥ 0

    x ≈ scale · code - low, codes 0..top: least squares for a line through (code, x). guesses: by how much the largest
    code is first let be more than top, below 0.5.
    """
    count = x.shape[1]
    low = x.amin(1).clamp_(max=0)
    span = x.amax(1).clamp_(min=0) - low
    above = x.sub_(low.unsqueeze(1))
    codes, product = torch.empty_like(x), torch.empty_like(x)
    total, squares = above.sum(1), torch.mul(above, above, out=product).sum(1)
    best_scale, best_low = span / top, -low
    best = torch.full_like(span, torch.inf)
    inverse = _inverse(span)
    for guess in guesses:
        torch.mul(above, (inverse * (top + guess)).unsqueeze(1), out=codes).round_()
        first, mixed = codes.sum(1), torch.mul(codes, above, out=product).sum(1)
        second = codes.square_().sum(1)
        spread = count * second - first * first
        scale = (count * mixed - first * total) / spread
        offset = (second * total - first * mixed) / spread
        # a minimum above zero has no code
        high = offset + low > 0
        scale = torch.where(high, (mixed + low * first) / second, scale)
        offset = torch.where(high, -low, offset)
        error = squares + scale * scale * second + count * offset * offset
        error += 2 * (scale * offset * first - scale * mixed - offset * total)
        # what is not finite compares as false: sub-blocks of one value keep what they began with
        better = (error < best) & (scale >= 0)
        best = torch.where(better, error, best)
        best_scale = torch.where(better, scale, best_scale)
        best_low = torch.where(better, -low - offset, best_low)
    x.add_(low.unsqueeze(1))  # as it was, but for what a sum loses
    return best_scale, best_low


def _fit_signed(x: torch.Tensor, reach: int, guesses: Sequence[float]) -> torch.Tensor:
    """Of each sub-block the scale, [parts, n], of either sign: x ≈ scale · code, codes -reach..reach-1"""
    low, high = x.amin(1), x.amax(1)
    # codes reach one further below zero, and that side goes to the largest weight
    largest = torch.where(high + low > 0, high, low)
    best_scale = largest / -reach
    best = torch.zeros_like(largest)
    codes, product = torch.empty_like(x), torch.empty_like(x)
    for guess in guesses:
        inverse = _inverse(largest) * -(reach + guess)
        torch.mul(x, inverse.unsqueeze(1), out=codes).round_().clamp_(-reach, reach - 1)
        mixed = torch.mul(codes, x, out=product).sum(1)
        second = codes.square_().sum(1)
        gain = mixed * mixed / second
        better = gain > best
        best = torch.where(better, gain, best)
        best_scale = torch.where(better, mixed / second, best_scale)
    return best_scale


def _quantize_scales(scales: torch.Tensor, top: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The unit of each super-block, [1, n], as a half holds it, and the scales counted in it, 0..top"""
    unit = _to_half(scales.amax(0, keepdim=True) / top)
    return unit, (scales * _inverse(unit)).round_().clamp_(0, top)


def _affine_codes(x: torch.Tensor, scale: torch.Tensor, low: torch.Tensor, top: int) -> torch.Tensor:
    codes = torch.add(x, low.unsqueeze(1)).mul_(_inverse(scale).unsqueeze(1)).clamp_(0, top)
    return _integers(codes)


def _signed_codes(x: torch.Tensor, scale: torch.Tensor, reach: int) -> torch.Tensor:
    """From 0: code + reach"""
    codes = torch.mul(x, _inverse(scale).unsqueeze(1)).clamp_(-reach, reach - 1)
    return _integers(codes.add_(reach))


def _integers(codes: torch.Tensor) -> torch.Tensor:
    return codes.add_(_ROUND).view(torch.int32).to(torch.uint8)


def _pack_pairs(codes: torch.Tensor) -> torch.Tensor:
    """Codes of two bits, four to a byte: each half of a super-block is four runs of 32, laid over one another"""
    runs = codes.view(2, 4, 32, -1)
    return runs[:, 0] | (runs[:, 1] << 2) | (runs[:, 2] << 4) | (runs[:, 3] << 6)


def _inverse(values: torch.Tensor) -> torch.Tensor:
    return torch.where(values == 0, 0, values.reciprocal())


def _to_half(values: torch.Tensor) -> torch.Tensor:
    return values.clamp(-_HALF_MAX, _HALF_MAX).to(torch.float16).to(torch.float32)


def _half(values: torch.Tensor) -> torch.Tensor:
    """[1, n] as its bytes, [2, n]"""
    return values.to(torch.float16).view(-1, 1).view(torch.uint8).t()


def _rows(*fields: torch.Tensor) -> torch.Tensor:
    """Fields of all blocks, each [..., n], as blocks one after another"""
    return torch.cat([field.reshape(-1, field.shape[-1]) for field in fields]).t().contiguous()
