"""Sparsify: which elements of task vectors are kept, by magnitude or by chance"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from artifactstore.derive.kernels.base import Masks, Params
from artifactstore.derive.kernels.deltas import Deltas
from artifactstore.derive.kernels.largest import Largest, largest, sizes
from artifactstore.derive.kernels.parts import last_dimension

Bools = NDArray[np.bool_]
# Which elements of a block are kept: where it lies in its part, and the task vector there.
Mask = Callable[[slice, torch.Tensor], Bools]
# Of a part (its first element, base, models): a mask for each model, None where all is kept.
Keep = Callable[[int, torch.Tensor, Sequence[torch.Tensor]], list[Mask | None]]
# What learns from task vectors and the parameters of their sources what to keep.
Sparsify = Callable[[Deltas, Sequence[Params], Masks], Keep]


def by_magnitude(deltas: Deltas, sources: Sequence[Params], masks: Masks) -> Keep:
    """The largest `density` of all elements, at least one (TIES, Yadav 2023)"""
    del masks
    ranks = [_trimmed(float(each["density"]), deltas.count) for each in sources]
    return _between(largest(deltas, [[rank] for rank in ranks]))


def without_outliers(deltas: Deltas, sources: Sequence[Params], masks: Masks) -> Keep:
    """The next largest `density` of all elements after the largest `gamma` (Breadcrumbs, Davari 2023)

    Fewer of the largest are left out where the density could not be had otherwise.
    """
    del masks
    ranks = [_crumbs(float(each["density"]), float(each["gamma"]), deltas.count) for each in sources]
    return _between(largest(deltas, ranks))


def by_chance(deltas: Deltas, sources: Sequence[Params], masks: Masks) -> Keep:
    """Each element with the chance `density` (DARE, Yu 2023)"""
    densities = [float(each["density"]) for each in sources]

    def draw(begin: int, base: torch.Tensor, models: Sequence[torch.Tensor]) -> list[torch.Tensor | None]:
        del models
        return [
            None if density >= 1 else masks.draw(source, begin, torch.full((1,), density).expand(len(base)))
            for source, density in zip(deltas.merged, densities, strict=True)
        ]

    return _drawn_once(draw)


def by_rank(deltas: Deltas, sources: Sequence[Params], masks: Masks) -> Keep:
    """Each element with a chance that grows with its rank in its row (DELLA, Deep 2024). Parts are whole rows

    From `density` - `epsilon` to `density` + `epsilon`; of equal magnitudes the first has the lower rank.
    """
    row = last_dimension(deltas.chunks.shape)

    def draw(begin: int, base: torch.Tensor, models: Sequence[torch.Tensor]) -> list[torch.Tensor | None]:
        return [
            None if params["density"] >= 1 else masks.draw(source, begin, _chances(model - base, row, params))
            for source, model, params in zip(deltas.merged, models, sources, strict=True)
        ]

    return _drawn_once(draw)


def _drawn_once(draw: Callable[[int, torch.Tensor, Sequence[torch.Tensor]], list[torch.Tensor | None]]) -> Keep:
    """What is drawn for a part, kept as a bit for each element for who comes again"""
    known: dict[int, list[NDArray[np.uint8] | None]] = {}

    def keep(begin: int, base: torch.Tensor, models: Sequence[torch.Tensor]) -> list[Mask | None]:
        if begin not in known:
            drawn = draw(begin, base, models)
            known[begin] = [None if each is None else np.packbits(each.numpy()) for each in drawn]
        return [None if bits is None else partial(_unpacked, bits) for bits in known[begin]]

    return keep


def _unpacked(bits: NDArray[np.uint8], here: slice, delta: torch.Tensor) -> Bools:
    del delta
    # blocks begin at whole bytes
    return np.unpackbits(bits[here.start // 8 : -(-here.stop // 8)], count=here.stop - here.start).view(np.bool_)


def _trimmed(density: float, count: int) -> int:
    if density >= 1:
        return count
    return max(1, int(density * count)) if density > 0 else 0


def _crumbs(density: float, gamma: float, count: int) -> tuple[int, int]:
    """Ranks: of the last that is kept, and of the last of those before the first"""
    if density >= 1:
        return count, 0
    kept = int(density * count)
    last = count - max(0, count - kept - int(gamma * count))
    return last, last - kept


def _between(found: Sequence[Sequence[Largest]]) -> Keep:
    """The elements that are among the first of two sets and not among the second, if there is one"""

    def keep(begin: int, base: torch.Tensor, models: Sequence[torch.Tensor]) -> list[Mask | None]:
        del base, models
        return [None if limits[0].all and not limits[1:] else partial(_limited, begin, limits) for limits in found]

    return keep


def _limited(begin: int, limits: Sequence[Largest], here: slice, delta: torch.Tensor) -> Bools:
    block = sizes(delta)
    mask = limits[0].mask(begin + here.start, block)
    for inner in limits[1:]:
        mask &= ~inner.mask(begin + here.start, block)
    return mask


def _chances(delta: torch.Tensor, row: int, params: Params) -> torch.Tensor:
    density, epsilon = float(params["density"]), float(params["epsilon"])
    dtype = torch.bfloat16 if delta.dtype == torch.bfloat16 else torch.float32
    if density <= 0:
        return torch.zeros(len(delta))
    order = delta.abs().view(-1, row).argsort(dim=1, stable=True)
    ranks = torch.arange(row).to(dtype) + 1
    places = ((ranks - ranks[0]) / (ranks[-1] - ranks[0])).nan_to_num(0.5)
    chances = (density - epsilon) + places * 2 * epsilon
    return torch.empty(order.shape, dtype=dtype).scatter_(1, order, chances.expand_as(order)).view(-1)
