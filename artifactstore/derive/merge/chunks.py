"""Chunks: one tensor of all sources, read a part ahead of what is worked on, into memory that is used again

Fresh memory costs a page fault for every 4 KiB, which takes longer than the numbers in it.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from math import prod

import torch

from artifactstore.derive.kernels.parts import cast

# Elements of a part: kernels work on them in blocks that stay near the processor.
PART = 1 << 20
ARENA = 16 << 20


@dataclass(frozen=True, slots=True)
class Incoming:
    """A tensor of a source. fill: elements from `begin` on, into all of a tensor of this dtype"""

    dtype: torch.dtype
    fill: Callable[[int, torch.Tensor], None]


class Arena:
    """Memory for the parts of one tensor at a time, and the thread that reads into it"""

    def __init__(self, nbytes: int = ARENA) -> None:
        self.memory = torch.empty(nbytes, dtype=torch.uint8)
        self.reader = ThreadPoolExecutor(1, "artstore-ahead")
        self._held: tuple[object, TensorChunks] | None = None

    def chunks(self, key: object, make: "Callable[[Arena], TensorChunks]") -> "TensorChunks":
        """Those asked for last if they have this key, which are not read again, else new ones"""
        if self._held is None or self._held[0] != key:
            self._held = key, make(self)
        return self._held[1]

    def view(self, begin: int, count: int, dtype: torch.dtype) -> torch.Tensor:
        """`count` elements from byte `begin`"""
        return self.memory[begin : begin + count * dtype.itemsize].view(dtype)

    def close(self) -> None:
        """End the thread"""
        self.reader.shutdown(wait=True, cancel_futures=True)


class TensorChunks:
    """One tensor of all sources in the dtype that is worked in; what fits the arena is read once

    A part is there until the next but one is asked for.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        sources: Sequence[Incoming],
        work: torch.dtype,
        arena: Arena,
        base: int | None = None,
    ) -> None:
        self.shape, self.base = shape, base
        self._sources, self._work, self._arena = sources, work, arena
        # what has to be converted is read aside first
        self._aside = max((one.dtype.itemsize for one in sources if one.dtype != work), default=0)
        self._each = len(sources) * work.itemsize
        whole = prod(shape) * self._each + PART * self._aside <= len(arena.memory)
        room = len(arena.memory) // (2 * self._each + self._aside) // 64 * 64
        self._bounds = list(parts_of(shape, PART if whole else min(PART, room)))
        self._slots = len(self._bounds) if whole else 2
        self._filled: set[int] = set()

    def __iter__(self) -> Iterator[tuple[int, Sequence[torch.Tensor]]]:
        """All parts, each read while the one before it is worked on"""
        coming: Future[list[torch.Tensor]] | None = None
        try:
            for number, (begin, _) in enumerate(self._bounds):
                tensors = self._ask(number).result() if coming is None else coming.result()
                coming = self._ask(number + 1) if number + 1 < len(self._bounds) else None
                yield begin, tensors
        finally:
            if coming is not None:
                coming.exception()

    def _ask(self, number: int) -> "Future[list[torch.Tensor]]":
        return self._arena.reader.submit(self._part, number)

    def _part(self, number: int) -> list[torch.Tensor]:
        begin, end = self._bounds[number]
        step = self._bounds[0][1]
        at = step * self._aside + number % self._slots * step * self._each
        tensors = [
            self._arena.view(at + place * step * self._work.itemsize, end - begin, self._work)
            for place in range(len(self._sources))
        ]
        if self._slots < len(self._bounds) or number not in self._filled:
            for source, tensor in zip(self._sources, tensors, strict=True):
                self._read(source, begin, tensor)
            self._filled.add(number)
        return tensors

    def _read(self, source: Incoming, begin: int, into: torch.Tensor) -> None:
        if source.dtype == self._work:
            source.fill(begin, into)
            return
        raw = self._arena.view(0, len(into), source.dtype)
        source.fill(begin, raw)
        cast(raw, into)


def parts_of(shape: tuple[int, ...], most: int = PART) -> Iterator[tuple[int, int]]:
    """(begin, end) of the parts of a tensor, in elements: whole rows where a row is shorter than a part"""
    count = prod(shape)
    row = shape[-1] if shape else 1
    step = most // row * row if 0 < row <= most else most
    for begin in range(0, count, step):
        yield begin, min(begin + step, count)
