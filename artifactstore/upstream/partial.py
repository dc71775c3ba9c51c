"""Partials: files that are not whole yet, found again under a stable name, each written by one process at a time"""

import contextlib
import errno
import hashlib
import json
import os
import re
import socket
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

from artifactstore.core.errors import Busy, Denied, Invalid, NoSpace, StoreError, Unavailable
from artifactstore.core.hub import RemoteFile

try:
    import fcntl
except ImportError:  # no such locks there; what two write at once fails its digest and starts again
    fcntl = None  # type: ignore[assignment]

_NAME = re.compile(r"([0-9a-f]{64})\.(part|json)")
_FLAGS = os.O_RDWR | os.O_CREAT | sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_CLOEXEC", "O_BINARY"))
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class PartialKey:
    """What a partial file will be; the same file of a later commit has the same key"""

    source: str
    path: str
    size: int
    digest: str

    @classmethod
    def of(cls, source: str, file: RemoteFile) -> Self:
        """Of a file of an upstream"""
        return cls(source, str(file.path), file.size, file.digest)

    @property
    def name(self) -> str:
        """64 hex digits"""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class PartialInfo:
    """A partial file as it lies there; `key` is None when nothing tells what it is"""

    name: str
    key: PartialKey | None
    nbytes: int
    age: timedelta


class Partial:
    """One partial file, held until it is closed; for one thread"""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock
        try:
            with _translated("open", path):
                self._fd = os.open(path, _FLAGS, 0o600)
        except StoreError:
            os.close(lock)
            raise
        self.size = os.fstat(self._fd).st_size

    def write(self, data: bytes) -> None:
        """Put bytes after those that are there; raise NoSpace, which leaves what could be written"""
        view = memoryview(data)
        while view:
            with _translated("write", self.path):
                count = os.pwrite(self._fd, view, self.size)
            self.size += count
            view = view[count:]

    def pieces(self) -> Iterator[bytes]:
        """What is there, from the start"""
        done = 0
        while done < self.size:
            with _translated("read", self.path):
                piece = os.pread(self._fd, _PIECE, done)
            if not piece:
                raise Unavailable(f"{self.path} became shorter while it was read", code="io")
            done += len(piece)
            yield piece

    def restart(self) -> None:
        """Throw away what is there"""
        with _translated("empty", self.path):
            os.ftruncate(self._fd, 0)
        self.size = 0

    def discard(self) -> None:
        """Remove it, when it was taken in or is good for nothing; it stays held until it is closed"""
        with _translated("remove", self.path):
            self.path.unlink(missing_ok=True)
            self.path.with_suffix(".json").unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of it; safe to call twice"""
        for fd in (self._fd, self._lock):
            if fd >= 0:
                os.close(fd)
        self._fd = self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Partials:
    """A folder of partial files

    Beside `<name>.part` lies `<name>.json`, which says what it is and who holds it, and is what is locked.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.expanduser().absolute()

    def claim(self, key: PartialKey) -> Partial:
        """The partial file of this key, new or as it was left, held; raise Busy when another holds it"""
        with _translated("make", self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{key.name}.json"
        lock = _held(path)
        if lock is None:
            raise Busy(f"{key.path} of {key.source} is being fetched by {_holder(path)}; wait for it", path=key.path)
        holder = {"pid": os.getpid(), "host": socket.gethostname()}
        document = json.dumps({**asdict(key), "holder": holder}).encode()
        try:
            with _translated("write", path):
                os.ftruncate(lock, 0)
                os.pwrite(lock, document, 0)
        except StoreError:
            os.close(lock)
            raise
        return Partial(path.with_suffix(".part"), lock)

    def stale(self, older: timedelta) -> list[PartialInfo]:
        """Those that nobody wrote to for longer, oldest first, held or not"""
        found = [self._info(name) for name in self._names()]
        return sorted((one for one in found if one.age > older), key=lambda one: one.age, reverse=True)

    def clear(self, older: timedelta) -> list[PartialInfo]:
        """Remove those that nobody wrote to for longer, and that nobody holds; which ones"""
        return [one for one in self.stale(older) if self._remove(one.name)]

    def _names(self) -> list[str]:
        with _translated("list", self.folder), contextlib.suppress(FileNotFoundError):
            found = {match[1] for entry in os.scandir(self.folder) if (match := _NAME.fullmatch(entry.name))}
            return sorted(found)
        return []

    def _info(self, name: str) -> PartialInfo:
        nbytes, touched = 0, 0.0
        for suffix in (".part", ".json"):
            with contextlib.suppress(FileNotFoundError):
                status = os.lstat(self.folder / (name + suffix))
                touched = max(touched, status.st_mtime)
                nbytes += status.st_size if suffix == ".part" else 0
        age = timedelta(seconds=max(0.0, time.time() - touched))
        return PartialInfo(name, _key(_document(self.folder / f"{name}.json")), nbytes, age)

    def _remove(self, name: str) -> bool:
        path = self.folder / f"{name}.json"
        lock = _held(path)
        if lock is None:
            return False
        try:
            with _translated("remove", path):
                path.with_suffix(".part").unlink(missing_ok=True)
                path.unlink(missing_ok=True)
        finally:
            os.close(lock)
        return True


def _held(path: Path) -> int | None:
    """A lock on this file, made if it is not there; None when another has it"""
    while True:
        with _translated("lock", path):
            lock = os.open(path, _FLAGS, 0o600)
            try:
                if not _locked(lock):
                    os.close(lock)
                    return None
                # who held it before may have removed the file between the two calls
                if path.stat().st_ino == os.fstat(lock).st_ino:
                    return lock
            except FileNotFoundError:
                pass
            except BaseException:
                os.close(lock)
                raise
            os.close(lock)


def _locked(fd: int) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as e:
        # network file systems without locks
        if e.errno not in {errno.ENOLCK, errno.ENOTSUP, errno.EINVAL}:
            raise
    return True


def _document(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _key(document: dict[str, Any]) -> PartialKey | None:
    try:
        return PartialKey(**{name: document[name] for name in PartialKey.__slots__})
    except KeyError:
        return None


def _holder(path: Path) -> str:
    holder = _document(path).get("holder")
    if not isinstance(holder, dict):
        return "another process"
    return f"process {holder.get('pid')} on {holder.get('host')}"


@contextlib.contextmanager
def _translated(verb: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as e:
        raise _meant(e, f"Cannot {verb} {path}") from e


def _meant(error: OSError, action: str) -> StoreError:
    said = os.strerror(error.errno or 0)
    if error.errno in _FULL:
        return NoSpace(f"{action}: {said}; free some, what came so far is kept", errno=error.errno)
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        return Denied(f"{action}: {said}")
    if isinstance(error, NotADirectoryError | FileExistsError | IsADirectoryError) or error.errno == errno.ELOOP:
        return Invalid(f"{action}: {said}; name another folder", code="folder")
    return Unavailable(f"{action}: {said}", code="io", errno=error.errno)
