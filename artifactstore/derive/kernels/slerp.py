"""Slerp: between two tensors along the arc they span, each taken whole as a vector"""

import math
from collections.abc import Iterator, Sequence

import torch

from artifactstore.derive.kernels.base import Chunks, Masks, Params
from artifactstore.derive.kernels.parts import held, over, wide
from artifactstore.derive.kernels.sums import norm, total

# Beyond this cosine the arc is as good as straight.
_STRAIGHT = 0.9995
_NO_LENGTH = 1e-8
# Elements. Torch adds up fewer than 32768 in one thread, so that no rounding follows from how many it may use.
_SMALL = (1 << 15) - 64


def slerp(chunks: Chunks, params: Params, sources: Sequence[Params], masks: Masks) -> Iterator[torch.Tensor]:
    """From the base (t = 0) to the other (t = 1), by Shoemake 1985; lengths are not restored

    Single precision. The angle is that of the whole tensors: a NaN or an infinity in either makes all of it NaN.
    """
    del sources, masks
    chunks = held(chunks)
    first = chunks.base or 0
    shares = coefficients(cosine(chunks, first), float(params["t"]))
    for _, tensors in chunks:
        yield _combined(tensors[first], tensors[1 - first], shares)


def cosine(chunks: Chunks, first: int) -> torch.Tensor:
    """Of the angle between two tensors, as one element; a tensor of no length is at a right angle to all"""
    found: list[tuple[float, float, float]] = []
    dtype = torch.float32
    for _, tensors in chunks:
        dtype = wide(tensors[0].dtype)
        if math.prod(chunks.shape) == len(tensors[0]) <= _SMALL:
            return _of_one_block(tensors[first].to(dtype), tensors[1 - first].to(dtype))
        found += _measured(tensors[first], tensors[1 - first], dtype)
    lengths = [math.sqrt(total(each[number] for each in found)) for number in (0, 1)]
    product = total(each[2] for each in found) / math.prod(each if each > _NO_LENGTH else 1 for each in lengths)
    return torch.tensor([product], dtype=dtype).clamp(-1, 1)


def coefficients(angle: torch.Tensor, t: float) -> tuple[float, float]:
    """How much of each of two vectors, by the cosine of their angle"""
    share = torch.tensor([t], dtype=angle.dtype)
    if angle.abs() > _STRAIGHT:
        return (1 - share).item(), share.item()
    angle = torch.acos(angle)
    sine = torch.sin(angle)
    return (torch.sin((1 - share) * angle) / sine).item(), (torch.sin(share * angle) / sine).item()


def _of_one_block(*pair: torch.Tensor) -> torch.Tensor:
    # Divided before it is multiplied, as the formula has it, so that its roundings are those of the formula.
    one, other = (each / (norm(each) if norm(each) > _NO_LENGTH else 1) for each in pair)
    return (one * other).sum().clamp(-1, 1).view(1)


def _measured(one: torch.Tensor, other: torch.Tensor, dtype: torch.dtype) -> list[tuple[float, float, float]]:
    """Products of each with itself and with the other, block by block"""

    def work(here: slice) -> tuple[float, float, float]:
        a, b = one[here].to(dtype), other[here].to(dtype)
        return torch.dot(a, a).item(), torch.dot(b, b).item(), torch.dot(a, b).item()

    return over(len(one), work)


def _combined(one: torch.Tensor, other: torch.Tensor, shares: tuple[float, float]) -> torch.Tensor:
    result = torch.empty_like(one)
    dtype = wide(one.dtype)

    def work(here: slice) -> None:
        result[here] = (one[here].to(dtype) * shares[0]).add_(other[here].to(dtype) * shares[1])

    over(len(one), work)
    return result
