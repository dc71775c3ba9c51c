"""Fetch: blobs of a version come in ahead of their use, checked against their digest, under a byte budget"""

import os
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

from artifactstore.catalog.base import Place
from artifactstore.core.decode import read_known
from artifactstore.core.digest import Digest
from artifactstore.core.errors import Corrupt, NotFound, StoreError
from artifactstore.core.events import Warn
from artifactstore.core.manifest import MAX_BLOB, BlobInfo, Extent, FileEntry, Manifest
from artifactstore.depot import Depot
from artifactstore.ops.transfer.buffers import Buffer, BufferPool
from artifactstore.ops.transfer.threads import start_pool

# Blobs read ahead: enough to keep four readers busy; more would only take memory.
_AHEAD = 4
# How far apart two uses of a blob may lie for it to stay in memory between them.
_KEPT = 2 * MAX_BLOB
# What is read ahead is bounded here; a blob that is needed now must never wait for one that is kept for later.
_UNLIMITED = 1 << 62


@dataclass(frozen=True, slots=True)
class FilePiece:
    """Bytes of a file from `offset`; the memory is good until `release` is called, from any thread"""

    file: FileEntry
    offset: int
    data: memoryview
    release: Callable[[], None]


def load_manifest(depot: Depot, version: Digest) -> Manifest:
    """The manifest of a version, checked against its id; raise Corrupt when it is damaged or gone"""
    return read_known(manifest_bytes(depot, version), version)


def manifest_bytes(depot: Depot, version: Digest) -> bytes:
    """The bytes of a manifest, not yet checked; raise Corrupt when they are gone"""
    place = depot.catalog.versions.manifest_place(version)
    try:
        return depot.reader.read(place.key)
    except NotFound as e:
        raise Corrupt(
            f"The manifest of {version.hex()[:12]} is gone; run artstore verify, then artstore repair --from a copy",
            code="missing",
            kind="missing",
            digest=str(version),
        ) from e


def read_blob(depot: Depot, blob: BlobInfo, place: Place | None, into: memoryview) -> None:
    """Fill `into` with the blob's bytes; raise Corrupt unless they are what its name says

    A key that is gone is looked up once more: the blob may have moved to another incarnation meanwhile.
    """
    for known in (place, None):
        found = known or depot.catalog.blobs.places([blob.digest]).get(blob.digest)
        if found is None or found.state == "damaged":
            break
        try:
            depot.reader.read_into(found.key, into, found.start)
        except NotFound:
            continue
        except Corrupt as e:
            raise damaged(blob, "truncated") from e
        if Digest.of(into) != blob.digest:
            raise damaged(blob, "corrupt")
        return
    raise damaged(blob, "missing")


def damaged(blob: BlobInfo, kind: str) -> Corrupt:
    """The error of a blob that is not what its name says"""
    return Corrupt(
        f"Blob {blob.digest.hex()[:12]} is {kind}; run artstore verify, then artstore repair --from a copy",
        code=kind,
        kind=kind,
        digest=str(blob.digest),
    )


@dataclass(slots=True)
class _Loaded:
    buffer: Buffer
    ready: Future[None]
    uses: int


@dataclass(frozen=True, slots=True)
class _Run:
    """Bytes of a file that lie in one blob; runs of one `turn` share one reading of it"""

    file: FileEntry
    offset: int
    extent: Extent
    turn: int


class Fetch:
    """The files of one version as a stream of pieces, in file order

    A blob is read and checked once for all uses that lie close together, and again for one much later.
    """

    def __init__(self, depot: Depot, manifest: Manifest) -> None:
        self._depot, self._manifest = depot, manifest
        self._pool = BufferPool(_UNLIMITED)
        self._ahead = max(min(depot.settings.memory // MAX_BLOB, _AHEAD), 1)
        self._loaded: dict[int, _Loaded] = {}
        self._lock = threading.Lock()

    def pieces(self, files: Iterable[tuple[FileEntry, int]]) -> Iterator[FilePiece]:
        """The bytes of each file in order, from an offset at which a run begins

        Raise Corrupt naming the blob that is damaged.
        """
        runs = list(_in_turns((file, *run) for file, start in files for run in self._from(file, start)))
        uses = Counter(run.turn for run in runs)
        blobs = {run.turn: self._manifest.blobs[run.extent.blob] for run in runs}
        places = self._depot.catalog.blobs.places(list({blob.digest for blob in blobs.values()}))
        ahead = deque(uses)
        with start_pool(min(4, 2 * (os.cpu_count() or 1)), "artstore-fetch") as readers:
            try:
                for run in runs:
                    while ahead and (run.turn not in self._loaded or len(self._loaded) < self._ahead):
                        turn = ahead.popleft()
                        blob, buffer = blobs[turn], self._pool.take()
                        place = places.get(blob.digest)
                        ready = readers.submit(read_blob, self._depot, blob, place, buffer.view[: blob.size])
                        self._loaded[turn] = _Loaded(buffer, ready, uses[turn])
                    loaded = self._loaded[run.turn]
                    loaded.ready.result()
                    data = loaded.buffer.view[run.extent.start : run.extent.start + run.extent.length]
                    yield FilePiece(run.file, run.offset, data, partial(self._used, run.turn, loaded))
            finally:
                readers.shutdown(wait=True, cancel_futures=True)

    def _from(self, file: FileEntry, start: int) -> Iterator[tuple[int, Extent]]:
        return ((offset, extent) for offset, _, extent in self._manifest.runs(file) if offset >= start)

    def _used(self, turn: int, loaded: _Loaded) -> None:
        with self._lock:
            loaded.uses -= 1
            if loaded.uses:
                return
            del self._loaded[turn]
        loaded.buffer.drop()


def _in_turns(runs: Iterable[tuple[FileEntry, int, Extent]]) -> Iterator[_Run]:
    """Number the readings: a blob used again within `_KEPT` bytes is kept for it, else read anew"""
    seen: dict[int, tuple[int, int]] = {}
    position = turns = 0
    for file, offset, extent in runs:
        turn, end = seen.get(extent.blob, (0, -_KEPT - 1))
        if position - end > _KEPT:
            turn, turns = turns, turns + 1
        position += extent.length
        seen[extent.blob] = (turn, position)
        yield _Run(file, offset, extent, turn)


def fetch_file(depot: Depot, manifest: Manifest, file: FileEntry) -> bytes:
    """A small file whole, in memory"""
    content = bytearray(file.size)
    for piece in Fetch(depot, manifest).pieces([(file, 0)]):
        content[piece.offset : piece.offset + len(piece.data)] = piece.data
        piece.release()
    return bytes(content)


def note_load(depot: Depot, version: Digest) -> None:
    """Note that a version was loaded; what was loaded is no worse when that fails"""
    if not depot.read_only:
        try:
            depot.catalog.versions.loaded(version, depot.clock())
        except StoreError as e:
            depot.monitor(Warn(f"The time of this load could not be noted: {e}"))
