"""Pieces: what tensors lie in, a version's blobs or the safetensors files of a plain folder, opened to be read"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from artifactstore.catalog.base import Place
from artifactstore.core.digest import Digest
from artifactstore.core.errors import Corrupt, Invalid, NotFound
from artifactstore.core.formats import safetensors
from artifactstore.core.manifest import BlobInfo, Extent, Manifest
from artifactstore.core.reading import Stored, choose
from artifactstore.core.sharding import unsharded
from artifactstore.depot import Depot
from artifactstore.lease import reading
from artifactstore.ops.transfer.fetch import damaged, note_load
from artifactstore.ops.transfer.rescue import read_surely
from artifactstore.ops.transfer.sharded import sharded
from artifactstore.ops.transfer.source import FLAGS, LocalReading, Stamp, looking_at


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes that lie together. digest: what they should be, where anybody knows

    path: a file that has them from its start. whole: fills memory of its size, checked against the digest, where there
    is no such file. damaged: the error when they are not what they should be.
    """

    name: str
    size: int
    digest: Digest | None
    path: Path | None
    whole: Callable[[memoryview], None]
    damaged: Callable[[], Corrupt]


@dataclass(frozen=True, slots=True)
class Source:
    """What can be loaded: tensors by name, the pieces their extents number, and what to call it

    objects: what else ranks wrote, as bytes; paths: the keys of a state that a name stands for. held: a block in which
    nothing of it is collected.
    """

    name: str
    tensors: Mapping[str, Stored]
    pieces: Sequence[Piece]
    objects: Mapping[str, Stored] = field(default_factory=dict)
    paths: Mapping[str, tuple[str | int, ...]] = field(default_factory=dict)
    held: Callable[[], AbstractContextManager[None]] = nullcontext

    @property
    def digests(self) -> list[Digest | None]:
        """What the bytes of each piece should be"""
        return [piece.digest for piece in self.pieces]

    def get(self, name: str) -> Stored:
        """One tensor; raise Invalid when there is none of this name"""
        return choose(self.tensors, [name])[0]


@dataclass(frozen=True, slots=True)
class Seen:
    """A piece whose file is there, as it was when it was looked at"""

    piece: Piece
    path: Path
    stamp: Stamp

    @contextmanager
    def open(self) -> Iterator[int]:
        """A descriptor to read from; raise Corrupt when the file is gone, or another by now"""
        try:
            with looking_at(self.path):
                fd = os.open(self.path, FLAGS)
        except NotFound as e:
            raise self.piece.damaged() from e
        try:
            if not self.is_same(fd):
                raise self.piece.damaged()
            yield fd
        finally:
            os.close(fd)

    def is_same(self, fd: int) -> bool:
        """Whether a descriptor is of this file, unchanged"""
        return Stamp.of(os.fstat(fd)) == self.stamp


def of_version(depot: Depot, manifest: Manifest) -> Source:
    """The tensors of a version, in files where this machine has them"""
    places = depot.catalog.blobs.places([blob.digest for blob in manifest.blobs])
    pieces = [_blob(depot, manifest.id, blob, places.get(blob.digest)) for blob in manifest.blobs]
    found = sharded(depot, manifest) or unsharded(manifest)
    held = partial(_held, depot, manifest.id)
    return Source(str(manifest.artifact), found.tensors, pieces, found.objects, found.paths, held)


@contextmanager
def _held(depot: Depot, version: Digest) -> Iterator[None]:
    with reading(depot, version):
        yield
    note_load(depot, version)


def _blob(depot: Depot, version: Digest, blob: BlobInfo, place: Place | None) -> Piece:
    path = plain_path(depot, place)

    def whole(into: memoryview) -> None:
        try:
            read_surely(depot, blob, place, into)
        except Corrupt:
            # what a collection took is no damage; this says so
            depot.catalog.versions.get(version)
            raise

    return Piece(str(blob.digest), blob.size, blob.digest, path, whole, lambda: damaged(blob, "corrupt"))


def plain_path(depot: Depot, place: Place | None) -> Path | None:
    """The file of this machine that is a blob as it is, where there is one"""
    return depot.path(place.key) if place is not None and _is_plain(place) else None


def _is_plain(place: Place) -> bool:
    return place.state != "damaged" and (place.start, place.stored) == (0, place.size)


def of_folder(folder: Path) -> Source:
    """The tensors of a safetensors file, or of all in a folder; nobody vouches for their bytes

    Raise NotFound without any, Invalid for a malformed one or a name that two of them have.
    """
    with looking_at(folder):
        paths = sorted(folder.glob("*.safetensors")) if folder.is_dir() else [folder]
    if not paths:
        raise NotFound(f"{folder} has no safetensors files", code="file", path=str(folder))
    tensors: dict[str, Stored] = {}
    pieces = []
    for number, path in enumerate(paths):
        reading = LocalReading(path)
        try:
            info = safetensors.parse(reading, str(path))
            pieces.append(_file(path, reading.size))
        finally:
            reading.abandon()
        for one in info.tensors:
            if one.name in tensors:
                raise Invalid(f"Two files of {folder} have a tensor {one.name!r:.80}", code="names")
            extents = (Extent(number, one.begin, one.end - one.begin),) if one.begin < one.end else ()
            tensors[one.name] = Stored(one.name, one.dtype, one.shape, extents)
    return Source(str(folder), tensors, pieces)


def _file(path: Path, size: int) -> Piece:
    def whole(into: memoryview) -> None:
        reading = LocalReading(path)
        reading.fill(0, into)
        reading.close()

    def changed() -> Corrupt:
        return Corrupt(f"{path} changed while it was being read", code="corrupt", path=str(path))

    return Piece(str(path), size, None, path, whole, changed)


def look(pieces: Mapping[int, Piece]) -> dict[int, Seen]:
    """Those that are files, there and of their size, by number; `whole` finds out where the others are"""
    found: dict[int, Seen] = {}
    for number, piece in pieces.items():
        if piece.path is None:
            continue
        with suppress(NotFound), looking_at(piece.path):
            stamp = Stamp.of(piece.path.lstat())
            if stamp.size == piece.size:
                found[number] = Seen(piece, piece.path, stamp)
            elif piece.digest is None:
                raise piece.damaged()
    return found
