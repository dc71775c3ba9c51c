"""Parts of a tensor: read once where one is all, whole rows where these are asked for, worked on in blocks"""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from typing import TypeVar

import torch

from artifactstore.derive.kernels.base import Chunks, Kernel, Masks, Params
from artifactstore.derive.threads import one_thread

Result = TypeVar("Result")
# Elements. In smaller ones the calls cost more than the numbers, larger ones leave a processor's caches.
BLOCK = 1 << 18
# Elements. For fewer it does not pay to start threads.
_FEW = 1 << 19
# Threads for work that needs no interpreter for long.
PROCESSORS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class Held:
    """Chunks of a tensor that is one part, which is kept"""

    shape: tuple[int, ...]
    base: int | None
    tensors: Sequence[torch.Tensor]

    def __iter__(self) -> Iterator[tuple[int, Sequence[torch.Tensor]]]:
        """The one part"""
        yield 0, self.tensors


@dataclass(slots=True)
class _Begun:
    """Chunks of which the first part is read already; who goes through them first goes on from there"""

    chunks: Chunks
    begun: Iterator[tuple[int, Sequence[torch.Tensor]]] | None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the tensor"""
        return self.chunks.shape

    @property
    def base(self) -> int | None:
        """Which of the sources is the base"""
        return self.chunks.base

    def __iter__(self) -> Iterator[tuple[int, Sequence[torch.Tensor]]]:
        """All parts from the first"""
        begun, self.begun = self.begun, None
        return iter(self.chunks) if begun is None else begun


def held(chunks: Chunks) -> Chunks:
    """The same, to be gone through more than once: a tensor of one part is read only the first time"""
    parts = iter(chunks)
    for begin, tensors in parts:
        if len(tensors[0]) == math.prod(chunks.shape):
            return Held(chunks.shape, chunks.base, tensors)
        return _Begun(chunks, chain([(begin, tensors)], parts))
    return chunks


@dataclass(slots=True)
class Rows:
    """Chunks in parts of whole rows, each of one part unless a row is longer

    lengths: of the parts of which the present one is made.
    """

    chunks: Chunks
    row: int
    lengths: list[int] = field(default_factory=list)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the tensor"""
        return self.chunks.shape

    @property
    def base(self) -> int | None:
        """Which of the sources is the base"""
        return self.chunks.base

    def __iter__(self) -> Iterator[tuple[int, Sequence[torch.Tensor]]]:
        """All parts from the first"""
        begin, waiting = 0, list[Sequence[torch.Tensor]]()
        for _, tensors in self.chunks:
            self.lengths = [*(len(each[0]) for each in waiting), len(tensors[0])]
            length = sum(self.lengths)
            if length % self.row:
                # a part may be overwritten before its row is whole
                waiting.append([tensor.clone() for tensor in tensors])
                continue
            whole = zip(*waiting, tensors, strict=True)
            yield begin, [torch.cat(each) for each in whole] if waiting else tensors
            begin, waiting = begin + length, []


def by_rows(kernel: Kernel, row: Callable[[tuple[int, ...]], int]) -> Kernel:
    """The kernel over parts of whole rows; row: how many elements make one, by the shape of the tensor"""

    def run(chunks: Chunks, params: Params, sources: Sequence[Params], masks: Masks) -> Iterator[torch.Tensor]:
        rows = Rows(chunks, max(1, row(chunks.shape)))
        for product in kernel(rows, params, sources, masks):
            yield from torch.split(product, rows.lengths)

    return run


def last_dimension(shape: tuple[int, ...]) -> int:
    """How long a row is"""
    return shape[-1] if shape else 1


def over(length: int, work: Callable[[slice], Result], block: int = BLOCK, threads: int = 1) -> list[Result]:
    """What `work` gives for each block of a part, in their order; several threads, where asked for, share them

    Torch calculates in that thread alone, so that no rounding follows from how many it may use. More threads pay only
    for work that makes few tensors: each has to get memory of its own.
    """
    blocks = [slice(begin, min(begin + block, length)) for begin in range(0, length, block)]
    if length < _FEW or threads == 1:
        with one_thread():
            return [work(each) for each in blocks]
    share = -(-len(blocks) // threads)
    shares = [blocks[begin : begin + share] for begin in range(0, len(blocks), share)]
    with one_thread(), ThreadPoolExecutor(len(shares)) as pool:
        done = pool.map(lambda each: [work(one) for one in each], shares)
        return [one for each in done for one in each]


def cast(tensor: torch.Tensor, into: torch.Tensor) -> None:
    """Copy to another dtype block by block: torch's own threads wait busily for more, and take a core from ours"""

    def work(here: slice) -> None:
        into[here] = tensor[here]

    over(len(tensor), work)


def wide(dtype: torch.dtype) -> torch.dtype:
    """In what sums of it are held"""
    return dtype if dtype == torch.float64 else torch.float32


def rounded(value: float, dtype: torch.dtype) -> float:
    """The nearest number that the dtype has"""
    return torch.tensor(value, dtype=dtype).item()
