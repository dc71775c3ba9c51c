"""A session that keeps blobs in a dict, for tests of the upload alone"""

import threading

from artifactstore.catalog.base import Grant, Written
from artifactstore.core.digest import Digest


class MemorySession:
    def __init__(self):
        self.blobs: dict[Digest, bytes] = {}
        self.asked = 0
        self.fail_on_write: int | None = None
        self._lock = threading.Lock()

    def want(self, digests):
        digests = list(digests)
        self.asked += 1
        with self._lock:
            return [Grant(digest, "0" * 16, digest not in self.blobs) for digest in digests]

    def write(self, grant, data):
        with self._lock:
            if self.fail_on_write is not None and len(self.blobs) >= self.fail_on_write:
                raise OSError("the disk broke")
            self.blobs[grant.digest] = bytes(data)
        return Written(grant, len(data), "key")

    def found(self, grant, size):
        return Written(grant, size, "key")
