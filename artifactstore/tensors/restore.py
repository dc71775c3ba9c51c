"""Restore: a version's state document and files become the tree that was saved

Each tensor is allocated once; its bytes are read straight into its memory, and verified on the way.
"""

import errno
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch

from artifactstore.blobs.disk import sync_folder
from artifactstore.core.errors import Corrupt, Denied, Invalid, NoSpace, StoreError, Unavailable
from artifactstore.core.events import Progress
from artifactstore.core.manifest import Manifest
from artifactstore.core.pairing import named
from artifactstore.core.reading import Stored
from artifactstore.depot import Depot
from artifactstore.lease import reading
from artifactstore.ops.transfer.fetch import fetch_file, note_load
from artifactstore.tensors import document
from artifactstore.tensors.dtypes import allocate, allocate_array
from artifactstore.tensors.engine import CPU, parse_device
from artifactstore.tensors.known import Watcher
from artifactstore.tensors.loader import read_parts
from artifactstore.tensors.opening import loading_of
from artifactstore.tensors.pieces import of_version


def restore(depot: Depot, manifest: Manifest, device: "str | torch.device | None" = None) -> dict[str, Any]:
    """The context of a checkpoint, its tensors on `device`, by default the CPU; arrays are always on the host

    Raise Invalid when the version is no checkpoint, Corrupt when it is damaged, Unavailable when memory or the
    device is missing.
    """
    target = CPU if device is None else parse_device(device)
    files = {str(file.path): file for file in manifest.files}
    if document.PATH not in files:
        raise Invalid(
            f"This version of {manifest.artifact} is no checkpoint, it has no {document.PATH}; use checkout",
            code="no-checkpoint",
        )
    stored = {
        (str(one.file.path), one.info.name): Stored(one.name, one.info.dtype, one.info.shape, one.extents)
        for one in named(manifest)
    }
    targets = _Targets(stored, target)
    context = document.decode(fetch_file(depot, manifest, files[document.PATH]), targets.lookup)
    targets.fill(depot, manifest)
    return context


class _Targets:
    """Memory for the tensors a document names, made when first named"""

    def __init__(self, stored: Mapping[tuple[str, str], Stored], device: torch.device) -> None:
        self._stored, self._device = stored, device
        self._made: dict[tuple[document.Kind, str, str], Any] = {}
        self._wanted: list[Stored] = []
        self._into: list[torch.Tensor] = []

    def lookup(self, kind: document.Kind, path: str, name: str) -> Any:
        """The tensor or array of this name; raise Corrupt when the version has none such"""
        key = (kind, path, name)
        if key not in self._made:
            stored = self._stored.get((path, name))
            if stored is None:
                raise Corrupt(
                    f"{document.PATH} names the tensor {name!r:.80} of {path:.80}, which is not there", code="tensor"
                )
            try:
                self._made[key], memory = self._make(kind, stored)
            except (RuntimeError, MemoryError) as e:
                raise Unavailable(
                    f"No memory for tensor {name!r:.80} of {stored.nbytes} bytes on {self._device}: {e!s:.120}",
                    code="memory",
                ) from e
            self._wanted.append(stored)
            self._into.append(memory)
        return self._made[key]

    def _make(self, kind: document.Kind, one: Stored) -> tuple[Any, torch.Tensor]:
        """It, and its memory as a tensor"""
        if kind == "array":
            array = allocate_array(one.dtype, one.shape, one.nbytes)
            return array, torch.from_numpy(array.reshape(-1).view(np.uint8))
        tensor = allocate(one.dtype, one.shape, one.nbytes, self._device)
        return tensor, tensor

    def fill(self, depot: Depot, manifest: Manifest) -> None:
        """Read what was named, each blob once"""
        total, done, lock = sum(one.nbytes for one in self._wanted), 0, Lock()

        def ready(one: Stored) -> None:
            nonlocal done
            with lock:
                done += one.nbytes
            depot.monitor(Progress("restore", done, total))

        read_parts(of_version(depot, manifest), self._wanted, self._into, loading_of(depot.settings), Watcher(ready))


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
