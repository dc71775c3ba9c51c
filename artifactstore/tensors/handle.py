"""Handle: a version or a plain safetensors folder, opened to take tensors from it

The names are those of safetensors' `safe_open`: https://huggingface.co/docs/safetensors/api/torch
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from types import TracebackType
from typing import Any, Self

import torch

from artifactstore.core.reading import Cut, Stored
from artifactstore.tensors.dtypes import TORCH
from artifactstore.tensors.known import Memory
from artifactstore.tensors.loader import Loaded, load, read_targets
from artifactstore.tensors.misfits import Targets
from artifactstore.tensors.options import Loading
from artifactstore.tensors.pieces import Source
from artifactstore.tensors.prefetch import Prefetch
from artifactstore.tensors.report import LoadReport

Renamed = Mapping[str, str]


class Handle:
    """Tensors that are read when they are asked for; they belong to the caller and outlive the handle"""

    def __init__(self, source: Source, loading: Loading) -> None:
        self._source, self._loading = source, loading
        self._memory = Memory()
        self._holding = ExitStack()
        self._held = False

    def __enter__(self) -> Self:
        self._holding.enter_context(self._source.held())
        self._held = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held = False
        self._holding.close()

    def _hold(self) -> AbstractContextManager[None]:
        """Keep what is loaded from being collected, unless the handle does"""
        return nullcontext() if self._held else self._source.held()

    def keys(self) -> list[str]:
        """The names of all tensors"""
        return list(self._source.tensors)

    def get_tensor(self, name: str) -> torch.Tensor:
        """One tensor; raise Invalid when there is none of this name"""
        return load(self._source, self._loading, [name], memory=self._memory)[name]

    def get_slice(self, name: str) -> "TensorSlice":
        """One tensor of which a part will be asked for; raise Invalid when there is none of this name"""
        return TensorSlice(self, self._source.get(name))

    def get_part(self, name: str, cut: Cut) -> torch.Tensor:
        """What a plan would name of one tensor; raise Invalid"""
        return load(self._source, self._loading, plan={name: cut}, memory=self._memory)[name]

    def load(self, names: Iterable[str] | None = None, *, plan: Mapping[str, Cut] | None = None) -> Loaded:
        """Tensors by name: all, those of the names, or the parts that a plan names

        plan: name → None for all of it, a slice of dimension 0, or (dimension, start, length); only these bytes are
        read. Raise Invalid for what is not there, Corrupt for a damaged blob.
        """
        with self._hold():
            return load(self._source, self._loading, names, plan, self._memory)

    def prefetch(self, plan: Mapping[str, Cut] | None = None, *, threads: int = 8) -> Prefetch:
        """Start to read what a plan says, or all; tensors are taken from what this returns, in a `with` block"""
        return Prefetch(self._source, self._loading, plan, threads)

    def stream(self, names: Iterable[str] | None = None) -> Iterator[tuple[str, torch.Tensor]]:
        """Names and tensors as they are ready, all or those of the names"""
        with self.prefetch(None if names is None else dict.fromkeys(names)) as coming:
            yield from coming

    def load_into(self, into: Any, *, strict: bool = True, names: Renamed | None = None) -> LoadReport:
        """Fill a module or a state dict in place

        names: name here → name in the store, where they differ. strict: also raise Invalid for tensors that are
        missing on either side. What is on the `meta` device is assigned, what is tied stays tied, extra state of
        modules stays as it is. Raise Invalid naming all shapes and dtypes that differ, with nothing filled.
        """
        targets = Targets.of(into, names or {})
        targets.check(self._source.tensors, strict=strict)
        with self._hold():
            return read_targets(self._source, targets, self._source.tensors, self._loading)


class TensorSlice:
    """A tensor at rest; an index of its first dimension reads those rows only"""

    def __init__(self, handle: Handle, stored: Stored) -> None:
        self._handle, self._stored = handle, stored

    def get_shape(self) -> list[int]:
        """Elements of each dimension"""
        return list(self._stored.shape)

    def get_dtype(self) -> str:
        """The name in safetensors"""
        return self._stored.dtype

    @property
    def dtype(self) -> torch.dtype:
        """As torch has it"""
        return TORCH[self._stored.dtype]

    def __getitem__(self, index: Any) -> torch.Tensor:
        """What torch gives for this index"""
        first, rest = (index[0], index[1:]) if isinstance(index, tuple) and index else (index, ())
        name = self._stored.name
        if isinstance(first, slice) and first.step in (None, 1):
            part = self._handle.get_part(name, first)
            return part[(slice(None), *rest)] if rest else part
        return self._handle.get_tensor(name)[index]
