"""A remote place while no network may be used: it says what lies there, and that it cannot be had"""

from collections.abc import Iterator
from typing import NoReturn

from artifactstore.blobs.base import BlobBatch, Buffer
from artifactstore.core.errors import Offline


class Unreachable:
    """Raises Offline for whatever is asked of it; what a cache holds of the place is read before it is asked"""

    def __init__(self, url: str) -> None:
        self.url = url

    def size(self, key: str) -> int:
        """Raise Offline"""
        self._refuse(key)

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:  # noqa: ARG002  # BlobReader's
        """Raise Offline"""
        self._refuse(key)

    def read_into(self, key: str, buffer: memoryview, start: int = 0) -> None:  # noqa: ARG002  # BlobReader's
        """Raise Offline"""
        self._refuse(key)

    def batch(self, owner: str) -> BlobBatch:  # noqa: ARG002  # BlobWriter's
        """Raise Offline"""
        self._refuse("what is to be written")

    def replace(self, key: str, data: Buffer) -> None:  # noqa: ARG002  # BlobWriter's
        """Raise Offline"""
        self._refuse(key)

    def keys(self, prefix: str) -> Iterator[str]:
        """Raise Offline"""
        self._refuse(prefix)

    def sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Raise Offline"""
        self._refuse(prefix)

    def quarantine(self, key: str) -> None:
        """Raise Offline"""
        self._refuse(key)

    def delete(self, key: str) -> None:
        """Raise Offline"""
        self._refuse(key)

    def trash(self, key: str) -> None:
        """Raise Offline"""
        self._refuse(key)

    def purge(self) -> int:
        """Raise Offline"""
        self._refuse("trash")

    def owners(self) -> list[str]:
        """Raise Offline"""
        self._refuse("tmp")

    def drop(self, owner: str) -> None:
        """Raise Offline"""
        self._refuse(owner)

    def prepare(self) -> None:
        """Raise Offline"""
        self._refuse("a new store")

    def free(self) -> int | None:
        """Nobody knows"""
        return None

    def _refuse(self, what: str) -> NoReturn:
        raise Offline(
            f"{what} lies in {self.url} and in no cache here, and no network may be used; run it once without "
            "--offline and with --cache FOLDER, which keeps what is read, or carry the version here in a bundle",
            url=self.url,
            key=what,
        )
