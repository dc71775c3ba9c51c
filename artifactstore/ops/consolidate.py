"""Consolidate: what ranks wrote in parts, written out as one safetensors file"""

import os
import secrets
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from artifactstore.blobs.disk import sync_folder, translated
from artifactstore.catalog.base import VersionInfo
from artifactstore.core.consolidated import Consolidated
from artifactstore.core.errors import NotFound
from artifactstore.core.events import Progress
from artifactstore.core.manifest import Manifest
from artifactstore.core.reading import Run, runs
from artifactstore.depot import Depot
from artifactstore.lease import reading
from artifactstore.ops.transfer.buffers import BufferPool
from artifactstore.ops.transfer.fetch import load_manifest, note_load, read_blob
from artifactstore.ops.transfer.sharded import consolidated
from artifactstore.ops.transfer.space import check_space
from artifactstore.ops.transfer.threads import start_pool

_READERS = 4


@dataclass(frozen=True, slots=True)
class ConsolidatePlan:
    """Which version becomes which file"""

    version: VersionInfo
    manifest: Manifest
    file: Consolidated
    path: Path


def plan(depot: Depot, version: VersionInfo, path: Path) -> ConsolidatePlan:
    """See what the file is made of; raise NotFound for a version that no ranks wrote"""
    manifest = load_manifest(depot, version.id)
    file = consolidated(depot, manifest)
    if file is None:
        raise NotFound(f"No ranks wrote {version.ref}; its files are what checkout writes", code="sharding")
    return ConsolidatePlan(version, manifest, file, path)


def run(depot: Depot, plan: ConsolidatePlan) -> None:
    """Write the file, which appears whole or not at all; each blob is read once, and checked"""
    folder = plan.path.parent
    temp = plan.path.with_name(f".{plan.path.name[:180]}.{secrets.token_hex(4)}.part")
    with translated("write", str(plan.path), folder):
        folder.mkdir(parents=True, exist_ok=True)
        check_space(plan.file.size, folder)
        try:
            with temp.open("xb", buffering=0) as file:
                with reading(depot, plan.version.id):
                    _Filling(depot, plan, file).all()
                os.fsync(file.fileno())
            temp.replace(plan.path)
            sync_folder(folder)
        finally:
            with suppress(OSError):
                temp.unlink(missing_ok=True)
    note_load(depot, plan.version.id)


class _Filling:
    """Blob by blob, each written to all the places where the file has bytes of it"""

    def __init__(self, depot: Depot, plan: ConsolidatePlan, file: FileIO) -> None:
        self._depot, self._plan, self._file = depot, plan, file
        self._runs = runs([plan.file.body])
        self._places = depot.catalog.blobs.places([plan.manifest.blobs[number].digest for number in self._runs])
        self._buffers = BufferPool(depot.settings.memory)
        self._lock = threading.Lock()
        self._done = 0

    def all(self) -> None:
        """Raise Corrupt naming a blob that is damaged"""
        self._write(0, memoryview(self._plan.file.header))
        with start_pool(min(_READERS, 2 * (os.cpu_count() or 1)), "artstore-fetch") as readers:
            try:
                list(readers.map(self._blob, self._runs))
            finally:
                readers.shutdown(wait=True, cancel_futures=True)

    def _blob(self, number: int) -> None:
        blob, buffer = self._plan.manifest.blobs[number], self._buffers.take()
        try:
            data = buffer.view[: blob.size]
            read_blob(self._depot, blob, self._places.get(blob.digest), data)
            with self._lock:
                self._place(data, self._runs[number])
        finally:
            buffer.drop()

    def _place(self, data: memoryview, of_blob: Sequence[Run]) -> None:
        for run in of_blob:
            self._write(len(self._plan.file.header) + run.at, data[run.start : run.start + run.length])
        self._depot.monitor(Progress("checkout", self._done, self._plan.file.size))

    def _write(self, at: int, data: memoryview) -> None:
        self._done += len(data)
        self._file.seek(at)
        while data:
            data = data[self._file.write(data) :]
