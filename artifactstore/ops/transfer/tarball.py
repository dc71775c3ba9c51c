"""Tarball: a stream being written to a file, or to parts of it, that a killed run goes on with

What is unfinished has a name of its own, so that it is never taken for the whole; a full part is durable before it
gets its name.
"""

import errno
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from artifactstore.blobs.disk import BINARY, NOFOLLOW, NONBLOCK, check_regular, sync_folder, translated
from artifactstore.blobs.parts import UNFINISHED, Parts
from artifactstore.core.bundle import part_name
from artifactstore.core.errors import Busy, Conflict, Invalid, Refused
from artifactstore.ops.transfer.threads import start_pool

try:
    import fcntl
except ImportError:  # Windows has none
    fcntl = None  # type: ignore[assignment]

_FLAGS = os.O_RDWR | os.O_CREAT | NOFOLLOW | NONBLOCK | BINARY | getattr(os, "O_CLOEXEC", 0)
# A disk that begins early has little left to do when the last byte is written.
_FLUSHED = 128 << 20


class Tarball:
    """The stream `dest`, in parts of `part` bytes or in one; one process writes it at a time

    What lies in a full part is compared and not written again. flush: bytes after which the disk is made to begin.
    """

    def __init__(self, dest: Path, part: int | None = None, *, flush: int = _FLUSHED) -> None:
        self._dest, self._part, self._flush_after = dest, part, flush
        self._finished, begun = self._found()
        self._paths = [*self._finished, *begun]
        self._fd = self._lock = -1
        self._full: Parts | None = None
        self.position = 0
        self._unflushed = 0
        self._flushing: Future[None] | None = None
        self._flusher: ThreadPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._flusher is not None:
            self._flusher.shutdown(wait=True)
        if self._full is not None:
            self._full.close()
        for fd in {self._fd, self._lock} - {-1}:
            os.close(fd)

    @property
    def paths(self) -> list[Path]:
        """Its files under their last names"""
        count = max(-(-self.position // self._part), 1) if self._part else 1
        return [self._final(number) for number in range(1, count + 1)]

    @property
    def finished(self) -> int:
        """Bytes in files that have their last names: of a bundle that is whole, or of its full parts"""
        return sum(path.stat().st_size for path in self._finished)

    def existing(self) -> Parts | None:
        """What an earlier run left, to be read; raise Refused for parts of another size"""
        sizes = {path: path.lstat().st_size for path in self._paths}
        for path in self._finished:
            most = self._part or sizes[path]
            if sizes[path] > most or (sizes[path] < most and path != self._paths[-1]):
                raise occupied(path)
        paths = [path for path in self._paths if sizes[path]]
        return Parts(paths) if paths else None

    def hold(self) -> None:
        """Keep others from writing it; raise Busy when another does"""
        path = self._paths[0] if self._paths else self._begun(1)
        with self._translated(path):
            self._lock = os.open(path, _FLAGS, 0o644)
            check_regular(str(path), os.fstat(self._lock))
            _lock(self._lock, self._dest)
            finished, begun = self._found()
        if [*finished, *begun] != (self._paths or [path]):
            raise Busy(f"Another process wrote {self._dest} meanwhile; run this again", path=str(self._dest))

    def start(self, offset: int) -> None:
        """Go on from here; what lies behind is dropped. Raise Refused for what has its last name and is no full part"""
        for path in self._finished:
            if path.stat().st_size != self._part:
                raise occupied(path)
        self.position = offset
        self._full = Parts(self._finished) if self._finished else None
        with self._translated(self._dest):
            if len(self._paths) > len(self._finished):
                os.truncate(self._paths[-1], max(offset - self.finished, 0))

    def take_back(self, offset: int) -> None:
        """Full parts that hold what lies behind are unfinished again"""
        if self._part is None:
            return
        with self._translated(self._dest):
            for number in range(len(self._finished), offset // self._part, -1):
                self._final(number).rename(self._begun(number))
        self._finished, begun = self._found()
        self._paths = [*self._finished, *begun]

    def write(self, data: bytes | memoryview) -> None:
        """Append; raise Refused where a full part holds something else"""
        view = memoryview(data)
        if self._full is not None and self.position < self._full.size:
            found = self._full.read(self.position, len(view))
            if found != view[: len(found)]:
                raise occupied(self._full.locate(self.position).path)
            self.position += len(found)
            view = view[len(found) :]
        while view:
            view = view[self._append(view) :]

    def finish(self) -> None:
        """Make the last file durable and give it its name; raise Refused when there is more than was written"""
        if self._full is not None and self.position < self._full.size:
            raise occupied(self._full.locate(self.position).path)
        if self._fd >= 0:  # else the last part was full to the byte
            self._close(self._number)
        with self._translated(self._dest):
            for path in self._left_over():
                path.unlink()

    def discard(self) -> None:
        """Remove what is there, finished or not, and hold what will be"""
        with self._translated(self._dest):
            for path in reversed(self._paths):
                path.unlink(missing_ok=True)
            os.close(self._lock)
        self._finished, self._paths, self._lock = [], [], -1
        self.hold()

    @property
    def _number(self) -> int:
        return self.position // self._part + 1 if self._part else 1

    def _room(self) -> int:
        return self._part - self.position % self._part if self._part else 1 << 30

    def _final(self, number: int) -> Path:
        return self._dest.with_name(part_name(self._dest.name, number)) if self._part else self._dest

    def _begun(self, number: int) -> Path:
        final = self._final(number)
        return final.with_name(final.name + UNFINISHED)

    def _found(self) -> tuple[list[Path], list[Path]]:
        """Files that have their last name, and the one after them that has not"""
        finished: list[Path] = []
        while os.path.lexists(path := self._final(len(finished) + 1)):
            finished.append(path)
            if self._part is None:
                return finished, []
        begun = self._begun(len(finished) + 1)
        return finished, [begun] if os.path.lexists(begun) else []

    def _append(self, view: memoryview) -> int:
        """As much as one call to the system, and what is left of the part, takes"""
        if self._fd < 0:
            self._open()
        room = self._room()
        with self._translated(self._begun(self._number)):
            count = os.write(self._fd, view[:room])
        self.position += count
        self._unflushed += count
        if count == room:
            self._close(self._number - 1)
        elif self._unflushed >= self._flush_after:
            self._flush()
        return count

    def _left_over(self) -> Iterator[Path]:
        """Parts that were begun behind the last"""
        number = len(self.paths) + 1
        while self._part and os.path.lexists(path := self._begun(number)):
            yield path
            number += 1

    def _open(self) -> None:
        """The file in which the next byte goes, which may be new"""
        path = self._begun(self._number)
        with self._translated(path):
            self._fd = os.open(path, _FLAGS, 0o644)
            check_regular(str(path), os.fstat(self._fd))
            here = self.position % self._part if self._part else self.position
            os.ftruncate(self._fd, here)
            os.lseek(self._fd, here, os.SEEK_SET)

    def _flush(self) -> None:
        if self._flusher is None:
            self._flusher = start_pool(1, "artstore-flush")
        if self._flushing is None or self._flushing.done():
            self._settle()
            self._flushing = self._flusher.submit(os.fdatasync, self._fd)
            self._unflushed = 0

    def _settle(self) -> None:
        """A sync that failed must be told, as a later one may say nothing"""
        if self._flushing is not None:
            with self._translated(self._dest):
                self._flushing.result()
            self._flushing = None

    def _close(self, number: int) -> None:
        self._settle()
        with self._translated(self._begun(number)):
            os.fsync(self._fd)
            os.close(self._fd)
            self._fd = -1
            self._begun(number).rename(self._final(number))
            sync_folder(self._dest.parent)

    @contextmanager
    def _translated(self, path: Path) -> Iterator[None]:
        if not self._dest.parent.is_dir():
            raise Invalid(f"{self._dest.parent} is no folder; make it first", code="folder", path=str(self._dest))
        with translated("write", path.name, path.parent):
            yield


def _lock(fd: int, dest: Path) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as e:
        raise Busy(f"Another process writes {dest}; wait for it", path=str(dest)) from e
    except OSError as e:
        if e.errno not in {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS}:
            raise


def occupied(path: Path) -> Conflict:
    """The error of a file that is there and is not what would be written"""
    return Refused(
        f"{path} is there with other content; choose another name, or overwrite it with --force",
        code="overwrite",
        path=str(path),
    )
