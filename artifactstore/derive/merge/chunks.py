"""Chunks: one tensor of all sources, read a part ahead of what is worked on"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import prod

import torch

# Elements of a part: kernels work on them in blocks that stay near the processor.
PART = 4 << 20
# Bytes of sources that are kept for who goes through them again.
_KEPT = 64 << 20

Read = Callable[[int, int], torch.Tensor]


class TensorChunks:
    """The elements [begin, end) that each of `reads` gives, in the dtype that is worked in"""

    def __init__(
        self,
        shape: tuple[int, ...],
        reads: Sequence[Read],
        work: torch.dtype,
        ahead: ThreadPoolExecutor,
        base: int | None = None,
    ) -> None:
        self.shape, self.base = shape, base
        self._reads, self._work, self._ahead = reads, work, ahead
        self._kept: dict[int, Sequence[torch.Tensor]] = {}

    def __iter__(self) -> Iterator[tuple[int, Sequence[torch.Tensor]]]:
        """All parts, each read while the one before it is worked on"""
        bounds = list(parts_of(self.shape))
        if not bounds:
            return
        coming = self._ahead.submit(self._part, *bounds[0])
        for number, (begin, _) in enumerate(bounds):
            tensors = coming.result()
            if number + 1 < len(bounds):
                coming = self._ahead.submit(self._part, *bounds[number + 1])
            yield begin, [tensor.to(self._work) for tensor in tensors]

    def _part(self, begin: int, end: int) -> Sequence[torch.Tensor]:
        kept = self._kept.get(begin)
        if kept is not None:
            return kept
        tensors = [read(begin, end) for read in self._reads]
        if prod(self.shape) * sum(tensor.element_size() for tensor in tensors) <= _KEPT:
            self._kept[begin] = tensors
        return tensors


def parts_of(shape: tuple[int, ...], most: int = PART) -> Iterator[tuple[int, int]]:
    """(begin, end) of the parts of a tensor, in elements: whole rows where a row is shorter than a part"""
    count = prod(shape)
    row = shape[-1] if shape else 1
    step = most // row * row if 0 < row <= most else most
    for begin in range(0, count, step):
        yield begin, min(begin + step, count)
