"""Masks: chance that follows from the seed, the tensor's name, the source and the element, and from nothing else"""

import hashlib

import numpy as np
import torch
from numpy.random import Philox as Generator
from numpy.typing import NDArray

from artifactstore.derive.kernels.parts import PROCESSORS, over

# Numbers of 32 bits that one step of the counter gives.
_STEP = 8
# Pairs of numbers that one thread draws at a time, of whole steps.
_AT_ONCE = 1 << 17


class Philox:
    """Philox 4x64-10 (Salmon 2011): a number of 32 bits for each element, found by counting to it

    An element is kept where its number, over 2³², is below its chance.
    """

    def __init__(self, seed: int, tensor: str) -> None:
        self._seed, self._tensor = seed, tensor

    def draw(self, source: int, begin: int, chances: torch.Tensor) -> torch.Tensor:
        """True with the chance of each element (1-D float, [0, 1]), as bool; begin: number of the first element"""
        numbers = self.numbers(source, begin, len(chances))
        if len(chances) and chances.stride(0) == 0:
            # one chance for all, of which a comparison of integers is twice as fast
            bound = -int(-chances[0].item() * 2**32 // 1)
            kept = numbers <= np.uint32(bound - 1) if bound else np.zeros(len(numbers), np.bool_)
            return torch.from_numpy(kept)
        return torch.from_numpy(numbers).to(torch.float64).mul_(2.0**-32).lt(chances.to(torch.float64))

    def numbers(self, source: int, begin: int, count: int) -> NDArray[np.uint32]:
        """Those of `count` elements from `begin`"""
        digest = hashlib.sha256(f"{self._seed}\0{self._tensor}\0{source}".encode()).digest()
        key = np.frombuffer(digest[:16], "<u8")
        first, skip = divmod(begin, _STEP)
        drawn = np.empty(-(-(skip + count) // 2), np.uint64)

        def work(here: slice) -> None:
            generator = Generator(key=key, counter=[first + here.start // 4, 0, 0, 0])
            drawn[here] = generator.random_raw(here.stop - here.start)

        over(len(drawn), work, _AT_ONCE, PROCESSORS)
        return drawn.view(np.uint32)[skip : skip + count]
