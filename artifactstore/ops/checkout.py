"""Checkout: a version's files written out, bit for bit, to a folder"""

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import groupby
from pathlib import Path
from typing import Any

from artifactstore.catalog.base import VersionInfo
from artifactstore.core.digest import Sha256
from artifactstore.core.errors import Corrupt, Denied, Invalid, NoSpace, NotFound, Refused, StoreError, Unavailable
from artifactstore.core.events import Progress
from artifactstore.core.manifest import FileEntry, Manifest
from artifactstore.core.names import SafePath
from artifactstore.core.units import format_size
from artifactstore.depot import Depot
from artifactstore.lease import reading
from artifactstore.ops.transfer.fetch import Fetch, FilePiece, load_manifest

_CHUNK = 8 << 20


@dataclass(frozen=True, slots=True)
class CheckoutPlan:
    """Which files of a version go where; those already there, bit for bit, are kept"""

    version: VersionInfo
    manifest: Manifest
    dest: Path
    write: tuple[FileEntry, ...]
    keep: tuple[FileEntry, ...]

    @property
    def nbytes(self) -> int:
        """Bytes to be written"""
        return sum(file.size for file in self.write)

    def to_json(self) -> dict[str, Any]:
        """For people and programs to read before it runs"""
        return {
            "id": str(self.version.id),
            "dest": str(self.dest),
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
    depot: Depot, version: VersionInfo, dest: Path, *, only: Sequence[str] = (), force: bool = False
) -> CheckoutPlan:
    """Look at what is there; raise Refused when other content would be overwritten and not `force`"""
    manifest = load_manifest(depot, version.id)
    chosen = [file for file in manifest.files if not only or any(fnmatchcase(file.path, glob) for glob in only)]
    if not chosen:
        raise NotFound(f"No file of {version.ref} matches {', '.join(only)}", code="path")
    if dest.exists() and not dest.is_dir():
        raise Invalid(f"{dest} is a file; give a folder", code="folder", path=str(dest))
    keep: list[FileEntry] = []
    write: list[FileEntry] = []
    for file in chosen:
        (keep if _is_there(file, dest / file.path, force=force) else write).append(file)
    return CheckoutPlan(version, manifest, dest, tuple(write), tuple(keep))


def _is_there(file: FileEntry, path: Path, *, force: bool) -> bool:
    if not os.path.lexists(path):
        return False
    if path.is_file() and not path.is_symlink() and path.stat().st_size == file.size and _sha256(path) == file.sha256:
        return True
    if force and not path.is_dir():
        return False
    raise Refused(
        f"{path} is there with other content; choose another folder, or overwrite it with --force",
        code="overwrite",
        path=str(path),
    )


def _sha256(path: Path) -> Sha256:
    with path.open("rb") as file:
        return Sha256(hashlib.file_digest(file, "sha256").digest())


def run(depot: Depot, plan: CheckoutPlan) -> CheckoutReport:
    """Write to temporary names beside the targets, check each sha256, sync, rename

    A second run goes on where an interrupted one ended.
    """
    try:
        plan.dest.mkdir(parents=True, exist_ok=True)
        parts = [_Part(depot, plan, file) for file in plan.write]
        resumed = sum(part.done for part in parts)
        _check_space(plan, resumed)
        with reading(depot, plan.version.id):
            _write(depot, plan, parts)
    except OSError as e:
        raise _translated(e, plan) from e
    if not depot.read_only:
        depot.catalog.versions.loaded(plan.version.id, depot.clock())
    return CheckoutReport(len(plan.write), plan.nbytes - resumed, resumed, len(plan.keep))


def _check_space(plan: CheckoutPlan, resumed: int) -> None:
    need, free = plan.nbytes - resumed, shutil.disk_usage(plan.dest).free
    if need > free:
        raise NoSpace(
            f"{format_size(need)} to write, {format_size(free)} free at {plan.dest}; make room or go elsewhere",
            need=need,
            free=free,
        )


def _translated(error: OSError, plan: CheckoutPlan) -> StoreError:
    text = f"Cannot write {error.filename or plan.dest}: {error.strerror}"
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return NoSpace(f"{text}; what was written is kept, make room and run the same command again")
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        return Denied(text)
    return Unavailable(text, code="io")


def _write(depot: Depot, plan: CheckoutPlan, parts: Sequence["_Part"]) -> None:
    done = sum(part.done for part in parts)
    by_path = {part.file.path: part for part in parts}
    wanted = [(part.file, part.done) for part in parts]
    try:
        with ThreadPoolExecutor(1, "artstore-sha256") as hasher, ThreadPoolExecutor(4, "artstore-sync") as syncer:
            finished = [syncer.submit(part.finish) for part in parts if part.done == part.file.size]
            for path, pieces in _by_file(Fetch(depot, plan.manifest).pieces(wanted)):
                for piece in pieces:
                    by_path[path].take(piece.data, hasher)
                    done += len(piece.data)
                    depot.monitor(Progress("checkout", done, plan.nbytes))
                finished.append(syncer.submit(by_path[path].finish))
            for future in finished:
                future.result()
    finally:
        for part in parts:
            part.close()
    for folder in sorted({part.target.parent for part in parts}):
        _sync_folder(folder)


def _by_file(pieces: Iterator[FilePiece]) -> Iterator[tuple[SafePath, Iterator[FilePiece]]]:
    return groupby(pieces, key=lambda piece: piece.file.path)


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


class _Part:
    """A file on its way: `.<name>.<sha256>.part` beside its target, as long as what is done of it"""

    def __init__(self, depot: Depot, plan: CheckoutPlan, file: FileEntry) -> None:
        self.file = file
        self.target = plan.dest / file.path
        self._depot = depot
        self._temp = self.target.with_name(f".{self.target.name[:180]}.{file.sha256.hex()[:16]}.part")
        self.target.parent.mkdir(parents=True, exist_ok=True)
        if not self.target.parent.resolve().is_relative_to(plan.dest.resolve()):
            raise Invalid(f"{self.target.parent} is a link that leaves {plan.dest}; remove it", code="link")
        self.done = self._found([offset for offset, _, _ in plan.manifest.runs(file)])
        self._fd = -1
        self._hash = hashlib.sha256()

    def _found(self, starts: Sequence[int]) -> int:
        there = self._temp.stat().st_size if self._temp.exists() else 0
        return there if there == self.file.size else max((start for start in starts if start <= there), default=0)

    def _open(self) -> None:
        """Keep whole runs of an earlier try, hashed again from the disk"""
        flags = os.O_RDWR | os.O_CREAT | sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_CLOEXEC", "O_BINARY"))
        self._fd = os.open(self._temp, flags, 0o644)
        os.ftruncate(self._fd, self.done)
        for begin in range(0, self.done, _CHUNK):
            self._hash.update(os.read(self._fd, min(_CHUNK, self.done - begin)))

    def take(self, data: memoryview, hasher: ThreadPoolExecutor) -> None:
        """Append, hashing meanwhile"""
        if self._fd < 0:
            self._open()
        self._depot.step("checkout.write.before")
        hashed = hasher.submit(self._hash.update, data)
        try:
            view = data
            while view:
                view = view[os.write(self._fd, view) :]
        finally:
            hashed.result()
        self._depot.step("checkout.write.after")

    def finish(self) -> None:
        """Check, sync, rename"""
        if self._fd < 0:
            self._open()
        if self._hash.digest() != self.file.sha256:
            os.ftruncate(self._fd, 0)
            raise Corrupt(
                f"{self.file.path} came out with another sha256; run the checkout again, then artstore verify",
                code="file",
                path=self.file.path,
            )
        os.fsync(self._fd)
        self.close()
        self._depot.step("checkout.rename.before")
        self._temp.replace(self.target)
        self._depot.step("checkout.rename.after")

    def close(self) -> None:
        """Let the file go; what is done of it stays for the next try"""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
