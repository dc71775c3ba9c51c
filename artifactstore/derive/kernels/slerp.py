"""Slerp: between two tensors along the arc they span, each taken whole as a vector"""

import math
from collections.abc import Iterator, Sequence

import torch

from artifactstore.derive.kernels.base import Chunks, Masks, Params
from artifactstore.derive.kernels.parts import BLOCK, blocks, held, wide
from artifactstore.derive.kernels.sums import ROW, by_rows, total

# Beyond this cosine the arc is as good as straight.
_STRAIGHT = 0.9995
_NO_LENGTH = 1e-8


def slerp(chunks: Chunks, params: Params, sources: Sequence[Params], masks: Masks) -> Iterator[torch.Tensor]:
    """From the base (t = 0) to the other (t = 1), by Shoemake 1985; lengths are not restored

    Single precision. The angle is that of the whole tensors: a NaN or an infinity in either makes all of it NaN.
    """
    del sources, masks
    chunks = held(chunks)
    first = chunks.base or 0
    angle = cosine(chunks, first)
    shares = coefficients(angle, float(params["t"]))
    for _, tensors in chunks:
        yield _combined((tensors[first], tensors[1 - first]), shares)


def cosine(chunks: Chunks, first: int) -> torch.Tensor:
    """Of the angle between two tensors, as one element; a tensor of no length is at a right angle to all"""
    norms: tuple[list[float], list[float]] = ([], [])
    products: list[float] = []
    dtype = torch.float32
    for _, tensors in chunks:
        dtype = wide(tensors[0].dtype)
        for here in blocks(len(tensors[0])):
            pair = tensors[first][here].to(dtype), tensors[1 - first][here].to(dtype)
            if math.prod(chunks.shape) == len(pair[0]) <= ROW:
                return _cosine_of_few(*pair)
            for found, each in zip(norms, pair, strict=True):
                found.extend(by_rows(_norms, each))
            products += by_rows(_products, *pair)
    lengths = [math.sqrt(total(each * each for each in found)) for found in norms]
    divisors = [1.0 if each <= _NO_LENGTH else each for each in lengths]
    return torch.tensor([total(products) / math.prod(divisors)], dtype=dtype).clamp(-1, 1)


def coefficients(angle: torch.Tensor, t: float) -> tuple[float, float]:
    """How much of each of two vectors, by the cosine of their angle"""
    share = torch.tensor([t], dtype=angle.dtype)
    if angle.abs() > _STRAIGHT:
        return (1 - share).item(), share.item()
    angle = torch.acos(angle)
    sine = torch.sin(angle)
    return (torch.sin((1 - share) * angle) / sine).item(), (torch.sin(share * angle) / sine).item()


def _cosine_of_few(*pair: torch.Tensor) -> torch.Tensor:
    # Divided before it is multiplied, as the formula has it: so few are summed in one order everywhere.
    lengths = [torch.linalg.vector_norm(each.view(1, -1), dim=1) for each in pair]
    units = [each / torch.where(length > _NO_LENGTH, length, 1) for each, length in zip(pair, lengths, strict=True)]
    return (units[0] * units[1]).view(1, -1).sum(dim=1).clamp(-1, 1)


def _norms(rows: torch.Tensor) -> torch.Tensor:
    norms: torch.Tensor = torch.linalg.vector_norm(rows, dim=1)
    return norms


def _products(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return (one * other).sum(dim=1)


def _combined(pair: tuple[torch.Tensor, torch.Tensor], shares: tuple[float, float]) -> torch.Tensor:
    result = torch.empty_like(pair[0])
    scratch = torch.empty(2, min(BLOCK, len(result)), dtype=wide(result.dtype))
    for here in blocks(len(result)):
        one, other = scratch[:, : here.stop - here.start]
        one.copy_(pair[0][here]).mul_(shares[0])
        other.copy_(pair[1][here]).mul_(shares[1])
        result[here] = one.add_(other)
    return result
