"""What a kernel takes and gives: chunks of one tensor of all its sources, in, chunks of the product, out"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import torch


class Chunks(Protocol):
    """One tensor of all sources of a merge, read part by part, and as often as somebody goes through it

    Each part is (first element, the elements of each source: 1-D, contiguous, of the dtype that is calculated in, to be
    read only). Parts follow one another, end at whole rows of the last dimension where a row is shorter than a part,
    and cut all sources alike; a tensor that is small enough is one part.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the tensor, the same in all sources"""

    @property
    def base(self) -> int | None:
        """Which of the sources is the base; it stands last where it is none of those that are merged"""

    def __iter__(self) -> Iterator[tuple[int, Sequence[torch.Tensor]]]:
        """All parts from the first"""


class Masks(Protocol):
    """Where chance is had from. It follows from the source and the element, not from order, parts or threads"""

    def draw(self, source: int, begin: int, chances: torch.Tensor) -> torch.Tensor:
        """True with the chance of each element (1-D float, [0, 1]), as bool; begin: number of the first element"""


Params = Mapping[str, float | int | bool]
# Kernel(chunks, params of the tensor, params of each merged source in the order of chunks, masks): the product in
# parts of the order and size of the chunks', of the dtype that is calculated in.
Kernel = Callable[[Chunks, Params, Sequence[Params], Masks], Iterator[torch.Tensor]]
