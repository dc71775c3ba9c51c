"""Ranges: parts of one file of a version, read from blobs that were checked first"""

from artifactstore.core.manifest import FileEntry, Manifest
from artifactstore.depot import Depot
from artifactstore.ops.transfer.fetch import read_blob

# Checked blobs that stay for the next read: those around its end, where two neighbours meet.
_KEPT = 2


class Ranges:
    """One file of a version, read in any order; reading on and on reads each blob once"""

    def __init__(self, depot: Depot, manifest: Manifest, file: FileEntry) -> None:
        self._depot, self._manifest, self._file = depot, manifest, file
        self._runs = list(manifest.runs(file))
        self._kept: dict[int, memoryview] = {}

    def read(self, begin: int, end: int) -> bytes:
        """The bytes [begin, end), as far as the file goes; raise Corrupt naming a blob that is damaged"""
        parts = []
        for offset, _, extent in self._runs:
            low, high = max(begin, offset), min(end, offset + extent.length)
            if low < high:
                start = extent.start - offset
                parts.append(self._blob(extent.blob)[start + low : start + high])
        return b"".join(parts)

    def _blob(self, number: int) -> memoryview:
        found = self._kept.pop(number, None)
        if found is None:
            while len(self._kept) >= _KEPT:
                del self._kept[next(iter(self._kept))]
            found = self._read(number)
        self._kept[number] = found
        return found

    def _read(self, number: int) -> memoryview:
        info = self._manifest.blobs[number]
        memory = memoryview(bytearray(info.size))
        places = self._depot.catalog.blobs.places([info.digest])
        read_blob(self._depot, info, places.get(info.digest), memory)
        return memory
