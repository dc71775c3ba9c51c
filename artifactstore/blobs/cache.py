"""A read-through cache of blobs and manifests on a local disk, within a byte budget"""

import contextlib
import os
import re
import secrets
import threading
from dataclasses import dataclass
from pathlib import Path

from artifactstore.blobs.base import BlobReader
from artifactstore.blobs.local import LocalBlobs
from artifactstore.blobs.span import check_span, check_start
from artifactstore.blobs.wrap import Verified, damaged, named_digest
from artifactstore.core.digest import Digest
from artifactstore.core.errors import NotFound, StoreError

# Nothing else in the folder is ours to remove (R8).
_OURS = re.compile(r"[0-9a-f]{64}\.[0-9a-f]{16}(\.json)?(\.[0-9a-f]{8}\.part)?")


@dataclass(frozen=True, slots=True)
class Copy:
    """A file of a cache. used_ns: nanoseconds since 1970 UTC; whole: not the part of a download that was cut off"""

    name: str
    nbytes: int
    used_ns: int
    whole: bool


def copies(folder: Path) -> list[Copy]:
    """What a cache holds, the longest unused first; none where there is no cache"""
    found = []
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if _OURS.fullmatch(entry.name):
                with contextlib.suppress(FileNotFoundError):
                    facts = entry.stat(follow_symlinks=False)
                    whole = not entry.name.endswith(".part")
                    # a file that is mapped is used without its reader being asked
                    used = max(facts.st_mtime_ns, facts.st_atime_ns)
                    found.append(Copy(entry.name, facts.st_size, used, whole))
    return sorted(found, key=lambda copy: (copy.used_ns, copy.name))


def clear(folder: Path) -> int:
    """Remove what a cache holds, and nothing else that lies in its folder; the bytes freed"""
    freed = 0
    for copy in copies(folder):
        with contextlib.suppress(FileNotFoundError):
            (folder / copy.name).unlink()
            freed += copy.nbytes
    return freed


class CachedReader:
    """Keeps whole objects whose key tells their digest in `folder`, at most `budget` bytes, the longest unused go first

    Several processes may share a folder. A copy is never trusted: it is checked before its first use here and whenever
    it is read whole, and fetched again when it is damaged. A cache that cannot be written is no error.
    """

    def __init__(self, inner: BlobReader, folder: Path, budget: int) -> None:
        self._inner = inner
        self._source = Verified(inner)
        self._folder = folder.absolute()
        self._copies = LocalBlobs(folder)
        self._budget = budget
        self._lock = threading.Lock()
        self._checked: set[str] = set()
        # An estimate, as other processes fill the folder too; it is counted anew above the budget and at every eighth.
        self._estimate = budget + 1
        self._uncounted = 0

    def path(self, key: str) -> Path | None:
        """The copy of an object, None when there is none; who opens it checks it"""
        found = self._folder / _name(key)
        return found if found.is_file() else None

    def size(self, key: str) -> int:
        """Bytes under `key`; raise NotFound"""
        return self._inner.size(key)

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """`length` bytes from `start`, to the end without a length; raise NotFound, Corrupt"""
        check_start(key, start, length)
        digest = named_digest(key)
        if digest is None:
            return self._inner.read(key, start, length)
        try:
            return self._read_copy(key, digest, start, length)
        except NotFound:
            pass
        except StoreError:
            self._forget(_name(key))
        return self._fetch(key, start, length)

    def read_into(self, key: str, buffer: memoryview, start: int = 0) -> None:
        """Fill the whole buffer from `start`; raise NotFound, Corrupt"""
        view = buffer.cast("B")
        view[:] = self.read(key, start, len(view))

    def _read_copy(self, key: str, digest: Digest, start: int, length: int | None) -> bytes:
        name = _name(key)
        data = self._copies.read(name, start, length)
        whole = start == 0 and len(data) == self._copies.size(name)
        if whole or name not in self._checked:
            if Digest.of(data if whole else self._copies.read(name)) != digest:
                raise damaged(key, digest)
            self._checked.add(name)
        with contextlib.suppress(OSError):
            os.utime(self._folder / name)
        return data

    def _fetch(self, key: str, start: int, length: int | None) -> bytes:
        size = self._inner.size(key)
        if size > self._budget:
            return self._source.read(key, start, length)
        wanted = check_span(key, size, start, length)
        data = self._source.read(key, 0, size)
        self._keep(_name(key), data)
        return data[start : start + wanted]

    def _keep(self, name: str, data: bytes) -> None:
        part = self._folder / f"{name}.{secrets.token_hex(4)}.part"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._make_room(len(data))
            part.write_bytes(data)
            part.replace(self._folder / name)
            self._checked.add(name)
        except OSError:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)

    def _make_room(self, nbytes: int) -> None:
        with self._lock:
            self._estimate += nbytes
            self._uncounted += nbytes
            if self._estimate > self._budget or self._uncounted > self._budget // 8:
                self._estimate = nbytes + self._evict(self._budget - nbytes)
                self._uncounted = 0

    def _evict(self, budget: int) -> int:
        """Remove the longest unused copies until the rest fits; return the size of the rest"""
        found = copies(self._folder)
        total = sum(copy.nbytes for copy in found)
        for copy in found:
            if total <= budget:
                break
            self._forget(copy.name)
            total -= copy.nbytes
        return total

    def _forget(self, name: str) -> None:
        self._checked.discard(name)
        with contextlib.suppress(OSError):
            (self._folder / name).unlink(missing_ok=True)


def _name(key: str) -> str:
    """The leaf of a key, which holds its digest and incarnation, so that the cache is one flat folder"""
    return key.rpartition("/")[2]
