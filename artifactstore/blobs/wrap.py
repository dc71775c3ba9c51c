"""Manners put around a place for bytes: try again, count, verify

An Unavailable error whose fact `retryable` is true comes from something that passes; any other would only come again.
"""

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

from artifactstore.blobs.base import BlobBatch, BlobReader, BlobStore, Buffer
from artifactstore.blobs.layout import parse_object
from artifactstore.core.digest import Digest
from artifactstore.core.errors import Corrupt, Unavailable

T = TypeVar("T")

_FIRST_DELAY = 0.1
_LONGEST_DELAY = 10.0


class Around(Protocol):
    """Makes one call of a verb in its own manner; `nbytes` is what the call takes in or fills, if known before"""

    def __call__(self, verb: str, call: Callable[[], T], nbytes: int = 0) -> T:
        """What the call returns"""


def plainly(verb: str, call: Callable[[], T], nbytes: int = 0) -> T:  # noqa: ARG001  # as an Around is told them
    """Just make the call"""
    return call()


class Wrapped:
    """A store whose every call is made by `around`"""

    def __init__(self, inner: BlobStore, around: Around) -> None:
        self._inner = inner
        self._around = around

    @property
    def url(self) -> str:
        """Where it is, without secrets"""
        return self._inner.url

    def prepare(self) -> None:
        """Make the folders a new store needs, durably"""
        self._around("prepare", self._inner.prepare)

    def free(self) -> int | None:
        """Free bytes for new objects, None where that has no meaning"""
        return self._around("free", self._inner.free)

    def size(self, key: str) -> int:
        """Bytes under `key`; raise NotFound"""
        return self._around("size", lambda: self._inner.size(key))

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """`length` bytes from `start`, to the end without a length; raise NotFound, Corrupt when it ends too early"""
        return self._around("read", lambda: self._inner.read(key, start, length))

    def read_into(self, key: str, buffer: memoryview, start: int = 0) -> None:
        """Fill the whole buffer from `start`; raise NotFound, Corrupt when it ends too early"""
        self._around("read_into", lambda: self._inner.read_into(key, buffer, start), buffer.nbytes)

    def batch(self, owner: str) -> "WrappedBatch":
        """A new batch, whose calls are made in the same manner"""
        return WrappedBatch(self._around("batch", lambda: self._inner.batch(owner)), self._around)

    def replace(self, key: str, data: Buffer) -> None:
        """Put these bytes under `key`, whole and durable, in place of what may be there"""
        self._around("replace", lambda: self._inner.replace(key, data), memoryview(data).nbytes)

    def keys(self, prefix: str) -> Iterator[str]:
        """Keys of published objects that start with `prefix`, in order, listed before the first is given"""
        return iter(self._around("keys", lambda: list(self._inner.keys(prefix))))

    def sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        """The same with the bytes of each, as a listing tells them"""
        return iter(self._around("sizes", lambda: list(self._inner.sizes(prefix))))

    def quarantine(self, key: str) -> None:
        """Move the object aside to `quarantine/`, keeping its bytes; nothing happens when it is gone"""
        self._around("quarantine", lambda: self._inner.quarantine(key))

    def delete(self, key: str) -> None:
        """Remove exactly this object; nothing happens when it is gone"""
        self._around("delete", lambda: self._inner.delete(key))

    def trash(self, key: str) -> None:
        """Take the object away from its key for good; nothing happens when it is gone"""
        self._around("trash", lambda: self._inner.trash(key))

    def purge(self) -> int:
        """Remove what lies in `trash/`; how many objects"""
        return self._around("purge", self._inner.purge)

    def owners(self) -> list[str]:
        """Owners with unpublished leftovers"""
        return self._around("owners", self._inner.owners)

    def drop(self, owner: str) -> None:
        """Remove the unpublished leftovers of an owner"""
        self._around("drop", lambda: self._inner.drop(owner))


class WrappedBatch:
    """A batch whose every call is made by `around`"""

    def __init__(self, inner: BlobBatch, around: Around) -> None:
        self._inner = inner
        self._around = around

    def write(self, key: str, data: Buffer) -> None:
        """Take one object, from any thread; its bytes are durable on return"""
        self._around("write", lambda: self._inner.write(key, data), memoryview(data).nbytes)

    def publish(self) -> None:
        """Make everything written visible under its key, whole and durable"""
        self._around("publish", self._inner.publish)

    def discard(self) -> None:
        """Drop what was written and not published; safe to call twice"""
        self._around("discard", self._inner.discard)


class Retrying(Wrapped):
    """Tries again, up to `retries` times and each time after about twice as long; `sleep` takes seconds

    Repeating is safe for every verb: keys are written by one owner only, who writes the same bytes again.
    """

    def __init__(self, inner: BlobStore, retries: int, sleep: Callable[[float], object]) -> None:
        super().__init__(inner, self._retry)
        self._retries = retries
        self._sleep = sleep

    def _retry(self, verb: str, call: Callable[[], T], nbytes: int = 0) -> T:  # noqa: ARG002  # an Around is told them
        for attempt in range(self._retries):
            try:
                return call()
            except Unavailable as e:
                if not e.facts.get("retryable"):
                    raise
            delay = min(_FIRST_DELAY * 2**attempt, _LONGEST_DELAY)
            self._sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311  # spreads clients out, guards nothing
        return call()


class Counting(Wrapped):
    """Counts calls and bytes by verb, those that fail included"""

    def __init__(self, inner: BlobStore) -> None:
        super().__init__(inner, self._count)
        self._lock = threading.Lock()
        self.calls: Counter[str] = Counter()
        self.nbytes: Counter[str] = Counter()

    def _count(self, verb: str, call: Callable[[], T], nbytes: int = 0) -> T:
        result: T | None = None
        try:
            result = call()
            return result
        finally:
            with self._lock:
                self.calls[verb] += 1
                self.nbytes[verb] += len(result) if isinstance(result, bytes) else nbytes


class Verified:
    """A reader that gives no whole blob or manifest whose bytes are not what its key says

    A part of one cannot be checked and is given as it is, and so is an encoded blob.
    """

    def __init__(self, inner: BlobReader) -> None:
        self._inner = inner

    def size(self, key: str) -> int:
        """Bytes under `key`; raise NotFound"""
        return self._inner.size(key)

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """`length` bytes from `start`, to the end without a length; raise NotFound, Corrupt"""
        data = self._inner.read(key, start, length)
        self._check(key, start, data, whole=length is None)
        return data

    def read_into(self, key: str, buffer: memoryview, start: int = 0) -> None:
        """Fill the whole buffer from `start`; raise NotFound, Corrupt"""
        self._inner.read_into(key, buffer, start)
        self._check(key, start, buffer.cast("B"), whole=False)

    def _check(self, key: str, start: int, data: Buffer, *, whole: bool) -> None:
        digest = named_digest(key)
        if digest is None or start != 0 or Digest.of(data) == digest:
            return
        # Whether that is all there is gets asked only when the digest differs: sound blobs cost no second call.
        if whole or self._inner.size(key) == len(data):
            raise damaged(key, digest)


def named_digest(key: str) -> Digest | None:
    """The digest that the bytes under `key` must have, None where the key tells none"""
    name = parse_object(key)
    return name.digest if name is not None and name.kind != "encoded" else None


def damaged(key: str, digest: Digest) -> Corrupt:
    """The error for bytes that are not what their key says"""
    message = f"The bytes of {key} do not have the digest in its name; verify the store and repair it"
    return Corrupt(message, code="digest", kind="corrupt", key=key, digest=str(digest))
