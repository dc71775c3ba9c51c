"""A bundle as a place for bytes: a tar of a store, read only, trusted in nothing

Its headers are read once and each is held against the only one that a bundle may have for its name and size, so that
links, devices, odd names, sparse files and all extensions of tar are refused where they stand.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

from artifactstore.blobs.base import BlobBatch, Buffer
from artifactstore.blobs.layout import SETTINGS_KEY, check_key, check_prefix, parse_object
from artifactstore.blobs.parts import Parts, find_parts
from artifactstore.blobs.span import check_span
from artifactstore.core.bundle import Label
from artifactstore.core.errors import Corrupt, Denied, Invalid, NotFound
from artifactstore.core.manifest import MAX_BLOB
from artifactstore.core.tar import BLOCK, END, Member, broken, padded, read_header

LABEL_KEY = "bundle.json"
SIGNATURE_KEY = "bundle.sig"
# bombs: more files than a bundle of terabytes has, documents that would fill the memory
MAX_MEMBERS = 1_000_000
MAX_DOCUMENT = 256 << 20
_RECORD = re.compile(r"journal/[0-9a-f]{32}/[0-9]{12}-[0-9a-f]{32}\.json")
_FIRST = (SETTINGS_KEY, LABEL_KEY)


class TarBlobs:
    """The store in a bundle"""

    def __init__(self, path: Path, *, most: int = MAX_MEMBERS) -> None:
        """path: the file, any of its parts, or the folder they are in. most: files it may hold

        Raise NotFound for what is not here, and Corrupt with the offset of whatever no bundle has.
        """
        self._path, self._most = path, most
        self._parts = Parts(find_parts(path))
        try:
            self._members = {member.name: (member.data, member.size) for member in self._scan()}
        except BaseException:
            self._parts.close()
            raise
        self._keys = sorted(self._members)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The file it was opened by"""
        return str(self._path)

    @property
    def nbytes(self) -> int:
        """Bytes of all its files"""
        return self._parts.size

    @property
    def paths(self) -> list[Path]:
        """Its files, in order"""
        return self._parts.paths

    @property
    def label(self) -> Label:
        """What it says it carries; raise Corrupt when it cannot be read"""
        try:
            return Label.parse(self.read(LABEL_KEY))
        except Invalid as e:
            if e.code == "invalid.format":
                raise
            raise self.located(broken(f"{LABEL_KEY} is damaged: {e.message}", self._members[LABEL_KEY][0])) from e

    def close(self) -> None:
        """Let its files go"""
        self._parts.close()

    def size(self, key: str) -> int:
        """Bytes under `key`; raise NotFound"""
        return self._find(key)[1]

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """`length` bytes from `start`, to the end without a length; raise NotFound, Corrupt when it ends too early"""
        data, size = self._find(key)
        buffer = bytearray(check_span(key, size, start, length))
        self._parts.read_into(memoryview(buffer), data + start)
        return bytes(buffer)

    def read_into(self, key: str, buffer: memoryview, start: int = 0) -> None:
        """Fill the whole buffer from `start`; raise NotFound, Corrupt when it ends too early"""
        view = buffer.cast("B")
        data, size = self._find(key)
        check_span(key, size, start, len(view))
        self._parts.read_into(view, data + start)

    def keys(self, prefix: str) -> Iterator[str]:
        """Keys that start with `prefix`, in order"""
        check_prefix(prefix)
        first = bisect_left(self._keys, prefix)
        ahead = (self._keys[at] for at in range(first, len(self._keys)))
        return takewhile(lambda key: key.startswith(prefix), ahead)

    def sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        """The same with the bytes of each"""
        return ((key, self._members[key][1]) for key in self.keys(prefix))

    def has(self, key: str) -> bool:
        """Whether it is in"""
        return key in self._members

    def offset(self, key: str) -> int:
        """Where in the stream the bytes of `key` begin; raise NotFound"""
        return self._find(key)[0]

    def located(self, error: Corrupt) -> Corrupt:
        """The error of `broken` with the file it stands in"""
        offset = error.facts["offset"]
        where = self._parts.locate(offset)
        part = f" ({where.path.name}, byte {where.offset})" if len(self._parts.paths) > 1 else ""
        text = error.message.removeprefix(f"At byte {offset} ")
        return Corrupt(
            f"{self._path} is no bundle of a store: at byte {offset}{part} {text}",
            code="archive",
            offset=offset,
            path=str(where.path),
        )

    def free(self) -> int:
        """Nothing more goes in"""
        return 0

    def prepare(self) -> None:
        """It is as it is; raise Denied"""
        self._refuse("prepare")

    def batch(self, owner: str) -> BlobBatch:
        """Raise Denied"""
        self._refuse(f"write for {owner} into")

    def replace(self, key: str, data: Buffer) -> None:  # noqa: ARG002  # nobody's bytes are taken
        """Raise Denied"""
        self._refuse(f"write {key} into")

    def quarantine(self, key: str) -> None:
        """Raise Denied"""
        self._refuse(f"move {key} in")

    def delete(self, key: str) -> None:
        """Raise Denied"""
        self._refuse(f"delete {key} from")

    def trash(self, key: str) -> None:
        """Raise Denied"""
        self._refuse(f"delete {key} from")

    def purge(self) -> int:
        """Nothing waits here"""
        return 0

    def owners(self) -> list[str]:
        """Nobody writes here"""
        return []

    def drop(self, owner: str) -> None:
        """Nobody's leftovers are here"""

    def _refuse(self, what: str) -> NoReturn:
        raise Denied(f"Cannot {what} the bundle {self._path}: it is read only; apply it to a store")

    def _find(self, key: str) -> tuple[int, int]:
        try:
            return self._members[check_key(key)]
        except KeyError:
            raise NotFound(f"Cannot read {key}: it is not in the bundle {self._path}", key=key) from None

    def _scan(self) -> Iterator[Member]:
        """Every member, its header held against what a bundle may have"""
        seen: set[str] = set()
        at = 0
        while True:
            raw = self._parts.read(at, BLOCK)
            if len(raw) < BLOCK:
                raise self._cut(at)
            if not any(raw):
                break
            try:
                member = read_header(raw, at)
                _check(member, len(seen), self._most)
            except Corrupt as e:
                raise self.located(e) from e
            if member.name in seen:
                raise self.located(broken(f"{member.name} stands a second time", at))
            if member.end > self._parts.size:
                raise self._cut(self._parts.size, member)
            self._check_padding(member)
            seen.add(member.name)
            yield member
            at = member.end
        self._check_end(at, len(seen))

    def _check_padding(self, member: Member) -> None:
        end = member.data + member.size
        if any(self._parts.read(end, padded(member.size) - member.size)):
            raise self.located(broken(f"the bytes between {member.name} and what follows are not zero", end))

    def _check_end(self, at: int, members: int) -> None:
        if members < len(_FIRST):
            raise self.located(broken(f"it ends without {_FIRST[members]}", at))
        rest = self._parts.size - at
        if rest < len(END):
            raise self._cut(self._parts.size)
        if rest > len(END) or any(self._parts.read(at, len(END))):
            raise self.located(broken("something follows its end", at + BLOCK))

    def _cut(self, at: int, member: Member | None = None) -> Corrupt:
        last = self._parts.paths[-1]
        within = f" within {member.name}, which says it has {member.size} bytes," if member else ""
        advice = "copy it again" if last == self._path else f"bring {last.name} again, and what follows it"
        return Corrupt(
            f"The bundle {self._path} was cut off: it ends at byte {at}{within} before its end mark; {advice}",
            code="truncated",
            kind="truncated",
            offset=at,
        )


def _check(member: Member, before: int, most: int) -> None:
    """Raise Corrupt for a member that no store has, or not at this place or of this size"""
    if before < len(_FIRST) and member.name != _FIRST[before]:
        raise broken(f"stands {member.name} where {_FIRST[before]} should be", member.start)
    if before >= most:
        raise broken(f"it has more than {most:,} files", member.start)
    largest = _largest(member.name)
    if largest is None:
        raise broken(f"{member.name!r:.120} is no name that a store in a bundle has", member.start)
    if not 0 < member.size <= largest:
        raise broken(f"{member.name} says it has {member.size} bytes; 1 to {largest} may be", member.start)


def _largest(name: str) -> int | None:
    found = parse_object(name)
    if found is not None and found.kind == "blob":
        return MAX_BLOB
    if name in (*_FIRST, SIGNATURE_KEY) or _RECORD.fullmatch(name) or (found and found.kind == "manifest"):
        return MAX_DOCUMENT
    return None
