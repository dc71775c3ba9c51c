"""Tensors cut into parts, merged by our kernels and by mergekit"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pytest
import torch

from artifactstore.core.recipe.methods import METHODS as TAKEN
from artifactstore.core.recipe.methods import Scope
from artifactstore.derive.kernels.base import Masks
from artifactstore.derive.kernels.masks import Philox
from artifactstore.derive.kernels.table import METHODS

DTYPES = (torch.bfloat16, torch.float16, torch.float32, torch.float64)


@dataclass
class Cut:
    """Chunks of tensors in memory, that counts how often it was read; a part is spoiled by the next but one"""

    tensors: Sequence[torch.Tensor]
    base: int | None
    size: int
    passes: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.tensors[0].shape)

    def __iter__(self) -> Iterator[tuple[int, Sequence[torch.Tensor]]]:
        self.passes += 1
        flat = [tensor.reshape(-1) for tensor in self.tensors]
        given: list[list[torch.Tensor]] = []
        for begin in range(0, len(flat[0]), self.size):
            for spoiled in given[:-1]:
                for tensor in spoiled:
                    tensor.fill_(torch.nan)
            given[:-1] = []
            given.append([tensor[begin : begin + self.size].clone() for tensor in flat])
            yield begin, given[-1]


def models(count: int, *shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> list[torch.Tensor]:
    """A base and fine-tunes of it, the base first"""
    generator = torch.Generator().manual_seed(seed)
    base = torch.randn(shape, generator=generator)
    moved = [base + torch.randn(shape, generator=generator) * 0.1 for _ in range(count - 1)]
    return [each.to(dtype) for each in (base, *moved)]


def ours(
    method: str,
    tensors: Sequence[torch.Tensor],
    base: int | None = None,
    *,
    each: Mapping[str, Sequence[float]] | None = None,
    size: int = 1 << 30,
    masks: Masks | None = None,
    **params: float,
) -> torch.Tensor:
    """The product of a method, with the defaults of the recipe; each: what a parameter is for each source"""
    scopes = {one.name: one for one in TAKEN[method].parameters}
    whole = {name: one.default for name, one in scopes.items() if one.scope is Scope.TENSOR} | params
    count = len(next(iter(each.values()))) if each else len(tensors)
    sources = [
        {name: one.default for name, one in scopes.items() if one.scope is not Scope.TENSOR and one.default is not None}
        | {name: values[number] for name, values in (each or {}).items()}
        for number in range(count)
    ]
    chunks = Cut(tensors, base, size)
    parts = METHODS[method](chunks, whole, sources, masks or Philox(0, "tensor"))
    return torch.cat([part.clone() for part in parts]).view(tensors[0].shape)


def theirs(
    method: str,
    tensors: Sequence[torch.Tensor],
    base: int | None = None,
    *,
    each: Mapping[str, Sequence[float]] | None = None,
    **params: float,
) -> torch.Tensor:
    """The product as mergekit has it"""
    api = pytest.importorskip("mergekit.merge_methods")
    mine = {name: dict(enumerate(values)) for name, values in (each or {}).items()}
    return api.merge_tensors(tensors, method, parameters={**params, **mine}, base_index=base)


def same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors are the same also in signs of zeros"""
    return one.dtype == other.dtype and torch.equal(_bits(one), _bits(other))


def apart(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """How many steps of the dtype lie between the elements of two tensors, as integers"""
    return (_ordered(one) - _ordered(other)).abs()


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    kinds = {2: torch.int16, 4: torch.int32, 8: torch.int64}
    return tensor.contiguous().view(kinds[tensor.element_size()])


def _ordered(tensor: torch.Tensor) -> torch.Tensor:
    bits = _bits(tensor)
    negative = bits < 0
    magnitude = (bits & torch.iinfo(bits.dtype).max).long()
    return torch.where(negative, -magnitude, magnitude)
