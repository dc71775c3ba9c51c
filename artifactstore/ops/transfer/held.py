"""Held files: what a version in the store has, as sources of another version"""

from dataclasses import dataclass

from artifactstore.catalog.base import VersionInfo
from artifactstore.core.digest import Sha256
from artifactstore.core.formats.base import FileInfo
from artifactstore.core.formats.detect import examine
from artifactstore.core.manifest import FileEntry, Manifest
from artifactstore.core.names import SafePath
from artifactstore.depot import Depot
from artifactstore.ops.transfer.ranges import Ranges


class HeldReading:
    """A file of a version while it is read, in any order; also a ByteSource for the parsers"""

    def __init__(self, depot: Depot, manifest: Manifest, entry: FileEntry) -> None:
        self._ranges = Ranges(depot, manifest, entry)

    @property
    def size(self) -> int:
        """Bytes in all"""
        return self._ranges.size

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes from `offset`; raise Corrupt naming a blob that is damaged"""
        return self._ranges.read(offset, offset + length)

    def fill(self, begin: int, buffer: memoryview) -> None:
        """Copy the bytes from `begin` into the whole buffer; raise Corrupt naming a blob that is damaged"""
        buffer[:] = self.read(begin, len(buffer))

    def close(self) -> None:
        """Nothing is held: what is stored does not change"""

    def abandon(self) -> None:
        """As `close`"""


@dataclass(frozen=True, slots=True)
class HeldFile:
    """A file of a version, under the path it will have in another"""

    path: SafePath
    info: FileInfo
    depot: Depot
    version: VersionInfo
    manifest: Manifest
    entry: FileEntry

    @classmethod
    def of(cls, depot: Depot, version: VersionInfo, manifest: Manifest, entry: FileEntry, path: SafePath) -> "HeldFile":
        """Its format is looked at anew, as it says where to cut"""
        info = examine(HeldReading(depot, manifest, entry), str(path))
        return cls(path, info, depot, version, manifest, entry)

    @property
    def size(self) -> int:
        """Bytes in all"""
        return self.entry.size

    @property
    def sha256(self) -> Sha256:
        """As it was hashed when it came in"""
        return self.entry.sha256

    def open(self) -> HeldReading:
        """Begin to read"""
        return HeldReading(self.depot, self.manifest, self.entry)
