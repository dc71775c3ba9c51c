"""Reading many small objects in order, several under way at once where an answer takes its time"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

from artifactstore.blobs.base import BlobReader
from artifactstore.blobs.local import LocalBlobs
from artifactstore.core.errors import Corrupt, NotFound, Unavailable

Found = bytes | NotFound | Corrupt
_WORKERS = 16


def read_ahead(blobs: BlobReader, keys: Iterable[str]) -> Iterator[tuple[str, Found]]:
    """Each key with its bytes, or with why there are none; any other failure is raised"""

    def read(key: str) -> tuple[str, Found]:
        try:
            return key, blobs.read(key)
        except (NotFound, Corrupt) as e:
            return key, e

    if isinstance(blobs, LocalBlobs):
        yield from map(read, keys)
        return
    left = iter(keys)
    with ThreadPoolExecutor(_WORKERS, "artstore-ahead") as pool:
        waiting: deque[Future[tuple[str, Found]]] = deque()
        while True:
            try:
                waiting.extend(pool.submit(read, key) for key in islice(left, _WORKERS - len(waiting)))
            except RuntimeError as e:
                message = "No more threads can be started here; raise the limit (ulimit -u)"
                raise Unavailable(message, code="threads") from e
            if not waiting:
                return
            yield waiting.popleft().result()
