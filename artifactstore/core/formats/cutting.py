"""Cut rules: where a file is divided into blobs

The rules are a promise of the format on disk: the same bytes cut by the same rules are the same blobs. A change of any
number here is a new `CUT_RULES`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

from blake3 import blake3
from pyfastcdc import FastCDC

from artifactstore.core.digest import Buffer
from artifactstore.core.errors import Invalid
from artifactstore.core.formats.base import Region

CUT_RULES = 1
MIB = 1 << 20
BLOB_LIMIT = 64 * MIB
GATHER_BELOW = 4 * MIB
GATHER_LIMIT = 16 * MIB
ALIGN = 64


class Role(Enum):
    """What becomes of a segment"""

    SOLO = "solo"  # a blob of its own, at most BLOB_LIMIT
    GATHER = "gather"  # a region below GATHER_BELOW, placed in a shared blob by `Gather`
    REST = "rest"  # outside regions: headers, zip directories, padding


@dataclass(frozen=True, slots=True)
class Segment:
    """Bytes [begin, end) of a file and their role; name is the region's, empty for REST"""

    begin: int
    end: int
    role: Role
    name: str


def cut(size: int, regions: Iterable[Region]) -> Iterator[Segment]:
    """Segments in file order that cover [0, size) exactly

    The REST segments of a file, concatenated, are blobs that close at each full BLOB_LIMIT; no segment crosses such a
    close. Raise Invalid when a region is empty, leaves the file, or begins before the end of the one before it.
    """
    position = rest = 0
    for region in regions:
        if not position <= region.begin < region.end <= size:
            where = f"[{region.begin}, {region.end}), after {position} of {size} bytes"
            raise Invalid(f"Region {region.name!r:.80} lies at {where}; regions lie in file order, apart", code="cut")
        yield from _rest(position, region.begin, rest)
        rest += region.begin - position
        yield from _region(region)
        position = region.end
    yield from _rest(position, size, rest)


def _region(region: Region) -> Iterator[Segment]:
    if region.end - region.begin < GATHER_BELOW:
        yield Segment(region.begin, region.end, Role.GATHER, region.name)
        return
    for begin in range(region.begin, region.end, BLOB_LIMIT):
        yield Segment(begin, min(begin + BLOB_LIMIT, region.end), Role.SOLO, region.name)


def _rest(begin: int, end: int, before: int) -> Iterator[Segment]:
    while begin < end:
        stop = min(end, begin + BLOB_LIMIT - before % BLOB_LIMIT)
        yield Segment(begin, stop, Role.REST, "")
        before += stop - begin
        begin = stop


class Gather:
    """One shared blob that fills up with small regions, each at the next multiple of ALIGN

    Where it closes follows from the names of what it holds, not from positions: a region added, removed or resized
    changes the blobs around it and leaves the others as they were.
    """

    most = GATHER_LIMIT

    def __init__(self) -> None:
        self.length = 0
        self.closed = False

    def fits(self, nbytes: int) -> bool:
        """Whether the next region, of this size, belongs here; if not, it opens another blob"""
        return not self.closed and (not self.length or self._next() + nbytes <= GATHER_LIMIT)

    def place(self, name: str, nbytes: int) -> int:
        """Where in the blob a region that fits starts; the bytes skipped before it are zero"""
        start = self._next()
        self.length = start + nbytes
        self.closed = self.closes_after(name, nbytes)
        return start

    @staticmethod
    def closes_after(name: str, nbytes: int) -> bool:
        """Whether a blob ends after this region: once in GATHER_BELOW bytes on average, as the name's hash says"""
        draw = int.from_bytes(blake3(name.encode()).digest(length=8), "big")
        return draw * GATHER_BELOW < nbytes << 64

    def _next(self) -> int:
        return -(-self.length // ALIGN) * ALIGN


@dataclass(frozen=True, slots=True)
class ContentRule:
    """FastCDC-2020 (https://ieeexplore.ieee.org/document/9055082), normalized chunking 1, gear table of the paper"""

    smallest: int = MIB
    average: int = 4 * MIB
    largest: int = 16 * MIB


CONTENT_RULE = ContentRule()


def content_cuts(window: Buffer, at_end: bool, rule: ContentRule = CONTENT_RULE) -> list[int]:  # noqa: FBT001  # the window ends the file, or does not
    """Lengths of the chunks of `window`, which begins at a cut, that no later byte can change

    Unless the window is `at_end` of the file, the last chunk is held back; a window of at least `rule.largest` bytes
    gives at least one chunk. The cuts of a file do not depend on its windows.
    """
    chunker = FastCDC(rule.average, min_size=rule.smallest, max_size=rule.largest, normalized_chunking=1, seed=0)
    lengths = [chunk.length for chunk in chunker.cut_buf(window)]
    if lengths and not at_end and lengths[-1] < rule.largest:
        del lengths[-1]
    return lengths
