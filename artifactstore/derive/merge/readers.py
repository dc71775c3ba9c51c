"""Readers: the tensors of a merge's models as they go into it, with adapters added and rows matched on the way"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import prod
from typing import Any

import torch

from artifactstore.core.recipe.blueprint import Output, Taken
from artifactstore.core.recipe.vocabulary import Matched
from artifactstore.derive.lora import Adapter, Read
from artifactstore.derive.merge.chunks import Incoming
from artifactstore.derive.models import Model
from artifactstore.derive.rows import Rows, promoted
from artifactstore.tensors.dtypes import TORCH


@dataclass(frozen=True, slots=True)
class Reader:
    """A tensor of a model as it goes into the merge. key: what its elements follow from, as JSON

    plain: whether it is the stored tensor as it is.
    """

    key: Any
    incoming: Incoming = field(repr=False)
    plain: bool = True


@dataclass(frozen=True, slots=True)
class Readers:
    """All models of a merge. adapters: of some of them, by number; matched: their vocabularies, where asked for"""

    models: Sequence[Model]
    adapters: Mapping[int, Adapter]
    matched: Matched | None = None

    def of(self, output: Output) -> list[Reader]:
        """What goes into an output, its base last unless it is one of the sources"""
        sources, _ = taken(output)
        readers = [self._one(one) for one in sources]
        if self.matched is None or not output.rows:
            return readers
        models = [one.model for one in sources]
        vocabulary = self.matched.lay(models, None if output.base is None else output.base.model)
        if all(vocabulary.stays(one.model, self._rows(one)) for one in sources):
            return readers
        reads = {one.model: partial(_read, reader.incoming) for one, reader in zip(sources, readers, strict=True)}
        dtype = promoted([reader.incoming.dtype for reader in readers])
        rows = Rows(vocabulary, reads, prod(output.shape[1:]), dtype)
        return [
            Reader([reader.key, rows.key(model)], Incoming(dtype, partial(_fill, rows.read(model))), plain=False)
            for model, reader in zip(models, readers, strict=True)
        ]

    def _rows(self, one: Taken) -> int:
        return self.models[one.model].inputs.tensors[one.tensor].shape[0]

    def same(self, one: Taken, other: Taken) -> bool:
        """Whether two tensors are known to be equal"""
        return bool(self._one(one).key == self._one(other).key)

    def _one(self, taken: Taken) -> Reader:
        inputs, adapter = self.models[taken.model].inputs, self.adapters.get(taken.model)
        dtype = TORCH[inputs.tensors[taken.tensor].dtype]
        key = inputs.key(taken.tensor)
        if adapter is None or taken.tensor not in adapter.tensors:
            return Reader(key, Incoming(dtype, partial(inputs.read_into, taken.tensor)))
        read = adapter.read(taken.tensor, partial(inputs.read, taken.tensor))
        return Reader([key, adapter.key(taken.tensor)], Incoming(dtype, partial(_fill, read)), plain=False)


def _read(incoming: Incoming, begin: int, end: int) -> torch.Tensor:
    into = torch.empty(end - begin, dtype=incoming.dtype)
    incoming.fill(begin, into)
    return into


def _fill(read: Read, begin: int, into: torch.Tensor) -> None:
    into.copy_(read(begin, begin + len(into)))


def taken(output: Output) -> tuple[Sequence[Taken], int | None]:
    """All that is read for an output, and which of it is the base"""
    if output.base is None:
        return output.sources, None
    for number, one in enumerate(output.sources):
        if (one.model, one.tensor) == (output.base.model, output.base.tensor):
            return output.sources, number
    return (*output.sources, output.base), len(output.sources)
