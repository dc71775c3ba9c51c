"""Matrices of a source, read by runs of rows and worked on side by side"""

import json
from collections.abc import Callable, Iterator, Mapping
from math import prod
from typing import Any, Protocol, TypeVar

import torch

from artifactstore.core.digest import Digest
from artifactstore.core.errors import Invalid
from artifactstore.core.reading import Stored
from artifactstore.derive.making import Made
from artifactstore.derive.quantize.crew import in_order, rows_of
from artifactstore.tensors.dtypes import TORCH, view_bytes

T = TypeVar("T")

FLOATS = ("F64", "F32", "F16", "BF16")
# What codes follow from besides their source and what is asked for: changed with any change of the mathematics.
_ENCODERS = 1


class Tensors(Protocol):
    """A source of tensors"""

    @property
    def tensors(self) -> Mapping[str, Stored]:
        """All of them by name"""

    def key(self, name: str) -> Any:
        """What tells the content of one, as JSON"""

    def read(self, name: str, begin: int = 0, end: int | None = None) -> torch.Tensor:
        """Elements of one in C order, 1-D, of the stored dtype"""


Work = Callable[[torch.Tensor], T]


class Matrix:
    """One tensor of a source. All dimensions but the last count its rows; without dimensions it is one row"""

    def __init__(self, inputs: Tensors, name: str) -> None:
        self._inputs, self.name = inputs, name
        self.shape = inputs.tensors[name].shape
        self.columns = self.shape[-1] if self.shape else 1
        self.rows = prod(self.shape[:-1])

    def key(self, *how: object) -> Digest:
        """What a product of it follows from"""
        return Digest.of(
            json.dumps(["quantize", _ENCODERS, how, self._inputs.key(self.name)], separators=(",", ":")).encode()
        )

    def each(self, work: "Work[T]", *, multiple: int = 1) -> Iterator[T]:
        """What `work` makes of runs of rows, float32 [rows, columns], in their order

        multiple: each run but the last has whole multiples of so many rows. Invalid names the tensor.
        """

        def one(begin: int, end: int) -> T:
            part = self._inputs.read(self.name, begin * self.columns, end * self.columns)
            try:
                return work(part.to(torch.float32).view(end - begin, self.columns))
            except Invalid as e:
                raise Invalid(f"{self.name}: {e.message}", code=e.facts.get("rule", "values"), tensor=self.name) from e

        return in_order(one, rows_of(self.rows, self.columns, multiple))


def copied(inputs: Tensors, name: str, dtype: str) -> Made:
    """A tensor as it is, or in another dtype of floats; raise Invalid, while it is made, for what that cannot hold"""
    matrix, stored = Matrix(inputs, name), inputs.tensors[name]
    width = TORCH[dtype].itemsize

    def make() -> Iterator[memoryview]:
        if stored.dtype == dtype:
            step = (4 << 20) // width
            count = prod(stored.shape)
            for begin in range(0, count, step):
                yield view_bytes(inputs.read(name, begin, min(begin + step, count)))
            return
        yield from map(view_bytes, matrix.each(lambda rows: narrowed(rows, TORCH[dtype])))

    key = None if stored.dtype == dtype else matrix.key("copy", dtype)
    return Made(name, dtype, stored.shape, prod(stored.shape) * width, key, make)


def narrowed(values: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """In another dtype of floats; raise Invalid where a finite value becomes infinite"""
    result = values.to(dtype).contiguous()
    if dtype == torch.float16 and bool((torch.isinf(result) & ~torch.isinf(values)).any()):
        most = float(values[torch.isfinite(values)].abs().max())
        raise Invalid(f"it holds {most:.4g}, more than fp16 can; choose bf16", code="range")
    return result
