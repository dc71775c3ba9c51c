"""Save: a state tree as the files of a version, each tensor brought to the host when its turn comes"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from artifactstore.core.errors import Invalid
from artifactstore.core.formats.base import FileInfo, Region, TensorInfo
from artifactstore.core.formats.cutting import BLOB_LIMIT
from artifactstore.core.formats.safetensors import DTYPE_BITS, write_header
from artifactstore.core.names import SafePath
from artifactstore.ops.transfer.source import MemoryFile, Part
from artifactstore.tensors import document
from artifactstore.tensors.dtypes import as_bytes, stored_shape, view_array, view_bytes
from artifactstore.tensors.tree import NamedTensor, StateTree

_METADATA = {"format": "pt"}  # what readers of Hugging Face ask for


def sources(tree: StateTree) -> tuple[MemoryFile, ...]:
    """The files of a state: contiguous CPU tensors are read where they lie, others are copied one at a time

    The tensors must not change until they are stored, see `Unchanged`.
    """
    raw = tree.document
    first = MemoryFile(SafePath(document.PATH), FileInfo("other"), (len(raw),), (lambda: memoryview(raw),))
    return (*(tensor_file(path, tensors) for path, tensors in tree.files.items()), first)


class Unchanged:
    """Says whether tensors of a tree were changed in place since this was made, as far as torch counts it"""

    def __init__(self, tree: StateTree) -> None:
        self._seen = [
            (path, tensor.name, tensor.value, changes(tensor.value))
            for path, tensors in tree.files.items()
            for tensor in tensors
        ]

    def check(self) -> None:
        """Raise Invalid naming a tensor that was changed: what was hashed may not be what was written"""
        for path, name, value, seen in self._seen:
            if changes(value) != seen:
                raise Invalid(
                    f"Tensor {name!r:.80} of {path} changed while it was being saved; nothing was stored, "
                    "save when nothing trains",
                    code="changed",
                    tensor=name,
                )


def changes(value: "torch.Tensor | np.ndarray[Any, Any]") -> int:
    """How often torch saw it changed in place; 0 for what nobody counts"""
    if isinstance(value, np.ndarray) or value.is_inference():
        return 0
    return value._version  # noqa: SLF001  # torch has no public name for it


@dataclass(frozen=True, slots=True)
class Table:
    """A safetensors file before its bytes: the tensors in file order, the header, and what a parser would find"""

    tensors: tuple[NamedTensor, ...]
    header: bytes
    info: FileInfo

    @property
    def size(self) -> int:
        """Bytes of the file"""
        return len(self.header) + sum(tensor.value.nbytes for tensor in self.tensors)


def table(tensors: Sequence[NamedTensor]) -> Table:
    """How these tensors lie in a file"""
    # Readers view the bytes as the dtype, which asks for alignment: wide dtypes first, else in the state's own order.
    ordered = tuple(sorted(tensors, key=lambda tensor: -DTYPE_BITS[tensor.dtype]))
    rows = [(t.name, t.dtype, stored_shape(t.dtype, t.value.shape), t.value.nbytes) for t in ordered]
    header = write_header(rows, _METADATA)
    infos = []
    begin = len(header)
    for name, dtype, shape, nbytes in rows:
        infos.append(TensorInfo(name, dtype, shape, begin, begin + nbytes))
        begin += nbytes
    regions = tuple(Region(info.name, info.begin, info.end) for info in infos if info.begin < info.end)
    return Table(ordered, header, FileInfo("safetensors", tuple(infos), regions, _METADATA))


def tensor_file(path: str, tensors: Sequence[NamedTensor]) -> MemoryFile:
    """A safetensors file of these tensors, each brought to the host when its turn comes"""
    laid = table(tensors)
    sizes, parts = [len(laid.header)], [lambda: memoryview(laid.header)]
    for tensor in laid.tensors:
        for size, part in _parts(tensor.value):
            sizes.append(size)
            parts.append(part)
    return MemoryFile(SafePath(path), laid.info, tuple(sizes), tuple(parts))


def _parts(value: "torch.Tensor | np.ndarray[Any, Any]") -> Iterator[tuple[int, Part]]:
    if not value.nbytes:
        return
    if isinstance(value, torch.Tensor) and value.device.type != "cpu" and _is_plain(value):
        for begin in range(0, value.nbytes, BLOB_LIMIT):
            end = min(begin + BLOB_LIMIT, value.nbytes)
            yield end - begin, partial(_copied, value, begin, end)
    else:
        yield value.nbytes, partial(_whole, value)


def _is_plain(tensor: torch.Tensor) -> bool:
    """Whether its memory is its content, in order"""
    return tensor.is_contiguous() and not tensor.is_conj() and not tensor.is_neg()


def _copied(tensor: torch.Tensor, begin: int, end: int) -> memoryview:
    return view_bytes(as_bytes(tensor)[begin:end].cpu())


def _whole(value: "torch.Tensor | np.ndarray[Any, Any]") -> memoryview:
    if isinstance(value, np.ndarray):
        return view_array(np.ascontiguousarray(value).reshape(-1))
    if value.device.type == "cpu" and _is_plain(value):
        return view_bytes(value)
    host = torch.empty(value.shape, dtype=value.dtype)
    return view_bytes(host.copy_(value.detach()))
