"""Sources: files on disk or in memory that a version is made from"""

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self

from artifactstore.core.digest import Sha256
from artifactstore.core.errors import Denied, Invalid, NotFound, StoreError, Unavailable
from artifactstore.core.formats.base import FileInfo
from artifactstore.core.names import SafePath

FLAGS = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))


class Source(Protocol):
    """One file to be taken in, read once from start to end"""

    @property
    def path(self) -> SafePath:
        """Its path in the version"""

    @property
    def size(self) -> int:
        """Bytes in all"""

    @property
    def info(self) -> FileInfo:
        """What its format says: tensors and where to cut"""

    @property
    def sha256(self) -> Sha256 | None:
        """Of its bytes, where they were hashed already as they are; None to hash them"""

    def open(self) -> "Reading":
        """Begin to read"""


class Reading(Protocol):
    """A source while it is read"""

    def fill(self, begin: int, buffer: memoryview) -> None:
        """Copy the bytes from `begin` into the whole buffer"""

    def close(self) -> None:
        """End the reading; raise Invalid when the source changed meanwhile"""

    def abandon(self) -> None:
        """End the reading after a failure"""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells that a file is still the one that was looked at"""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        """From fstat"""
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class LocalReading:
    """An open file of this machine; also a ByteSource for the parsers"""

    def __init__(self, local: Path, expected: Stamp | None = None) -> None:
        self._local = local
        with looking_at(local):
            self._fd = os.open(local, FLAGS)
        status = self._status()
        self.stamp = Stamp.of(status)
        if not stat.S_ISREG(status.st_mode):
            os.close(self._fd)
            raise Invalid(
                f"{local} is not a regular file; only plain files can be stored", code="special", path=str(local)
            )
        if expected is not None and self.stamp != expected:
            os.close(self._fd)
            raise _changed(local)

    @property
    def size(self) -> int:
        """Bytes in all when it was opened"""
        return self.stamp.size

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes from `offset`"""
        buffer = bytearray(length)
        self.fill(offset, memoryview(buffer))
        return bytes(buffer)

    def fill(self, begin: int, buffer: memoryview) -> None:
        """Read into the whole buffer; raise Invalid when the file has become shorter"""
        done = 0
        while done < len(buffer):
            with looking_at(self._local):
                count = _read_at(self._fd, buffer[done:], begin + done)
            if count == 0:
                raise _changed(self._local)
            done += count

    def close(self) -> None:
        """Raise Invalid when the file changed since it was opened"""
        now = Stamp.of(self._status())
        self.abandon()
        if now != self.stamp:
            raise _changed(self._local)

    def abandon(self) -> None:
        """Let the file go"""
        os.close(self._fd)

    def _status(self) -> os.stat_result:
        try:
            with looking_at(self._local):
                return os.fstat(self._fd)
        except StoreError:
            self.abandon()
            raise


def _read_at(fd: int, buffer: memoryview, offset: int) -> int:
    if hasattr(os, "preadv"):
        return os.preadv(fd, [buffer], offset)
    os.lseek(fd, offset, os.SEEK_SET)
    data = os.read(fd, len(buffer))
    buffer[: len(data)] = data
    return len(data)


def _changed(local: Path) -> Invalid:
    return Invalid(
        f"{local} changed while it was being read; nothing was stored, try again when its writer is done",
        code="changed",
        path=str(local),
    )


@contextmanager
def looking_at(path: Path) -> Iterator[None]:
    """Raise NotFound, Denied, Invalid or Unavailable for what the system says in the block about files of others"""
    try:
        yield
    except OSError as e:
        raise _translated(e, Path(e.filename or path)) from e


def _translated(error: OSError, local: Path) -> NotFound | Denied | Invalid | Unavailable:
    if isinstance(error, FileNotFoundError):
        return NotFound(f"No such file: {local}", code="file", path=str(local))
    if isinstance(error, PermissionError):
        return Denied(f"Not allowed to read {local}", path=str(local))
    if isinstance(error, NotADirectoryError | IsADirectoryError) or error.errno in {errno.ELOOP, errno.ENXIO}:
        return Invalid(f"{local} is not a plain file: {error.strerror}", code="special", path=str(local))
    return Unavailable(f"Cannot read {local}: {error.strerror}", code="io", path=str(local))


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file of this machine as it was when it was looked at"""

    path: SafePath
    local: Path
    stamp: Stamp
    info: FileInfo
    sha256: Sha256 | None = None

    @property
    def size(self) -> int:
        """Bytes in all"""
        return self.stamp.size

    def open(self) -> LocalReading:
        """Begin to read; raise Invalid when it is no longer the file that was looked at"""
        return LocalReading(self.local, self.stamp)


Part = Callable[[], memoryview]


@dataclass(frozen=True, slots=True)
class MemoryFile:
    """A file that exists only in memory: parts in file order, each made when its turn comes

    A part gives contiguous bytes; it is called once for each reading that touches it.
    """

    path: SafePath
    info: FileInfo
    sizes: tuple[int, ...]
    parts: Sequence[Part] = field(repr=False)
    sha256: Sha256 | None = None

    @property
    def size(self) -> int:
        """Bytes in all"""
        return sum(self.sizes)

    def open(self) -> "MemoryReading":
        """Begin to read"""
        return MemoryReading(self)


@dataclass(frozen=True, slots=True)
class StagedFile:
    """A file that lies from `begin` in memory which another process may have mapped too"""

    path: SafePath
    info: FileInfo
    begin: int
    size: int

    def over(self, memory: memoryview) -> MemoryFile:
        """To be read from that memory"""
        return MemoryFile(self.path, self.info, (self.size,), (lambda: memory[self.begin : self.begin + self.size],))


class MemoryReading:
    """A memory file while it is read, in file order: one part is held at a time"""

    def __init__(self, file: MemoryFile) -> None:
        self._file = file
        self._index = -1
        self._begin = self._end = 0
        self._part = memoryview(b"")

    def _part_at(self, offset: int) -> memoryview:
        if offset < self._begin:
            raise AssertionError("a memory file is read in file order")
        while offset >= self._end:
            self._index += 1
            self._begin, self._end = self._end, self._end + self._file.sizes[self._index]
            if offset < self._end:
                self._part = self._file.parts[self._index]()
        return self._part

    def fill(self, begin: int, buffer: memoryview) -> None:
        """Copy from as many parts as it takes"""
        done = 0
        while done < len(buffer):
            part = self._part_at(begin + done)
            start = begin + done - self._begin
            piece = part[start : start + len(buffer) - done]
            buffer[done : done + len(piece)] = piece
            done += len(piece)

    def close(self) -> None:
        """Let the last part go"""
        self.abandon()

    def abandon(self) -> None:
        """Let the last part go"""
        self._part = memoryview(b"")
