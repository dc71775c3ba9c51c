"""Parts of a tensor: read once where one part is all, and worked on in blocks that stay near the processor"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from artifactstore.derive.kernels.base import Chunks

# Elements. In single precision a few of them fit the second level of a processor's caches, and two threads of torch
# still share one.
BLOCK = 1 << 18


@dataclass(frozen=True, slots=True)
class Held:
    """Chunks of a tensor that is one part, which is kept"""

    shape: tuple[int, ...]
    base: int | None
    tensors: Sequence[torch.Tensor]

    def __iter__(self) -> Iterator[tuple[int, Sequence[torch.Tensor]]]:
        """The one part"""
        yield 0, self.tensors


def held(chunks: Chunks) -> Chunks:
    """The same, to be gone through more than once: a tensor of one part is read only the first time"""
    for begin, tensors in chunks:
        if begin == 0 and len(tensors[0]) == math.prod(chunks.shape):
            return Held(chunks.shape, chunks.base, tensors)
        break
    return chunks


def blocks(length: int, size: int = BLOCK) -> Iterator[slice]:
    """Where the blocks of a part lie"""
    for begin in range(0, length, size):
        yield slice(begin, min(begin + size, length))


def wide(dtype: torch.dtype) -> torch.dtype:
    """In what sums of it are held"""
    return dtype if dtype == torch.float64 else torch.float32


def rounded(value: float, dtype: torch.dtype) -> float:
    """The nearest number that the dtype has"""
    return torch.tensor(value, dtype=dtype).item()
