"""Blobs in memory, gone with the process; for tests and for stores nobody needs tomorrow"""

import threading
from collections.abc import Iterator

from artifactstore.blobs.base import Buffer
from artifactstore.blobs.disk import already_there
from artifactstore.blobs.layout import check_key, check_owner, check_prefix, is_listed, quarantine_key
from artifactstore.blobs.span import check_span
from artifactstore.core.errors import LeaseLost, NotFound


class MemoryBlobs:
    """A dictionary with the manners of a disk"""

    def __init__(self, name: str = "") -> None:
        self._name = name
        self._lock = threading.Lock()
        self._objects: dict[str, bytes] = {}
        self._pending: dict[str, dict[str, bytes]] = {}

    @property
    def url(self) -> str:
        """Its name in this process"""
        return f"memory://{self._name}"

    def prepare(self) -> None:
        """Nothing to make"""

    def free(self) -> None:
        """It has no meaning here"""

    def size(self, key: str) -> int:
        """Bytes under `key`; raise NotFound"""
        return len(self._find(key))

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """`length` bytes from `start`, to the end without a length; raise NotFound, Corrupt when it ends too early"""
        data = self._find(key)
        return data[start : start + check_span(key, len(data), start, length)]

    def read_into(self, key: str, buffer: memoryview, start: int = 0) -> None:
        """Fill the whole buffer from `start`; raise NotFound, Corrupt when it ends too early"""
        view = buffer.cast("B")
        view[:] = self.read(key, start, len(view))

    def batch(self, owner: str) -> "MemoryBatch":
        """A new batch; what `owner` leaves behind unpublished is found and dropped by its name"""
        return MemoryBatch(self, check_owner(owner))

    def replace(self, key: str, data: Buffer) -> None:
        """Put these bytes under `key`, in place of what may be there"""
        with self._lock:
            self._objects[check_key(key)] = bytes(data)

    def keys(self, prefix: str) -> Iterator[str]:
        """Keys of published objects that start with `prefix`, in order"""
        return iter([key for key, _ in self.sizes(prefix)])

    def sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        """The same with the bytes of each"""
        check_prefix(prefix)
        with self._lock:
            return iter(sorted((key, len(data)) for key, data in self._objects.items() if is_listed(key, prefix)))

    def quarantine(self, key: str) -> None:
        """Move the object aside to `quarantine/`, keeping its bytes; nothing happens when it is gone"""
        target = quarantine_key(key)
        with self._lock:
            if key in self._objects:
                self._refuse_existing([target])
                self._objects[target] = self._objects.pop(key)

    def delete(self, key: str) -> None:
        """Remove exactly this object; nothing happens when it is gone"""
        with self._lock:
            self._objects.pop(check_key(key), None)

    def trash(self, key: str) -> None:
        """Take the object away for good; nothing happens when it is gone"""
        self.delete(key)

    def purge(self) -> int:
        """Nothing waits here"""
        return 0

    def owners(self) -> list[str]:
        """Owners with unpublished leftovers"""
        with self._lock:
            return sorted(self._pending)

    def drop(self, owner: str) -> None:
        """Remove the unpublished leftovers of an owner"""
        with self._lock:
            self._pending.pop(check_owner(owner), None)

    def _find(self, key: str) -> bytes:
        with self._lock:
            try:
                return self._objects[check_key(key)]
            except KeyError:
                raise NotFound(f"Cannot read {key}: it is not in {self.url}", key=key) from None

    def _refuse_existing(self, keys: list[str]) -> None:
        for key in keys:
            if key in self._objects:
                raise already_there(key)

    def _take(self, owner: str, key: str, data: bytes) -> None:
        with self._lock:
            pending = self._pending.setdefault(owner, {})
            if key in pending:
                raise already_there(key)
            pending[key] = data

    def _publish(self, owner: str, keys: list[str]) -> None:
        with self._lock:
            pending = self._pending.get(owner, {})
            self._refuse_existing(keys)
            if lost := set(keys) - set(pending):
                message = f"What {owner} wrote was dropped before it was published; start the write again"
                raise LeaseLost(message, key=min(lost))
            self._objects.update((key, pending.pop(key)) for key in keys)
            self._forget_empty(owner)

    def _discard(self, owner: str, keys: list[str]) -> None:
        with self._lock:
            pending = self._pending.get(owner, {})
            for key in keys:
                pending.pop(key, None)
            self._forget_empty(owner)

    def _forget_empty(self, owner: str) -> None:
        if not self._pending.get(owner, True):
            del self._pending[owner]


class MemoryBatch:
    """Bytes held by an owner until they become visible together"""

    def __init__(self, blobs: MemoryBlobs, owner: str) -> None:
        self._blobs = blobs
        self._owner = owner
        self._keys: list[str] = []

    def write(self, key: str, data: Buffer) -> None:
        """Take one object, from any thread"""
        self._blobs._take(self._owner, check_key(key), bytes(data))  # noqa: SLF001  # a batch is a part of its store
        self._keys.append(key)

    def publish(self) -> None:
        """Make everything written visible under its key; raise LeaseLost when it was dropped"""
        self._blobs._publish(self._owner, self._keys)  # noqa: SLF001
        self._keys = []

    def discard(self) -> None:
        """Drop what was written and not published; safe to call twice"""
        self._blobs._discard(self._owner, self._keys)  # noqa: SLF001
        self._keys = []
