"""Tensors of a merge: each output of a blueprint as something that is made when its turn comes"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import rfc8785

from artifactstore.core.digest import Digest
from artifactstore.core.formats.safetensors import DTYPE_BITS
from artifactstore.core.recipe.blueprint import Output
from artifactstore.core.recipe.copies import COPY
from artifactstore.derive.kernels.masks import Philox
from artifactstore.derive.kernels.table import METHODS
from artifactstore.derive.making import Made
from artifactstore.derive.merge.chunks import Arena, TensorChunks
from artifactstore.derive.merge.readers import Reader, Readers, taken
from artifactstore.tensors.dtypes import TORCH, view_bytes

# Of what kernels calculate: another number here, and nothing that was made before counts.
KERNELS = 1
_COPIED = 4 << 20
_RANDOM = frozenset(("dare_ties", "dare_linear", "della", "della_linear"))


@dataclass(frozen=True, slots=True)
class Makers:
    """How the tensors of one merge are made"""

    readers: Readers
    seed: int
    arena: Arena

    def made(self, output: Output) -> Made:
        """One output, found again by all that it follows from"""
        readers = self.readers.of(output)
        nbytes = prod(output.shape) * DTYPE_BITS[output.dtype] // 8
        if self._is_copy(output, readers[0]):
            [one] = output.sources
            make = partial(self.readers.models[one.model].inputs.parts, one.tensor, _COPIED)
            return Made(output.name, output.dtype, output.shape, nbytes, None, make)
        work = partial(self._calculated, output, readers)
        return Made(output.name, output.dtype, output.shape, nbytes, self._key(output, readers), work)

    def _is_copy(self, output: Output, reader: Reader) -> bool:
        [first, *_] = output.sources
        stored = self.readers.models[first.model].inputs.tensors[first.tensor]
        return output.method == COPY and not first.params and reader.plain and stored.dtype == output.dtype

    def _key(self, output: Output, readers: Sequence[Reader]) -> Digest:
        sources, base = taken(output)
        chance = [self.seed, output.name] if output.method in _RANDOM else None
        what: list[Any] = [KERNELS, output.method, output.work, output.dtype, list(output.shape)]
        what += [dict(output.params), chance, base]
        what += [[reader.key, dict(one.params)] for reader, one in zip(readers, sources, strict=True)]
        return Digest.of(rfc8785.dumps(what))

    def _calculated(self, output: Output, readers: Sequence[Reader]) -> Iterator[memoryview]:
        base = taken(output)[1]
        key = [output.shape, output.work, base, [reader.key for reader in readers]]
        incoming = [reader.incoming for reader in readers]
        chunks = self.arena.chunks(key, partial(TensorChunks, output.shape, incoming, TORCH[output.work], base=base))
        params = [one.params for one in output.sources]
        stored = TORCH[output.dtype]
        for part in METHODS[output.method](chunks, output.params, params, Philox(self.seed, output.name)):
            yield view_bytes(part.to(stored))
