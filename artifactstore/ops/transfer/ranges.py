"""Ranges: parts of one file of a version, read from blobs that were checked first"""

import io
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from itertools import accumulate
from typing import Protocol

from artifactstore.core.manifest import Extent, Manifest
from artifactstore.depot import Depot
from artifactstore.ops.transfer.fetch import read_blob

# Checked blobs that stay for the next read in any case: those around its end, where two neighbours meet.
_KEPT = 2


class Laid(Protocol):
    """What lies in a version's blobs: a file, or another row of bytes"""

    @property
    def extents(self) -> Sequence[Extent]:
        """Where its bytes are, one after another"""


class Ranges:
    """One file of a version, read in any order; reading on and on reads each blob once

    That holds as long as the blobs among which the file goes to and fro fit into the memory of the settings.
    head: bytes of the file that come before those of the extents.
    """

    def __init__(self, depot: Depot, manifest: Manifest, file: Laid, head: bytes = b"") -> None:
        self._depot, self._manifest, self._head = depot, manifest, head
        self._extents = file.extents
        self._starts = list(accumulate((extent.length for extent in file.extents), initial=len(head)))
        self._ends = {extent.blob: end for extent, end in zip(self._extents, self._starts[1:], strict=True)}
        self._kept: dict[int, memoryview] = {}

    @property
    def size(self) -> int:
        """Bytes in all"""
        return self._starts[-1]

    def read(self, begin: int, end: int) -> bytes:
        """The bytes [begin, end), as far as the file goes; raise Corrupt naming a blob that is damaged"""
        end = min(end, self.size)
        # one blob after another, wherever its bytes go: a tensor's rows may lie in many by turns
        uses: dict[int, list[int]] = defaultdict(list)
        for at in range(max(bisect_right(self._starts, begin) - 1, 0), len(self._extents)):
            if self._starts[at] >= end:
                break
            uses[self._extents[at].blob].append(at)
        # unlike other memory that is written to, this is given away as bytes without a copy
        out = io.BytesIO()
        out.write(self._head[begin:end])
        for blob, places in uses.items():
            data = self._blob(blob, end)
            for at in places:
                low, high = max(begin, self._starts[at]), min(end, self._starts[at + 1])
                start = self._extents[at].start - self._starts[at]
                out.seek(low - begin)
                out.write(data[start + low : start + high])
        return out.getvalue()

    def _blob(self, number: int, end: int) -> memoryview:
        found = self._kept.pop(number, None)
        if found is None:
            self._make_room(self._manifest.blobs[number].size, end)
            found = self._read(number)
        self._kept[number] = found
        return found

    def _make_room(self, nbytes: int, end: int) -> None:
        """Let go of what the file comes back to no more, and over the budget of what was used least lately"""
        for number in list(self._kept):
            if len(self._kept) < _KEPT:
                break
            full = nbytes + sum(map(len, self._kept.values())) > self._depot.settings.memory
            if full or self._ends[number] <= end:
                del self._kept[number]

    def _read(self, number: int) -> memoryview:
        info = self._manifest.blobs[number]
        memory = memoryview(bytearray(info.size))
        places = self._depot.catalog.blobs.places([info.digest])
        read_blob(self._depot, info, places.get(info.digest), memory)
        return memory
