"""Checkout: a version's files written out, bit for bit, to a folder"""

import errno
import hashlib
import os
import stat
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from artifactstore.catalog.base import VersionInfo
from artifactstore.core.arrangement import Arrangement, Layout, arrange
from artifactstore.core.digest import Digest, Sha256
from artifactstore.core.errors import (
    Busy,
    Corrupt,
    Denied,
    Invalid,
    NoSpace,
    NotFound,
    Refused,
    StoreError,
    Unavailable,
)
from artifactstore.core.events import Progress
from artifactstore.core.manifest import FileEntry, Manifest
from artifactstore.core.names import SafePath
from artifactstore.depot import Depot
from artifactstore.lease import reading
from artifactstore.ops.transfer.fetch import Fetch, FilePiece, load_manifest, note_load
from artifactstore.ops.transfer.links import links_work, place_link, place_text
from artifactstore.ops.transfer.source import looking_at
from artifactstore.ops.transfer.space import check_space
from artifactstore.ops.transfer.threads import start_pool

try:
    import fcntl
except ImportError:  # Windows has none
    fcntl = None  # type: ignore[assignment]

_CHUNK = 8 << 20
_FLAGS = (
    os.O_RDWR
    | os.O_CREAT
    | sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY", "O_APPEND"))
)
_SYNCERS = 4
_UNDER_WAY = 2
# Files that wait to be synced are open: a system lets a process hold few.
_UNSYNCED = 64


@dataclass(frozen=True, slots=True)
class CheckoutPlan:
    """Which files of a version go where; those already there, bit for bit, are kept

    link: those whose bytes lie elsewhere in the folder, and to which a link is to be made.
    """

    version: VersionInfo
    manifest: Manifest
    dest: Path
    arrangement: Arrangement
    write: tuple[FileEntry, ...]
    keep: tuple[FileEntry, ...]
    link: tuple[FileEntry, ...] = ()
    force: bool = False

    @property
    def home(self) -> Path:
        """The folder in which the files are found by their own paths"""
        return self.dest / self.arrangement.home

    @property
    def nbytes(self) -> int:
        """Bytes to be written"""
        return sum(file.size for file in self.write)

    def to_json(self) -> dict[str, Any]:
        """For people and programs to read before it runs"""
        return {
            "id": str(self.version.id),
            "dest": str(self.dest),
            "home": str(self.home),
            "write": [{"path": str(file.path), "size": file.size} for file in self.write],
            "keep": [str(file.path) for file in self.keep],
            "bytes": self.nbytes,
        }


@dataclass(frozen=True, slots=True)
class CheckoutReport:
    """What was written, what an earlier try had written already, what was there before"""

    files: int
    written_bytes: int
    resumed_bytes: int
    kept: int


def plan(
    depot: Depot,
    version: VersionInfo,
    dest: Path,
    *,
    only: Sequence[str] = (),
    force: bool = False,
    layout: Layout = Layout.FILES,
) -> CheckoutPlan:
    """Look at what is there; raise Refused when other content would be overwritten and not `force`"""
    manifest = load_manifest(depot, version.id)
    chosen = [file for file in manifest.files if not only or any(fnmatchcase(file.path, glob) for glob in only)]
    if not chosen:
        raise NotFound(f"No file of {version.ref} matches {', '.join(only)}", code="path")
    arrangement = arrange(layout, manifest, chosen, version.aliases)
    return _compared(version, manifest, dest, arrangement, force=force)


def _compared(
    version: VersionInfo, manifest: Manifest, dest: Path, arrangement: Arrangement, *, force: bool
) -> CheckoutPlan:
    keep: list[FileEntry] = []
    write: dict[SafePath, FileEntry] = {}
    link: list[FileEntry] = []
    with looking_at(dest):
        if dest.exists() and not dest.is_dir():
            raise Invalid(f"{dest} is a file; give a folder", code="folder", path=str(dest))
        for file in (file for file in manifest.files if file.path in arrangement.places):
            place = arrangement.places[file.path]
            if file.path in arrangement.links:
                at = dest / arrangement.links[file.path]
                if not _leads(at, dest / place):
                    if _is_there(file, at, force=force, linked=True):
                        keep.append(file)
                        continue
                    link.append(file)
            if place in write:
                continue
            if _is_there(file, dest / place, force=force):
                keep.append(file)
            else:
                write[place] = file
    return CheckoutPlan(version, manifest, dest, arrangement, tuple(write.values()), tuple(keep), tuple(link), force)


def _leads(link: Path, target: Path) -> bool:
    """Whether it is the link that would be made, whatever lies at its end"""
    return link.is_symlink() and os.path.normpath(link.parent / link.readlink()) == os.path.normpath(target)


def _is_there(file: FileEntry, path: Path, *, force: bool, linked: bool = False) -> bool:
    """Whether a file stands at its place, bit for bit; linked: a link of another to its bytes will do"""
    if not os.path.lexists(path):
        return False
    plain = path.is_file() and (linked or not path.is_symlink())
    if plain and path.stat().st_size == file.size and sha256_of(path) == file.sha256:
        return True
    if force and not path.is_dir():
        return False
    raise Refused(
        f"{path} is there with other content; choose another folder, or overwrite it with --force",
        code="overwrite",
        path=str(path),
    )


def sha256_of(path: Path) -> Sha256:
    """Of a file of this machine"""
    with path.open("rb") as file:
        return Sha256(hashlib.file_digest(file, "sha256").digest())


def run(depot: Depot, plan: CheckoutPlan) -> CheckoutReport:
    """Write to temporary names beside the targets, check each sha256, sync, rename

    A second run goes on where an interrupted one ended.
    """
    try:
        plan.dest.mkdir(parents=True, exist_ok=True)
        if plan.arrangement.links and not links_work(plan.dest):
            flat = plan.arrangement.unlinked()
            plan = _compared(plan.version, plan.manifest, plan.dest, flat, force=plan.force)
        parts = [_Part(depot, plan, file) for file in plan.write]
        resumed = sum(part.done for part in parts)
        check_space(plan.nbytes - resumed, plan.dest)
        with reading(depot, plan.version.id):
            _write(depot, plan, parts)
        _stand_beside(depot, plan)
    except OSError as e:
        raise _translated(e, plan) from e
    note_load(depot, plan.version.id)
    return CheckoutReport(len(plan.write), plan.nbytes - resumed, resumed, len(plan.keep))


def _translated(error: OSError, plan: CheckoutPlan) -> StoreError:
    text = f"Cannot write {error.filename or plan.dest}: {error.strerror}"
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return NoSpace(f"{text}; what was written is kept, make room and run the same command again")
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        return Denied(text)
    return Unavailable(text, code="io")


def _write(depot: Depot, plan: CheckoutPlan, parts: Sequence["_Part"]) -> None:
    by_path = {part.file.path: part for part in parts}
    wanted = [(part.file, part.done) for part in parts]
    try:
        with _Line(depot, sum(part.done for part in parts), plan.nbytes) as line:
            for part in parts:
                if part.done == part.file.size:
                    line.finish(part)
            for path, pieces in groupby(Fetch(depot, plan.manifest).pieces(wanted), key=_path):
                for piece in pieces:
                    line.append(by_path[path], piece)
                line.finish(by_path[path])
            line.end()
    finally:
        for part in parts:
            part.close()
    _sync_folders({part.target for part in parts}, plan.dest)


def _stand_beside(depot: Depot, plan: CheckoutPlan) -> None:
    """Links to what is written by now, then the texts that name it: who finds one finds all that it speaks of"""
    links = {plan.dest / plan.arrangement.links[file.path]: file.path for file in plan.link}
    texts = {plan.dest / path: text for path, text in plan.arrangement.texts.items()}
    for path in (*links, *texts):
        _refuse_links(path.parent, plan.dest)
        path.parent.mkdir(parents=True, exist_ok=True)
    depot.step("checkout.link.before")
    for link, name in links.items():
        place_link(link, plan.dest / plan.arrangement.places[name])
    _sync_folders(links, plan.dest)
    depot.step("checkout.link.after")
    for path, text in texts.items():
        place_text(path, text)
    _sync_folders(texts, plan.dest)


def _sync_folders(written: Iterable[Path], dest: Path) -> None:
    touched = {folder for path in written for folder in path.parents}
    for folder in sorted(folder for folder in touched if folder.is_relative_to(dest.parent)):
        _sync_folder(folder)


def _path(piece: FilePiece) -> SafePath:
    return piece.file.path


class _Line:
    """Pieces in file order, each written by one thread while another hashes it; whole files are synced by others"""

    def __init__(self, depot: Depot, done: int, total: int) -> None:
        self._depot, self._done, self._total = depot, done, total
        self._writer = start_pool(1, "artstore-write")
        self._hasher = start_pool(1, "artstore-sha256")
        self._syncer = start_pool(_SYNCERS, "artstore-sync")
        self._under_way: deque[tuple[FilePiece, Future[None], Future[None]]] = deque()
        self._finished: deque[Future[None]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pool in (self._writer, self._hasher, self._syncer):
            pool.shutdown(wait=True, cancel_futures=error is not None)

    def append(self, part: "_Part", piece: FilePiece) -> None:
        """Take the next piece; at most a few are under way at once"""
        part.open()
        self._depot.step("checkout.write.before")
        written = self._writer.submit(part.write, piece.data)
        self._under_way.append((piece, written, self._hasher.submit(part.hash, piece.data)))
        while len(self._under_way) > _UNDER_WAY:
            self._settle()

    def finish(self, part: "_Part") -> None:
        """Check, sync and rename once all its pieces are written"""
        while self._under_way:
            self._settle()
        while len(self._finished) >= _UNSYNCED:
            self._finished.popleft().result()
        self._finished.append(self._syncer.submit(part.finish))

    def end(self) -> None:
        """Wait for the last rename; raise what went wrong"""
        for future in self._finished:
            future.result()

    def _settle(self) -> None:
        piece, written, hashed = self._under_way.popleft()
        written.result()
        hashed.result()
        piece.release()
        self._done += len(piece.data)
        self._depot.monitor(Progress("checkout", self._done, self._total))
        self._depot.step("checkout.write.after")


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def part_name(file: FileEntry) -> str:
    """Where a file is written until it is whole, beside its target: long names would be too long with more added"""
    return f".{Digest.of(file.path.encode()).hex()[:16]}.{file.sha256.hex()[:16]}.part"


def _lock(fd: int, path: Path) -> None:
    """One checkout at a time; where locks do nothing, the size and sha256 at the end still tell"""
    if fcntl is not None:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as e:
            raise Busy(f"Another checkout works on {path}; wait for it", path=str(path)) from e
        except OSError as e:
            if e.errno not in {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS}:
                raise


def _is_at(status: os.stat_result, path: Path) -> bool:
    try:
        return os.path.samestat(status, path.lstat())
    except FileNotFoundError:
        return False


def _refuse_links(folder: Path, dest: Path) -> None:
    try:
        inside = folder.resolve().is_relative_to(dest.resolve())
    except RuntimeError as e:
        raise Invalid(f"{folder} is a link to itself; remove it", code="link", path=str(folder)) from e
    if not inside:
        raise Invalid(f"{folder} is a link that leaves {dest}; remove it", code="link", path=str(folder))


class _Part:
    """A file on its way, as long as what is done of it"""

    def __init__(self, depot: Depot, plan: CheckoutPlan, file: FileEntry) -> None:
        self.file = file
        self.target = plan.dest / plan.arrangement.places[file.path]
        self._depot = depot
        self._temp = self.target.with_name(part_name(file))
        _refuse_links(self.target.parent, plan.dest)
        self.target.parent.mkdir(parents=True, exist_ok=True)
        self.done = self._found([offset for offset, _, _ in plan.manifest.runs(file)])
        self._fd = -1
        self._failed = False
        self._hash = hashlib.sha256()

    def _found(self, starts: Sequence[int]) -> int:
        there = self._temp.stat().st_size if self._temp.exists() else 0
        return there if there == self.file.size else max((start for start in starts if start <= there), default=0)

    def open(self) -> None:
        """Keep whole runs of an earlier try, hashed again from the disk; nothing happens when it is open"""
        if self._fd >= 0:
            return
        self._fd = os.open(self._temp, _FLAGS, 0o644)
        if not stat.S_ISREG(os.fstat(self._fd).st_mode):
            raise Invalid(f"{self._temp} is no regular file; remove it", code="special", path=str(self._temp))
        _lock(self._fd, self._temp)
        status = os.fstat(self._fd)
        # Until it was locked, another checkout may have renamed it: then it is no part any more but the target.
        if status.st_size < self.done or not _is_at(status, self._temp):
            raise Busy(f"Another checkout works on {self.target}; wait for it", path=str(self.target))
        os.ftruncate(self._fd, self.done)
        for begin in range(0, self.done, _CHUNK):
            self._hash.update(os.read(self._fd, min(_CHUNK, self.done - begin)))

    def write(self, data: memoryview) -> None:
        """Append"""
        if self._failed:
            return
        view = data
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError:
            # What is queued behind would land at the wrong place.
            self._failed = True
            raise

    def hash(self, data: memoryview) -> None:
        """Take the bytes into the file's sha256"""
        self._hash.update(data)

    def finish(self) -> None:
        """Check, sync, rename"""
        self.open()
        if self._hash.digest() != self.file.sha256 or os.fstat(self._fd).st_size != self.file.size:
            os.ftruncate(self._fd, 0)
            raise Corrupt(
                f"{self.file.path} came out with another sha256; run the checkout again, then artstore verify",
                code="file",
                path=self.file.path,
            )
        os.fsync(self._fd)
        self._depot.step("checkout.rename.before")
        if os.name != "posix":
            self.close()  # an open file cannot be renamed there; elsewhere the lock is kept until it is done
        self._temp.replace(self.target)
        self.close()
        self._depot.step("checkout.rename.after")

    def close(self) -> None:
        """Let the file go; what is done of it stays for the next try"""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
