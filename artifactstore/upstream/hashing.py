"""Hashing: the digest by which a remote file is known, made in a thread of its own while the bytes still come"""

import hashlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self

from artifactstore.core.hub import RemoteFile

_AHEAD = 16  # pieces of at most a MiB that may wait


class Hashing:
    """The digest of the bytes fed, in order; ends with its block"""

    def __init__(self, file: RemoteFile) -> None:
        self._expected = str(file.sha256) if file.sha256 is not None else file.git_oid
        if file.sha256 is not None:
            self._hash = hashlib.sha256()
        else:
            # git names a file by its length and its bytes, https://git-scm.com/book/en/v2/Git-Internals-Git-Objects
            self._hash = hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)
        self._thread = ThreadPoolExecutor(1, "hashing")
        self._waiting: deque[Future[None]] = deque()

    def feed(self, piece: bytes) -> None:
        """Take the next bytes; waits when the hash is far behind"""
        self._waiting.append(self._thread.submit(self._hash.update, piece))
        if len(self._waiting) > _AHEAD:
            self._waiting.popleft().result()

    def fits(self) -> bool:
        """Whether the bytes fed are the file's"""
        while self._waiting:
            self._waiting.popleft().result()
        return self._hash.hexdigest() == self._expected

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()
