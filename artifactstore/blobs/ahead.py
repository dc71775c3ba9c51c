"""Asking for many small things in order, several under way at once where an answer takes its time"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from artifactstore.blobs.base import BlobReader
from artifactstore.blobs.local import LocalBlobs
from artifactstore.core.errors import Corrupt, NotFound, Unavailable

T = TypeVar("T")
V = TypeVar("V")
Found = bytes | NotFound | Corrupt
_WORKERS = 16


def ask_ahead(blobs: BlobReader, question: Callable[[T], V], items: Iterable[T]) -> Iterator[V]:
    """The answers to a question about `blobs`, in the order of the items; what one raises is raised"""
    if isinstance(blobs, LocalBlobs):
        yield from map(question, items)
        return
    left = iter(items)
    with ThreadPoolExecutor(_WORKERS, "artstore-ahead") as pool:
        waiting: deque[Future[V]] = deque()
        while True:
            try:
                waiting.extend(pool.submit(question, item) for item in islice(left, _WORKERS - len(waiting)))
            except RuntimeError as e:
                message = "No more threads can be started here; raise the limit (ulimit -u)"
                raise Unavailable(message, code="threads") from e
            if not waiting:
                return
            yield waiting.popleft().result()


def read_ahead(blobs: BlobReader, keys: Iterable[str]) -> Iterator[tuple[str, Found]]:
    """Each key with its bytes, or with why there are none; any other failure is raised"""

    def read(key: str) -> tuple[str, Found]:
        try:
            return key, blobs.read(key)
        except (NotFound, Corrupt) as e:
            return key, e

    return ask_ahead(blobs, read, keys)
