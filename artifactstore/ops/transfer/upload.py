"""Upload: sources are read, cut, hashed, asked for and written, all at once, under a byte budget"""

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

from artifactstore.catalog.base import Grant, Written
from artifactstore.core.digest import Digest, Sha256
from artifactstore.core.events import Monitor, Progress
from artifactstore.core.formats.cutting import BLOB_LIMIT
from artifactstore.core.manifest import BlobInfo
from artifactstore.ops.transfer.buffers import BufferPool
from artifactstore.ops.transfer.threads import start_pool

_WRITERS = 4


class Granting(Protocol):
    """The part of a session an upload needs"""

    def want(self, digests: Iterable[Digest]) -> list[Grant]:
        """The right to each blob, and whether it has to be written"""

    def write(self, grant: Grant, data: memoryview) -> Written:
        """Make one blob durable"""

    def found(self, grant: Grant, size: int) -> Written:
        """Note a blob that is there already"""


@dataclass(eq=False, slots=True)
class BlobRef:
    """A blob whose digest is known once a thread has hashed it"""

    size: int
    digest: Digest | None = None

    @property
    def info(self) -> BlobInfo:
        """After the upload has finished"""
        assert self.digest is not None
        return BlobInfo(self.digest, self.size)


@dataclass(slots=True)
class Tally:
    """Bytes an upload saw and bytes it had to write"""

    read: int = 0
    written: int = 0


@dataclass(frozen=True, slots=True)
class _Piece:
    ref: BlobRef
    data: memoryview
    release: Callable[[], None]


@dataclass(slots=True)
class _Inbox:
    pieces: list[_Piece] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def put(self, piece: _Piece) -> None:
        with self.lock:
            self.pieces.append(piece)

    def empty(self) -> list[_Piece]:
        with self.lock:
            pieces, self.pieces = self.pieces, []
        return pieces


class Upload:
    """Blobs on their way into a session

    Hashing runs on a thread a core, the catalog is asked for many digests at once by one thread (while it waits the
    next ones gather), new blobs are written and synced by four. The first failure ends it.
    """

    def __init__(
        self, session: Granting, *, memory: int | BufferPool, monitor: Monitor, phase: str, total: int
    ) -> None:
        self.pool = BufferPool(memory - BLOB_LIMIT) if isinstance(memory, int) else memory
        self.tally = Tally()
        self._session = session
        self._monitor, self._phase, self._total = monitor, phase, total
        self._hashers = start_pool(os.cpu_count() or 1, "artstore-hash")
        self._granter = start_pool(1, "artstore-grant")
        self._writers = start_pool(_WRITERS, "artstore-write")
        self._inbox = _Inbox()
        self._written: dict[Digest, Written | None] = {}
        self._lock = threading.Lock()
        self._pending = 0
        self._idle = threading.Condition(self._lock)
        self._error: BaseException | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.fail(error)
        for pool in (self._hashers, self._granter, self._writers):
            pool.shutdown(wait=True, cancel_futures=False)
        self.pool.close()

    def fail(self, error: BaseException) -> None:
        """Note the first failure; what is under way ends without being written"""
        with self._lock:
            self._error = self._error or error

    def check(self) -> None:
        """Raise the first failure of any thread"""
        if self._error is not None:
            raise self._error

    def blob(self, data: memoryview, release: Callable[[], None]) -> BlobRef:
        """Take the bytes of one blob; `release` is called when they are needed no more"""
        self.check()
        piece = _Piece(BlobRef(len(data)), data, release)
        with self._lock:
            self._pending += 1
        self._start(self._hashers, self._hash, piece)
        return piece.ref

    def progress(self, nbytes: int) -> None:
        """Tell that bytes of a source were read"""
        with self._lock:
            self.tally.read += nbytes
            done = self.tally.read
        self._monitor(Progress(self._phase, done, self._total))

    def finish(self) -> dict[Digest, Written]:
        """Wait for all blobs; raise the first failure"""
        with self._idle:
            self._idle.wait_for(lambda: self._pending == 0)
        self.check()
        return {digest: written for digest, written in self._written.items() if written is not None}

    def _start(self, pool: ThreadPoolExecutor, work: Callable[[_Piece], None], piece: _Piece) -> None:
        def run() -> None:
            try:
                self.check()
                work(piece)
            except BaseException as e:  # noqa: BLE001  # handed to the thread that called
                self.fail(e)
                self._done(piece)

        pool.submit(run)

    def _hash(self, piece: _Piece) -> None:
        piece.ref.digest = Digest.of(piece.data)
        self._inbox.put(piece)
        self._granter.submit(self._grant)

    def _grant(self) -> None:
        pieces = self._inbox.empty()
        try:
            self.check()
            fresh = {p.ref.digest: p for p in reversed(pieces) if p.ref.digest and p.ref.digest not in self._written}
            grants = {grant.digest: grant for grant in self._session.want(fresh)} if fresh else {}
        except BaseException as e:  # noqa: BLE001  # handed to the thread that called
            self.fail(e)
            grants, fresh = {}, {}
        for piece in pieces:
            digest = piece.ref.digest
            assert digest is not None
            if fresh.get(digest) is piece and digest in grants:
                self._follow(piece, grants[digest])
            else:
                self._done(piece)

    def _follow(self, piece: _Piece, grant: Grant) -> None:
        if grant.upload:
            self._written[grant.digest] = None
            self._start(self._writers, lambda piece: self._write(piece, grant), piece)
        else:
            self._written[grant.digest] = self._session.found(grant, piece.ref.size)
            self._done(piece)

    def _write(self, piece: _Piece, grant: Grant) -> None:
        written = self._session.write(grant, piece.data)
        with self._lock:
            self._written[grant.digest] = written
            self.tally.written += piece.ref.size
        self._done(piece)

    def _done(self, piece: _Piece) -> None:
        piece.release()
        with self._idle:
            self._pending -= 1
            self._idle.notify_all()


class OrderedHash:
    """A running sha256 fed in file order by its own thread"""

    def __init__(self, hasher: "Hasher") -> None:
        self._hasher = hasher
        self._worker = start_pool(1, "artstore-sha256")
        self._fed: list[Future[None]] = []

    def feed(self, data: memoryview, release: Callable[[], None]) -> None:
        """Hash these bytes after those before; `release` is called when they are needed no more"""

        def run() -> None:
            try:
                self._hasher.update(data)
            finally:
                release()

        self._fed.append(self._worker.submit(run))

    def digest(self) -> bytes:
        """Of everything fed"""
        self._worker.shutdown(wait=True)
        for future in self._fed:
            future.result()
        return self._hasher.digest()


class KnownHash:
    """A sha256 that nobody has to compute again"""

    def __init__(self, known: Sha256) -> None:
        self._known = known

    def feed(self, data: memoryview, release: Callable[[], None]) -> None:  # noqa: ARG002  # as OrderedHash has it
        """Let the bytes go"""
        release()

    def digest(self) -> bytes:
        """As it was known"""
        return self._known


class Hasher(Protocol):
    """hashlib's shape"""

    def update(self, data: memoryview, /) -> None:
        """Take bytes"""

    def digest(self) -> bytes:
        """Of everything taken"""
