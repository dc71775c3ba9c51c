"""Largest: which k elements of a task vector are the largest, found without sorting it"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from artifactstore.derive.kernels.deltas import Deltas
from artifactstore.derive.kernels.parts import BLOCK, over

# Of a tensor's elements one in so many is looked at first, and this many at least.
_ONE_IN = 256
_SAMPLES = 1 << 16
# Standard deviations of a rank in the sample, within which it is looked for.
_SURE = 5.0
# By what share of all elements the first part may be unlike the others.
_UNLIKE = 0.03
# Numbers that are kept at most for one rank, to be looked at closer.
_ROOM = 1 << 22
# Of no element.
_GREATEST = 1 << 63
_BITS = {2: torch.int16, 4: torch.int32, 8: torch.int64}

Sizes = NDArray[np.signedinteger]


def sizes(delta: torch.Tensor) -> Sizes:
    """Integers in the order of the absolute values of floats: their bits. NaN is greater than infinity"""
    bits = delta.view(_BITS[delta.element_size()]).numpy()
    return np.asarray(bits & np.iinfo(bits.dtype).max)


@dataclass(frozen=True, slots=True)
class Largest:
    """The elements whose size is above `size`, and the first ones of those equal to it

    The first: all that lie in blocks before `block`, and the first `count` in the block that begins there.
    """

    size: int
    block: int = 0
    count: int = 0

    @property
    def all(self) -> bool:
        """Whether every element is among them"""
        return self.size < 0

    def mask(self, begin: int, block: Sizes) -> NDArray[np.bool_]:
        """Which elements of a block of `over`, from the one of number `begin` in the tensor, are among them"""
        if begin < self.block:
            return block >= self.size
        kept = block > self.size
        if begin == self.block and self.count:
            kept[np.flatnonzero(block == self.size)[: self.count]] = True
        return kept


def largest(deltas: Deltas, ranks: Sequence[Sequence[int]], *, room: int = _ROOM) -> list[list[Largest]]:
    """For each task vector, the k largest elements for each k of its ranks; of equal ones (ties) the first are taken

    The chunks are gone through once, and once more for each time that a guess was wrong. room: how many numbers are
    kept at most for each rank, so that memory is constant.
    """
    searches = [[_Search(rank, deltas.count, room) for rank in each] for each in ranks]
    samples: list[list[Sizes]] = [[] for _ in ranks]
    # odd, so that not always the same columns of a matrix are looked at
    step = max(1, min(deltas.count // _SAMPLES, _ONE_IN)) | 1
    for begin, base, models in deltas:
        for model, sample, mine in zip(models, samples, searches, strict=True):
            sample.append(_sample(model, base, step))
            if begin == 0:
                # parts are not alike: rows of an embedding are moved by how often their tokens come
                unlike = 0 if len(base) == deltas.count else min(_UNLIKE, room / 8 / deltas.count)
                for search in mine:
                    search.aim(np.sort(sample[0]), unlike)
        _look(begin, base, models, searches)
    while any([not search.settle() for mine in searches for search in mine]):  # noqa: C419  # all are to settle
        for sample, mine in zip(samples, searches, strict=True):
            for search in mine:
                search.aim(np.sort(np.concatenate(sample)), 0)
        for begin, base, models in deltas:
            _look(begin, base, models, searches)
    return [[search.answer for search in mine] for mine in searches]


def _sample(model: torch.Tensor, base: torch.Tensor, step: int) -> Sizes:
    every = slice(None, None, step)
    return np.concatenate(over(len(base), lambda here: sizes(model[here][every] - base[here][every]), BLOCK * step))


def _look(
    begin: int, base: torch.Tensor, models: Sequence[torch.Tensor], searches: Sequence[Sequence["_Search"]]
) -> None:
    for model, mine in zip(models, searches, strict=True):
        wanted = [search for search in mine if not search.done]
        if wanted:
            _look_at_one(begin, base, model, wanted)


def _look_at_one(begin: int, base: torch.Tensor, model: torch.Tensor, searches: Sequence["_Search"]) -> None:
    def work(here: slice) -> list[_Block]:
        block = sizes(model[here] - base[here])
        return [search.look(begin + here.start, block) for search in searches]

    for found in over(len(base), work):
        for search, block in zip(searches, found, strict=True):
            search.add(block)


@dataclass(frozen=True, slots=True)
class _Block:
    """What a block has: how many above where the answer is looked for, how many there, and which, if that is asked"""

    begin: int
    above: int
    inside: int
    values: Sizes


class _Search:
    """The size of the `rank`-th largest: in `floor` to `ceiling` for certain, looked for in `low` to `high`"""

    def __init__(self, rank: int, count: int, room: int) -> None:
        self.rank, self.share, self.room = rank, rank / max(1, count), room
        self.floor, self.ceiling = 0, _GREATEST
        self.low, self.high = 0, _GREATEST
        self.blocks: list[_Block] = []
        self.above = self.inside = self.kept = 0
        self.done = not 0 < rank < count
        self.answer = Largest(_GREATEST) if rank <= 0 else Largest(-1)

    def aim(self, sample: Sizes, unlike: float) -> None:
        """Look where the sample, which is sorted, has the rank; unlike: by what share it may be wrong about it"""
        if self.done:
            return
        place = (1 - self.share) * len(sample)
        slack = _SURE * math.sqrt(len(sample) * self.share * (1 - self.share)) + unlike * len(sample) + 1
        before = self.low, self.high
        self.ceiling = min(self.ceiling, int(np.iinfo(sample.dtype).max))
        first, last = math.floor(place - slack), math.ceil(place + slack)
        self.low = self.floor if first < 0 else max(self.floor, int(sample[first]))
        self.high = self.ceiling if last >= len(sample) else min(self.ceiling, int(sample[last]))
        if self.low > self.high:
            self.low, self.high = self.floor, self.ceiling
        if (self.low, self.high) == before:
            # too many are there: they are looked for in half of it
            self.high = (self.low + self.high) // 2
        self.blocks, self.above, self.inside, self.kept = [], 0, 0, 0

    def look(self, begin: int, block: Sizes) -> _Block:
        """What a block has of it"""
        above = int(np.count_nonzero(block > self.high))
        here = (block >= self.low) & (block <= self.high)
        if self.low == self.high or self.kept > self.room:
            # a view of none would keep all of the block
            return _Block(begin, above, int(np.count_nonzero(here)), np.empty(0, block.dtype))
        # numpy picks numbers by their places faster than by a mask
        values = block[np.flatnonzero(here)]
        return _Block(begin, above, len(values), values)

    def add(self, block: _Block) -> None:
        """Count a block, in the order of the tensor"""
        self.above += block.above
        self.inside += block.inside
        self.kept += len(block.values)
        self.blocks.append(block)

    def settle(self) -> bool:
        """Whether the answer is found; where not, more is known about where it is"""
        if self.done:
            return True
        if self.above >= self.rank:
            self.floor = self.high + 1
        elif self.above + self.inside < self.rank:
            self.ceiling = self.low - 1
        elif self.low < self.high and self.kept < self.inside:
            self.floor, self.ceiling = self.low, self.high
        else:
            self.answer, self.done = self._found(), True
        return self.done

    def _found(self) -> Largest:
        size, left = self.low, self.rank - self.above
        if self.low < self.high:
            values = np.concatenate([block.values for block in self.blocks])
            values.partition(len(values) - left)
            size = int(values[len(values) - left])
            left -= int(np.count_nonzero(values > size))
        for block in self.blocks:
            equal = block.inside if self.low == self.high else int(np.count_nonzero(block.values == size))
            if left <= equal:
                return Largest(size, block.begin, left)
            left -= equal
        raise AssertionError("No block has the last of them")
