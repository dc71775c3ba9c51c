"""Run: the files of a plan written, and the version's own files found again in them, byte for byte"""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BufferedWriter
from pathlib import Path

from artifactstore.blobs.disk import BINARY, NOFOLLOW, sync_folder, translated
from artifactstore.core.digest import Digest, Sha256
from artifactstore.core.errors import Busy, Corrupt
from artifactstore.core.events import Progress
from artifactstore.core.manifest import FileEntry
from artifactstore.core.names import SafePath
from artifactstore.depot import Depot
from artifactstore.derive.dest import in_the_way
from artifactstore.derive.shard.layout import LaidFile, Range
from artifactstore.derive.shard.plan import ShardPlan
from artifactstore.lease import reading
from artifactstore.ops.transfer.fetch import note_load
from artifactstore.ops.transfer.ranges import Ranges
from artifactstore.ops.transfer.space import check_space

try:
    import fcntl
except ImportError:  # Windows has none
    fcntl = None  # type: ignore[assignment]

_CHUNK = 8 << 20


@dataclass(frozen=True, slots=True)
class ShardFile:
    """A file that is there now. kept: it was there before, bit for bit"""

    path: SafePath
    size: int
    sha256: Sha256
    kept: bool


@dataclass(frozen=True, slots=True)
class ShardReport:
    """All files, and how many files of the version were put together again from them and had their sha256"""

    files: tuple[ShardFile, ...]
    reassembled: int

    @property
    def written_bytes(self) -> int:
        """Of files that were not there before"""
        return sum(file.size for file in self.files if not file.kept)


def run(depot: Depot, plan: ShardPlan) -> ShardReport:
    """Write to temporary names, sync, rename; what names other files appears once those are there and checked

    A second run keeps the files that an interrupted one finished. Raise Corrupt when what was written does not give
    the version's files back, Busy while another run writes the same file.
    """
    with translated("write", str(plan.dest), plan.dest), reading(depot, plan.version.id):
        missing = sum(file.size for file in plan.files if not (plan.dest / file.path).exists())
        check_space(missing, next(path for path in (plan.dest, *plan.dest.absolute().parents) if path.exists()))
        plan.dest.mkdir(parents=True, exist_ok=True)
        work = _Work(depot, plan)
        weights = [work.place(file) for file in plan.files if not file.last]
        _check(work, plan)
        texts = [work.place(file) for file in plan.files if file.last]
        for path in plan.stale:
            path.unlink(missing_ok=True)
        for folder in {(plan.dest / file.path).parent for file in plan.files}:
            sync_folder(folder)
    note_load(depot, plan.version.id)
    return ShardReport((*weights, *texts), len(plan.split))


class _Work:
    """Pieces from the store to the disk, a few megabytes at a time"""

    def __init__(self, depot: Depot, plan: ShardPlan) -> None:
        self._depot, self._plan = depot, plan
        self._entries: Mapping[SafePath, FileEntry] = {file.path: file for file in plan.manifest.files}
        self._open: dict[SafePath, Ranges] = {}
        self._done = 0

    def read(self, path: SafePath, begin: int, end: int) -> Iterator[bytes]:
        """Bytes of a file of the version in parts"""
        if path not in self._open:
            # one at a time: each keeps blobs
            self._open = {path: Ranges(self._depot, self._plan.manifest, self._entries[path])}
        for at in range(begin, end, _CHUNK):
            yield self._open[path].read(at, min(at + _CHUNK, end))

    def content(self, file: LaidFile) -> Iterator[bytes]:
        """The bytes of a file that is laid out"""
        for piece in file.pieces:
            if isinstance(piece, Range):
                yield from self.read(piece.path, piece.begin, piece.end)
            else:
                yield piece

    def place(self, file: LaidFile) -> ShardFile:
        """Write a file that is not there"""
        target = self._plan.dest / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        kept = self._same(file, target)
        if kept is not None:
            self._tell(file.size)
            return ShardFile(file.path, file.size, kept, kept=True)
        if os.path.lexists(target) and not self._plan.force:
            raise in_the_way(target)
        temp = target.with_name(f".{Digest.of(file.path.encode()).hex()[:16]}.part")
        found = hashlib.sha256()
        with _locked(temp) as out:
            for data in self.content(file):
                out.write(data)
                found.update(data)
                self._tell(len(data))
            out.flush()
            os.fsync(out.fileno())
            self._depot.step("shard.rename.before")
            temp.replace(target)
            self._depot.step("shard.rename.after")
        return ShardFile(file.path, file.size, Sha256(found.digest()), kept=False)

    def _same(self, file: LaidFile, target: Path) -> Sha256 | None:
        """The sha256 of a file that is there with this content"""
        if target.is_symlink() or not target.is_file() or target.stat().st_size != file.size:
            return None
        found = hashlib.sha256()
        with target.open("rb") as there:
            for data in self.content(file):
                if there.read(len(data)) != data:
                    return None
                found.update(data)
        return Sha256(found.digest())

    def _tell(self, nbytes: int) -> None:
        self._done += nbytes
        self._depot.monitor(Progress("shard", self._done, self._plan.nbytes))


def _check(work: _Work, plan: ShardPlan) -> None:
    """Put every file that was split together again, of what lies on the disk now and of its own head"""
    found: dict[SafePath, list[tuple[int, int, Path, int]]] = {path: [] for path in plan.split}
    for file in (file for file in plan.files if not file.last):
        for at, piece in file.ranges():
            if piece.path in found:
                found[piece.path].append((piece.begin, piece.end, plan.dest / file.path, at))
    entries = {file.path: file for file in plan.manifest.files}
    for path, runs in found.items():
        digest = hashlib.sha256()
        position = 0
        for begin, end, local, at in sorted(runs):
            if begin < position:
                continue  # some of a head lies in several files
            _update(digest.update, work.read(path, position, begin))
            _update(digest.update, _read_back(local, at, end - begin))
            position = end
        _update(digest.update, work.read(path, position, entries[path].size))
        if digest.digest() != entries[path].sha256:
            raise Corrupt(
                f"The shards in {plan.dest} do not give {path} back; check the disk, remove the folder and run again",
                code="reassembly",
                file=str(path),
            )


def _update(update: Callable[[bytes], None], parts: Iterator[bytes]) -> None:
    for part in parts:
        update(part)


def _read_back(local: Path, at: int, length: int) -> Iterator[bytes]:
    with local.open("rb") as file:
        file.seek(at)
        for begin in range(0, length, _CHUNK):
            yield file.read(min(_CHUNK, length - begin))


@contextmanager
def _locked(temp: Path) -> Iterator[BufferedWriter]:
    """A file to be written anew by nobody else; it goes when the block fails"""
    fd = os.open(temp, os.O_RDWR | os.O_CREAT | NOFOLLOW | BINARY, 0o644)
    with os.fdopen(fd, "wb") as file:
        if not _mine(fd, temp):
            raise Busy(f"Another run writes {temp}; wait for it", path=str(temp))
        try:
            file.truncate()
            yield file
        except BaseException:
            with suppress(OSError):
                temp.unlink()
            raise


def _mine(fd: int, temp: Path) -> bool:
    """Lock a file; False when another run has it, or renamed it before it was locked"""
    try:
        if fcntl is not None:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(fd), temp.lstat())
    except (BlockingIOError, FileNotFoundError):
        return False
