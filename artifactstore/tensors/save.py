"""Save: a state tree as the files of a version, each tensor brought to the host when its turn comes"""

from collections.abc import Iterator, Sequence
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
    return (*(_tensor_file(path, tensors) for path, tensors in tree.files.items()), first)


class Unchanged:
    """Says whether tensors of a tree were changed in place since this was made, as far as torch counts it"""

    def __init__(self, tree: StateTree) -> None:
        self._seen = [
            (path, tensor.name, tensor.value, _changes(tensor.value))
            for path, tensors in tree.files.items()
            for tensor in tensors
        ]

    def check(self) -> None:
        """Raise Invalid naming a tensor that was changed: what was hashed may not be what was written"""
        for path, name, value, changes in self._seen:
            if _changes(value) != changes:
                raise Invalid(
                    f"Tensor {name!r:.80} of {path} changed while it was being saved; nothing was stored, "
                    "save when nothing trains",
                    code="changed",
                    tensor=name,
                )


def _changes(value: "torch.Tensor | np.ndarray[Any, Any]") -> int:
    if isinstance(value, np.ndarray) or value.is_inference():
        return 0
    return value._version  # noqa: SLF001  # torch has no public name for it


def _tensor_file(path: str, tensors: Sequence[NamedTensor]) -> MemoryFile:
    # Readers view the bytes as the dtype, which asks for alignment: wide dtypes first, else in the state's own order.
    ordered = sorted(tensors, key=lambda tensor: -DTYPE_BITS[tensor.dtype])
    table = [(t.name, t.dtype, stored_shape(t.dtype, t.value.shape), t.value.nbytes) for t in ordered]
    header = write_header(table, _METADATA)
    infos = []
    begin = len(header)
    for name, dtype, shape, nbytes in table:
        infos.append(TensorInfo(name, dtype, shape, begin, begin + nbytes))
        begin += nbytes
    regions = tuple(Region(info.name, info.begin, info.end) for info in infos if info.begin < info.end)
    sizes, parts = [len(header)], [lambda: memoryview(header)]
    for tensor in ordered:
        for size, part in _parts(tensor.value):
            sizes.append(size)
            parts.append(part)
    info = FileInfo("safetensors", tuple(infos), regions, _METADATA)
    return MemoryFile(SafePath(path), info, tuple(sizes), tuple(parts))


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
