"""The roles a place for bytes can play; a function asks for the smallest it needs

Keys are relative POSIX paths made by `blobs/layout.py`. A key is written once and never again (R3).
"""

from collections.abc import Iterator
from typing import Protocol

Buffer = bytes | bytearray | memoryview


class BlobReader(Protocol):
    """Gives bytes back"""

    def size(self, key: str) -> int:
        """Bytes under `key`; raise NotFound"""

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """`length` bytes from `start`, to the end without a length; raise NotFound, Corrupt when it ends too early"""

    def read_into(self, key: str, buffer: memoryview, start: int = 0) -> None:
        """Fill the whole buffer from `start`; raise NotFound, Corrupt when it ends too early"""


class BlobBatch(Protocol):
    """Many objects made durable together"""

    def write(self, key: str, data: Buffer) -> None:
        """Take one object, from any thread; its bytes are durable on return, visible at the latest after `publish`

        The caller has named the key in the catalog before (R5).
        """

    def publish(self) -> None:
        """Make everything written visible under its key, whole and durable"""

    def discard(self) -> None:
        """Drop what was written and not published; safe to call twice"""


class BlobWriter(Protocol):
    """Takes bytes in"""

    def batch(self, owner: str) -> BlobBatch:
        """A new batch; what `owner` leaves behind unpublished is found and dropped by its name"""

    def replace(self, key: str, data: Buffer) -> None:
        """Put these bytes under `key`, whole and durable, in place of what may be there

        For what no digest names: the settings of a store, and a journal record, which is the same whoever writes it.
        """


class BlobSweeper(Protocol):
    """Lists, sets aside and removes"""

    def keys(self, prefix: str) -> Iterator[str]:
        """Keys of published objects that start with `prefix`, in order"""

    def sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        """The same with the bytes of each, as a listing tells them"""

    def quarantine(self, key: str) -> None:
        """Move the object aside to `quarantine/`, keeping its bytes; nothing happens when it is gone"""

    def delete(self, key: str) -> None:
        """Remove exactly this object; nothing happens when it is gone"""

    def trash(self, key: str) -> None:
        """Take the object away from its key for good, into `trash/` where there is one; it may be gone already"""

    def purge(self) -> int:
        """Remove what lies in `trash/`; how many objects"""

    def owners(self) -> list[str]:
        """Owners with unpublished leftovers"""

    def drop(self, owner: str) -> None:
        """Remove the unpublished leftovers of an owner"""


class BlobStore(BlobReader, BlobWriter, BlobSweeper, Protocol):
    """All roles of one place"""

    @property
    def url(self) -> str:
        """Where it is, without secrets"""

    def prepare(self) -> None:
        """Make the folders a new store needs, durably"""

    def free(self) -> int | None:
        """Free bytes for new objects, None where that has no meaning"""
