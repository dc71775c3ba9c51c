"""Restore: a version's state document and files become the tree that was saved

Each tensor is allocated once; verified pieces are copied straight into its memory.
"""

import errno
import os
import secrets
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from artifactstore.blobs.disk import sync_folder
from artifactstore.core.errors import Corrupt, Denied, Invalid, NoSpace, StoreError, Unavailable
from artifactstore.core.events import Progress
from artifactstore.core.formats.base import TensorInfo
from artifactstore.core.manifest import FileEntry, Manifest
from artifactstore.depot import Depot
from artifactstore.lease import reading
from artifactstore.ops.transfer.fetch import Fetch, FilePiece, fetch_file, note_load
from artifactstore.tensors import document
from artifactstore.tensors.dtypes import allocate, allocate_array, as_bytes, view_array, view_bytes

_CPU = torch.device("cpu")
Write = Callable[[int, memoryview], None]


def restore(depot: Depot, manifest: Manifest, device: "str | torch.device | None" = None) -> dict[str, Any]:
    """The context of a checkpoint, its tensors on `device`, by default the CPU; arrays are always on the host

    Raise Invalid when the version is no checkpoint, Corrupt when it is damaged, Unavailable when memory or the
    device is missing.
    """
    target = _device(device)
    files = {str(file.path): file for file in manifest.files}
    if document.PATH not in files:
        raise Invalid(
            f"This version of {manifest.artifact} is no checkpoint, it has no {document.PATH}; use checkout",
            code="no-checkpoint",
        )
    targets = _Targets(files, target)
    context = document.decode(fetch_file(depot, manifest, files[document.PATH]), targets.lookup)
    targets.fill(depot, manifest)
    return context


def _device(device: "str | torch.device | None") -> torch.device:
    if device is None:
        return _CPU
    if not isinstance(device, str | torch.device):
        raise Invalid(f"map_location should be a device such as 'cpu' or 'cuda:0', found {device!r:.60}", code="device")
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, ValueError, NotImplementedError) as e:
        raise Invalid(f"Cannot restore to device {device!s:.40}: {e!s:.200}", code="device") from e
    if found.type == "meta":
        raise Invalid("Cannot restore to the meta device, which holds no data", code="device")
    return found


@dataclass(frozen=True, slots=True)
class _Target:
    """Where the bytes [begin, end) of a file go"""

    begin: int
    end: int
    write: Write


class _Targets:
    """Memory for the tensors a document names, made when first named"""

    def __init__(self, files: dict[str, FileEntry], device: torch.device) -> None:
        self._files = files
        self._device = device
        self._tensors: dict[str, dict[str, TensorInfo]] = {}
        self._made: dict[tuple[document.Kind, str, str], Any] = {}
        self._writes: dict[str, list[_Target]] = defaultdict(list)

    def lookup(self, kind: document.Kind, path: str, name: str) -> Any:
        """The tensor or array of this name; raise Corrupt when the version has none such"""
        key = (kind, path, name)
        if key not in self._made:
            info = self._table(path).get(name)
            if info is None:
                raise Corrupt(
                    f"{document.PATH} names the tensor {name!r:.80} of {path:.80}, which is not there", code="tensor"
                )
            try:
                self._made[key], write = self._make(kind, info)
            except (RuntimeError, MemoryError) as e:
                raise Unavailable(
                    f"No memory for tensor {name!r:.80} of {info.end - info.begin} bytes on {self._device}: {e!s:.120}",
                    code="memory",
                ) from e
            if info.end > info.begin:
                self._writes[path].append(_Target(info.begin, info.end, write))
        return self._made[key]

    def _table(self, path: str) -> dict[str, TensorInfo]:
        if path not in self._tensors:
            file = self._files.get(path)
            self._tensors[path] = {info.name: info for info in file.tensors} if file else {}
        return self._tensors[path]

    def _make(self, kind: document.Kind, info: TensorInfo) -> tuple[Any, Write]:
        nbytes = info.end - info.begin
        if kind == "array":
            array = allocate_array(info.dtype, info.shape, nbytes)
            return array, _into_view(view_array(array))
        tensor = allocate(info.dtype, info.shape, nbytes, self._device)
        return tensor, _into_view(view_bytes(tensor)) if self._device.type == "cpu" else _into_device(as_bytes(tensor))

    def fill(self, depot: Depot, manifest: Manifest) -> None:
        """Read every file that has a named tensor, once"""
        files = [self._files[path] for path in self._writes]
        total, done = sum(file.size for file in files), 0
        cursors = {path: _Cursor(writes) for path, writes in self._writes.items()}
        for piece in Fetch(depot, manifest).pieces([(file, 0) for file in files]):
            cursors[piece.file.path].take(piece)
            piece.release()
            done += len(piece.data)
            depot.monitor(Progress("restore", done, total))


def _into_view(view: memoryview) -> Write:
    def write(begin: int, data: memoryview) -> None:
        view[begin : begin + len(data)] = data

    return write


def _into_device(flat: torch.Tensor) -> Write:
    def write(begin: int, data: memoryview) -> None:
        flat[begin : begin + len(data)].copy_(torch.frombuffer(data, dtype=torch.uint8))

    return write


class _Cursor:
    """The targets of one file while its pieces arrive in order"""

    def __init__(self, targets: Sequence[_Target]) -> None:
        self._targets = sorted(targets, key=lambda target: target.begin)
        self._next = 0

    def take(self, piece: FilePiece) -> None:
        """Copy what of the piece belongs to any target"""
        begin, end = piece.offset, piece.offset + len(piece.data)
        while self._next < len(self._targets) and self._targets[self._next].end <= begin:
            self._next += 1
        for number in range(self._next, len(self._targets)):
            target = self._targets[number]
            if target.begin >= end:
                break
            low, high = max(begin, target.begin), min(end, target.end)
            if low < high:
                target.write(low - target.begin, piece.data[low - begin : high - begin])


def export_pth(depot: Depot, manifest: Manifest, path: Path) -> int:
    """Write the state of a checkpoint with `torch.save`, its bytes come back; `path` appears whole or not at all

    `torch.load(weights_only=True)` reads it where the state has no NumPy arrays or scalars.
    """
    with reading(depot, manifest.id):
        context = restore(depot, manifest)
    note_load(depot, manifest.id)
    temp = path.with_name(f".{path.name[:180]}.{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temp.open("xb") as file:
            torch.save(context.get("state", context), file)
            file.flush()
            os.fsync(file.fileno())
        nbytes = temp.stat().st_size
        temp.replace(path)
        sync_folder(path.parent)
    except (OSError, RuntimeError) as e:
        raise _translated(e, path) from e
    finally:
        with suppress(OSError):
            temp.unlink(missing_ok=True)
    return nbytes


def _translated(error: Exception, path: Path) -> StoreError:
    text = f"Cannot write {path}: {getattr(error, 'strerror', None) or error!s:.200}"
    if getattr(error, "errno", None) in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return NoSpace(f"{text}; make room and run it again")
    return Denied(text) if isinstance(error, PermissionError) else Unavailable(text, code="io")
