"""Tensors of a merge: each output of a blueprint as something that is made when its turn comes"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import prod
from typing import Any

import rfc8785

from artifactstore.core.digest import Digest
from artifactstore.core.formats.safetensors import DTYPE_BITS
from artifactstore.core.recipe.blueprint import Output, Taken
from artifactstore.core.recipe.copies import COPY
from artifactstore.derive.kernels.masks import Philox
from artifactstore.derive.kernels.table import METHODS
from artifactstore.derive.making import Made
from artifactstore.derive.merge.chunks import Arena, Incoming, TensorChunks
from artifactstore.derive.models import Model
from artifactstore.tensors.dtypes import TORCH, view_bytes

# Of what kernels calculate: another number here, and nothing that was made before counts.
KERNELS = 1
_COPIED = 4 << 20
_RANDOM = frozenset(("dare_ties", "dare_linear", "della", "della_linear"))


@dataclass(frozen=True, slots=True)
class Reader:
    """A tensor of a model as it goes into the merge. key: what its elements follow from, as JSON

    plain: whether it is the stored tensor as it is.
    """

    key: Any
    incoming: Incoming = field(repr=False)
    plain: bool = True


# what changes tensors on their way in: adapters, rows that are matched
Bend = Callable[[Output, Taken, Reader], Reader]


@dataclass(frozen=True, slots=True)
class Makers:
    """How the tensors of one merge are made. bends: what is done to what is read"""

    models: Sequence[Model]
    seed: int
    arena: Arena
    bends: Sequence[Bend] = ()

    def made(self, output: Output) -> Made:
        """One output, found again by all that it follows from"""
        taken, base = _with_base(output)
        readers = [self._reader(output, one) for one in taken]
        nbytes = prod(output.shape) * DTYPE_BITS[output.dtype] // 8
        if self._is_copy(output, readers[0]):
            make = partial(self.models[taken[0].model].inputs.parts, taken[0].tensor, _COPIED)
            return Made(output.name, output.dtype, output.shape, nbytes, None, make)
        work = partial(self._calculated, output, [reader.incoming for reader in readers], base)
        return Made(output.name, output.dtype, output.shape, nbytes, self._key(output, readers), work)

    def _is_copy(self, output: Output, reader: Reader) -> bool:
        taken = output.sources[0]
        stored = self.models[taken.model].inputs.tensors[taken.tensor]
        return output.method == COPY and not taken.params and reader.plain and stored.dtype == output.dtype

    def _reader(self, output: Output, taken: Taken) -> Reader:
        inputs = self.models[taken.model].inputs
        stored = TORCH[inputs.tensors[taken.tensor].dtype]
        reader = Reader(inputs.key(taken.tensor), Incoming(stored, partial(inputs.read_into, taken.tensor)))
        for bend in self.bends:
            reader = bend(output, taken, reader)
        return reader

    def _key(self, output: Output, readers: Sequence[Reader]) -> Digest:
        taken, base = _with_base(output)
        chance = [self.seed, output.name] if output.method in _RANDOM else None
        what: list[Any] = [
            KERNELS,
            output.method,
            output.work,
            output.dtype,
            list(output.shape),
            dict(output.params),
            chance,
        ]
        sources: list[Any] = [[reader.key, dict(one.params)] for reader, one in zip(readers, taken, strict=True)]
        return Digest.of(rfc8785.dumps([*what, base, sources]))

    def _calculated(self, output: Output, sources: Sequence[Incoming], base: int | None) -> Iterator[memoryview]:
        chunks = TensorChunks(output.shape, sources, TORCH[output.work], self.arena, base)
        params = [one.params for one in output.sources]
        stored = TORCH[output.dtype]
        for part in METHODS[output.method](chunks, output.params, params, Philox(self.seed, output.name)):
            yield view_bytes(part.to(stored))


def _with_base(output: Output) -> tuple[Sequence[Taken], int | None]:
    """All that is read, and which of it is the base"""
    if output.base is None:
        return output.sources, None
    for number, one in enumerate(output.sources):
        if (one.model, one.tensor) == (output.base.model, output.base.tensor):
            return output.sources, number
    return (*output.sources, output.base), len(output.sources)


def same(models: Sequence[Model], one: Taken, other: Taken) -> bool:
    """Whether two tensors are known to be equal"""
    first, second = (models[taken.model].inputs for taken in (one, other))
    return bool(first.key(one.tensor) == second.key(other.tensor))
