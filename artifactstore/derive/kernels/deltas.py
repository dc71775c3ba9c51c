"""Deltas: what models differ by from their base, part by part"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from artifactstore.derive.kernels.base import Chunks


@dataclass(frozen=True, slots=True)
class Deltas:
    """The models that are merged, without the base, which may be listed among them"""

    chunks: Chunks
    base: int
    merged: tuple[int, ...]

    @classmethod
    def of(cls, chunks: Chunks, listed: int) -> "Deltas":
        """Of the first `listed` sources; listed: how many the recipe has"""
        assert chunks.base is not None
        return cls(chunks, chunks.base, tuple(each for each in range(listed) if each != chunks.base))

    @property
    def count(self) -> int:
        """Of elements"""
        return math.prod(self.chunks.shape)

    def __iter__(self) -> Iterator[tuple[int, torch.Tensor, Sequence[torch.Tensor]]]:
        """First element, base and models of each part"""
        for begin, tensors in self.chunks:
            yield begin, tensors[self.base], [tensors[each] for each in self.merged]
