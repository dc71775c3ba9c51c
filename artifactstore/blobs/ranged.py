"""Ranged: large reads as several of parts, under way at once, so that one which breaks is made again alone"""

import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait

from artifactstore.blobs.base import BlobStore
from artifactstore.blobs.wrap import Wrapped, plainly
from artifactstore.core.errors import Unavailable


class Ranged(Wrapped):
    """Reads at most `part` bytes a call, by up to `connections` calls at once, whoever asks"""

    def __init__(self, inner: BlobStore, part: int, connections: int) -> None:
        super().__init__(inner, plainly)
        self._part, self._connections = part, connections
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._pid = 0

    def read_into(self, key: str, buffer: memoryview, start: int = 0) -> None:
        """Fill the whole buffer from `start`; raise NotFound, Corrupt when it ends too early"""
        view = buffer.cast("B")
        if len(view) <= self._part:
            self._inner.read_into(key, view, start)
            return
        asked = [self._ask(key, view[at : at + self._part], start + at) for at in range(0, len(view), self._part)]
        # nothing may be written into the buffer once this is over
        wait(asked)
        for one in asked:
            one.result()

    def _ask(self, key: str, view: memoryview, start: int) -> "Future[None]":
        try:
            return self._threads().submit(self._inner.read_into, key, view, start)
        except RuntimeError as e:
            message = "No more threads can be started here; raise the limit (ulimit -u)"
            raise Unavailable(message, code="threads") from e

    def _threads(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._pool is None or self._pid != os.getpid():
                # those of the process this one was forked from are not here
                self._pool, self._pid = ThreadPoolExecutor(self._connections, "artstore-remote"), os.getpid()
            return self._pool
