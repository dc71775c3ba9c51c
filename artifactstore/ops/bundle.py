"""Bundle: versions of a store written into one tar of a store, for where no network leads (docs/bundles.md)"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self

from blake3 import blake3

from artifactstore.blobs.parts import Parts
from artifactstore.blobs.tar import LABEL_KEY, SIGNATURE_KEY
from artifactstore.catalog.base import Place, VersionInfo
from artifactstore.core.bundle import Holdings, Named, count_parts, to_record
from artifactstore.core.decode import read_known
from artifactstore.core.digest import Digest
from artifactstore.core.errors import Corrupt, NotFound
from artifactstore.core.events import Progress
from artifactstore.core.manifest import MAX_BLOB, BlobInfo
from artifactstore.core.tar import BLOCK, END, header, padded, read_header
from artifactstore.depot import Depot, folder_of
from artifactstore.lease import reading
from artifactstore.ops.transfer.buffers import Buffer, BufferPool
from artifactstore.ops.transfer.fetch import damaged, manifest_bytes, read_blob
from artifactstore.ops.transfer.packing import Cargo, Load, Piece, lay_out, pack
from artifactstore.ops.transfer.signature import Signer
from artifactstore.ops.transfer.space import check_space
from artifactstore.ops.transfer.tarball import Tarball
from artifactstore.ops.transfer.threads import start_pool

_AHEAD = 4
_ASKED = 256
_CHUNK = 256 << 10


@dataclass(frozen=True, slots=True)
class BundlePlan:
    """What goes where. nbytes: of the whole stream, without a signature"""

    dest: Path
    part: int | None
    load: Load
    nbytes: int

    @property
    def left_out(self) -> int:
        """Bytes that the versions have, and the other side too"""
        return sum(one.left_out for one in self.load.cargo)

    def to_json(self) -> dict[str, Any]:
        """For people and programs to read before it runs"""
        return {
            "file": str(self.dest),
            "parts": count_parts(self.nbytes, self.part),
            "bytes": self.nbytes,
            "left_out_bytes": self.left_out,
            "versions": [_to_json(one) for one in self.load.cargo],
            "held": [name_json(one) for one in self.load.held],
            "base": [name_json(one) for one in self.load.label.base],
            "along": [name_json(one) for one in self.load.along],
        }


@dataclass(frozen=True, slots=True)
class BundleReport:
    """What was written, and what an earlier try had written already"""

    paths: tuple[Path, ...]
    written_bytes: int
    resumed_bytes: int
    signed: bool


def name_json(one: Named) -> dict[str, str]:
    """A version as documents name it"""
    return {"id": str(one.id), "ref": one.ref}


def _to_json(one: Cargo) -> dict[str, Any]:
    return {
        **name_json(one.version.named),
        "blobs": len(one.blobs),
        "bytes": sum(blob.size for blob in one.blobs),
        "left_out_bytes": one.left_out,
    }


def holdings(depot: Depot) -> Holdings:
    """The versions that are here whole, as far as is known: what another side may count on"""
    broken = {place.digest for place in depot.catalog.blobs.damaged_manifests()}
    for place in depot.catalog.blobs.damaged():
        broken.update(depot.catalog.versions.ids_with_blob(place.digest))
    ids = {info.id for info in depot.catalog.versions.list()} - broken
    return Holdings(depot.info.store_id, tuple(sorted(ids)))


def plan(
    depot: Depot,
    versions: Sequence[VersionInfo],
    dest: Path,
    *,
    have: Holdings | None = None,
    part: int | None = None,
) -> BundlePlan:
    """Look at what goes in, to the byte

    have: what the other side holds and is left out. part: the bytes of a part, for several files. Raise Corrupt when
    something needed is known to be damaged here, Invalid for too small parts.
    """
    load = pack(depot, versions, have.versions if have else ())
    *_, last = lay_out(load)
    nbytes = last.member.end + len(END)
    count_parts(nbytes, part)
    return BundlePlan(dest, part, load, nbytes)


def run(depot: Depot, plan: BundlePlan, *, signer: Signer | None = None, force: bool = False) -> BundleReport:
    """Write it, each blob checked against its name on the way

    A second run goes on after the last whole member of an interrupted one, each checked again. force: over what is
    there with other content, else raise Refused. Raise NoSpace before anything is written, Corrupt for damage here.
    """
    with Tarball(plan.dest, plan.part) as out:
        out.hold()
        if force:
            out.discard()
        writing = _Writing(depot, plan, out, signer)
        done, whole = writing.resume()
        if not whole:
            out.start(done)
            done = max(done, out.finished)
            check_space(plan.nbytes - done, plan.dest.parent)
            with reading(depot, *(one.version.id for one in plan.load.cargo)):
                writing.write_rest()
            depot.step("bundle.finish.before")
            out.finish()
            depot.step("bundle.finish.after")
        return BundleReport(tuple(out.paths), out.position - done, done, signer is not None)


class _Loaded(NamedTuple):
    buffer: Buffer
    view: memoryview
    ready: Future[None]


class _Writing:
    """The stream of a plan: what of it is there, and the rest"""

    def __init__(self, depot: Depot, plan: BundlePlan, out: Tarball, signer: Signer | None) -> None:
        self._depot, self._plan, self._out, self._signer = depot, plan, out, signer
        self._begin = 0
        self._manifest: tuple[Digest | None, bytes] = (None, b"")
        self._digests: dict[str, bytes] = {}
        self._buffer = memoryview(bytearray(_CHUNK))

    def resume(self) -> tuple[int, bool]:
        """How many bytes of whole members are there as they should be, and whether that is all"""
        parts = self._out.existing()
        if parts is None:
            return 0, False
        with parts:
            for piece in lay_out(self._plan.load):
                if not self._is_there(parts, piece):
                    break
                self._begin = piece.member.end
                self._tell(self._begin)
            behind = self._begin == self._plan.nbytes - len(END)
            if behind and self._is_ended(parts):
                self._out.position = parts.size
                return parts.size, True
            ended = parts.size % BLOCK == 0 and parts.read(max(parts.size - len(END), 0), len(END)) == END
        if behind and self._signer is not None and not ended:
            # there is chance in a signature: a piece of one fits no other
            self._out.take_back(self._begin)
        return self._begin, False

    def write_rest(self) -> None:
        """From where `resume` ended to the end mark"""
        blobs = (piece.blob for piece in self._rest() if piece.blob)
        with _source(self._depot, blobs) as source:
            for piece in self._rest():
                self._depot.step("bundle.write.before")
                self._write(piece, source.take() if piece.blob else [self._document(piece)])
                self._tell(piece.member.end)
                self._depot.step("bundle.write.after")
        if self._signer is not None:
            raw = self._signer.sign(self._digests)
            self._out.write(header(SIGNATURE_KEY, len(raw)) + raw + bytes(padded(len(raw)) - len(raw)))
        self._out.write(END)

    def _rest(self) -> Iterator[Piece]:
        return (piece for piece in lay_out(self._plan.load) if piece.member.start >= self._begin)

    def _write(self, piece: Piece, chunks: Iterable[bytes | memoryview]) -> None:
        member = piece.member
        assert self._out.position == member.start
        self._out.write(header(member.name, member.size))
        for chunk in chunks:
            self._out.write(chunk)
        assert self._out.position == member.data + member.size
        self._out.write(bytes(padded(member.size) - member.size))

    def _tell(self, done: int) -> None:
        self._depot.monitor(Progress("bundle", done, self._plan.nbytes))

    def _is_there(self, parts: Parts, piece: Piece) -> bool:
        member = piece.member
        end = member.data + member.size
        if parts.size < member.end or parts.read(member.start, BLOCK) != header(member.name, member.size):
            return False
        if any(parts.read(end, member.end - end)):
            return False
        if piece.blob is None:
            return parts.read(member.data, member.size) == self._document(piece)
        found = blake3()
        for start in range(member.data, end, _CHUNK):
            view = self._buffer[: min(_CHUNK, end - start)]
            parts.read_into(view, start)
            found.update(view)
        return found.digest() == piece.blob.digest

    def _is_ended(self, parts: Parts) -> bool:
        """Whether it is finished, with a signature of ours where one is wanted"""
        at = self._begin
        if self._signer is not None:
            try:
                member = read_header(parts.read(at, BLOCK), at)
            except Corrupt:
                return False
            raw = parts.read(member.data, member.size)
            if member.name != SIGNATURE_KEY or not self._signer.is_ours(raw, self._digests):
                return False
            at = member.end
        return parts.read(at, len(END)) == END and parts.size == self._out.finished == at + len(END)

    def _document(self, piece: Piece) -> bytes:
        """What is no blob"""
        raw = self._made(piece)
        if self._signer is not None:
            self._digests[piece.member.name] = sha256(raw).digest()
        return raw

    def _made(self, piece: Piece) -> bytes:
        load, cargo = self._plan.load, piece.cargo
        if cargo is None:
            return load.label.to_bytes() if piece.member.name == LABEL_KEY else load.info.to_bytes()
        version = cargo.version.id
        if self._manifest[0] != version:
            self._manifest = (version, manifest_bytes(self._depot, version))
        document = read_known(self._manifest[1], version)
        if piece.member.name.startswith("manifests/"):
            return self._manifest[1]
        actions = cargo.version.actions(blob.digest for blob in document.blobs)
        return to_record(load.info.catalog_id, cargo.serial, cargo.at, actions)


class _Source(Protocol):
    """Blobs in the order they are needed"""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def take(self) -> Iterator[memoryview]:
        """The bytes of the next; raise Corrupt, at its end at the latest, when it is damaged"""


def _source(depot: Depot, blobs: Iterator[BlobInfo]) -> _Source:
    placed = _placed(depot, blobs)
    return _Ahead(depot, placed) if folder_of(depot.blobs) is None else _Near(depot, placed)


def _placed(depot: Depot, blobs: Iterator[BlobInfo]) -> Iterator[tuple[BlobInfo, Place | None]]:
    while group := list(islice(blobs, _ASKED)):
        places = depot.catalog.blobs.places([blob.digest for blob in group])
        yield from ((blob, places.get(blob.digest)) for blob in group)


class _Near:
    """Blobs of this machine's disk, in chunks that stay in the processor's cache: less than half the work"""

    def __init__(self, depot: Depot, placed: Iterator[tuple[BlobInfo, Place | None]]) -> None:
        self._depot, self._placed = depot, placed
        self._buffer = memoryview(bytearray(_CHUNK))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def take(self) -> Iterator[memoryview]:
        """What was given is known to be the blob once the last of it is taken"""
        blob, place = next(self._placed)
        if place is None or place.state == "damaged":
            raise damaged(blob, "missing")
        found = blake3()
        for start in range(0, blob.size, _CHUNK):
            view = self._buffer[: min(_CHUNK, blob.size - start)]
            try:
                self._depot.blobs.read_into(place.key, view, place.start + start)
            except NotFound as e:
                raise damaged(blob, "missing") from e
            except Corrupt as e:
                raise damaged(blob, "truncated") from e
            found.update(view)
            yield view
        if found.digest() != blob.digest:
            raise damaged(blob, "corrupt")


class _Ahead:
    """Blobs of a remote store, whole ones read and checked by other threads ahead of their use"""

    def __init__(self, depot: Depot, placed: Iterator[tuple[BlobInfo, Place | None]]) -> None:
        self._depot, self._placed = depot, placed
        self._pool = BufferPool(0)
        self._count = max(min(depot.settings.memory // MAX_BLOB, _AHEAD), 1)
        self._readers: ThreadPoolExecutor = start_pool(_AHEAD, "artstore-bundle")
        self._waiting: deque[_Loaded] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._readers.shutdown(wait=True, cancel_futures=True)
        self._pool.close()

    def take(self) -> Iterator[memoryview]:
        """The whole of it, when it is there"""
        for blob, place in islice(self._placed, self._count - len(self._waiting)):
            buffer = self._pool.take()
            view = buffer.view[: blob.size]
            ready = self._readers.submit(read_blob, self._depot, blob, place, view)
            self._waiting.append(_Loaded(buffer, view, ready))
        loaded = self._waiting.popleft()
        loaded.ready.result()
        yield loaded.view
        loaded.buffer.drop()
