"""Fetch: blobs of a version come in ahead of their use, checked against their digest, under a byte budget"""

import os
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from artifactstore.catalog.base import Place
from artifactstore.core.decode import read_manifest
from artifactstore.core.digest import Digest
from artifactstore.core.errors import Corrupt, NotFound
from artifactstore.core.manifest import MAX_BLOB, BlobInfo, FileEntry, Manifest
from artifactstore.depot import Depot
from artifactstore.ops.transfer.buffers import Buffer, BufferPool

# Blobs read ahead: enough to keep four readers busy; more would only take memory.
_AHEAD = 4
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
    place = depot.catalog.versions.manifest_place(version)
    try:
        return read_manifest(depot.blobs.read(place.key), version)
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
            depot.blobs.read_into(found.key, into, found.start)
        except NotFound:
            continue
        except Corrupt as e:
            raise _damaged(blob, "truncated") from e
        if Digest.of(into) != blob.digest:
            raise _damaged(blob, "corrupt")
        return
    raise _damaged(blob, "missing")


def _damaged(blob: BlobInfo, kind: str) -> Corrupt:
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


class Fetch:
    """The files of one version as a stream of pieces, in file order; each blob is read and checked once"""

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
        runs = [
            (file, offset, extent)
            for file, start in files
            for offset, _, extent in self._manifest.runs(file)
            if offset >= start
        ]
        uses = Counter(extent.blob for _, _, extent in runs)
        places = self._depot.catalog.blobs.places([self._manifest.blobs[number].digest for number in uses])
        ahead = deque(uses)
        with ThreadPoolExecutor(min(4, 2 * (os.cpu_count() or 1)), "artstore-fetch") as readers:
            try:
                for file, offset, extent in runs:
                    self._schedule(readers, ahead, uses, places, needed=extent.blob)
                    loaded = self._loaded[extent.blob]
                    loaded.ready.result()
                    data = loaded.buffer.view[extent.start : extent.start + extent.length]
                    yield FilePiece(file, offset, data, partial(self._used, extent.blob, loaded))
            finally:
                readers.shutdown(wait=True, cancel_futures=True)

    def _schedule(
        self,
        readers: ThreadPoolExecutor,
        ahead: deque[int],
        uses: Mapping[int, int],
        places: Mapping[Digest, Place],
        *,
        needed: int,
    ) -> None:
        while ahead and (needed not in self._loaded or len(self._loaded) < self._ahead):
            number = ahead.popleft()
            blob = self._blob(number)
            buffer = self._pool.take()
            place = places.get(blob.digest)
            ready = readers.submit(read_blob, self._depot, blob, place, buffer.view[: blob.size])
            self._loaded[number] = _Loaded(buffer, ready, uses[number])

    def _blob(self, number: int) -> BlobInfo:
        return self._manifest.blobs[number]

    def _used(self, number: int, loaded: _Loaded) -> None:
        with self._lock:
            loaded.uses -= 1
            if loaded.uses:
                return
            del self._loaded[number]
        loaded.buffer.drop()


def fetch_file(depot: Depot, manifest: Manifest, file: FileEntry) -> bytes:
    """A small file whole, in memory"""
    content = bytearray(file.size)
    for piece in Fetch(depot, manifest).pieces([(file, 0)]):
        content[piece.offset : piece.offset + len(piece.data)] = piece.data
        piece.release()
    return bytes(content)
