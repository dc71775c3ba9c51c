"""Parts: one stream of bytes that lies in one file, or in several that were split for the way"""

import os
import re
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from artifactstore.blobs.disk import BINARY, NOFOLLOW, NONBLOCK, check_regular, translated
from artifactstore.blobs.layout import SETTINGS_KEY
from artifactstore.core.bundle import MAX_PARTS, part_name
from artifactstore.core.errors import Corrupt, Invalid, NotFound

_NUMBERED = re.compile(r"(?P<name>.+)\.(?P<number>[0-9]{3,})", re.DOTALL)
UNFINISHED = ".part"
_BEGIN = SETTINGS_KEY.encode()


class Span(NamedTuple):
    """Where a byte of the stream lies: in the file `path`, at `offset`"""

    path: Path
    offset: int


class Parts:
    """The stream, open for reading from any thread"""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Raise NotFound, Denied; Corrupt for what is no regular file, and for a part that is too short or too long"""
        self._paths = list(paths)
        self._fds: list[int] = []
        try:
            sizes = [self._open(path) for path in paths]
            self._check(sizes)
        except BaseException:
            self.close()
            raise
        self._starts = [0, *accumulate(sizes)]
        self.size = self._starts.pop()

    @property
    def paths(self) -> list[Path]:
        """The files, in order"""
        return list(self._paths)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let the files go"""
        while self._fds:
            os.close(self._fds.pop())

    def locate(self, offset: int) -> Span:
        """The file in which a byte of the stream lies; of one past the end, the last"""
        at = bisect_right(self._starts, offset) - 1
        return Span(self._paths[at], offset - self._starts[at])

    def read(self, start: int, length: int) -> bytes:
        """Up to `length` bytes from `start`, fewer at the end of the stream"""
        buffer = bytearray(max(min(length, self.size - start), 0))
        self.read_into(memoryview(buffer), start)
        return bytes(buffer)

    def read_into(self, view: memoryview, start: int) -> None:
        """Fill the whole buffer; raise Corrupt where the stream ends before"""
        done = 0
        while done < len(view):
            at = bisect_right(self._starts, start + done) - 1
            with translated("read", self._paths[at].name, self._paths[at].parent):
                count = os.preadv(self._fds[at], [view[done:]], start + done - self._starts[at])
            if not count:
                raise Corrupt(
                    f"{self._paths[at]} ended at byte {start + done}, before what it should hold",
                    code="truncated",
                    kind="truncated",
                    offset=start + done,
                )
            done += count

    def _open(self, path: Path) -> int:
        with translated("read", path.name, path.parent):
            # a FIFO that somebody put there must not wait for its writer, and a link may lead anywhere
            self._fds.append(os.open(path, os.O_RDONLY | NOFOLLOW | NONBLOCK | BINARY))
            return check_regular(str(path), os.fstat(self._fds[-1])).st_size

    def _check(self, sizes: Sequence[int]) -> None:
        """All but the last are of one size, and that is no larger"""
        if len(sizes) == 1:
            return
        if not 0 < sizes[-1] <= sizes[0]:
            at = 0 if sizes[-1] else -1
            raise _odd(self._paths[at], sizes[at], max(sizes))
        for path, size in zip(self._paths[:-1], sizes[:-1], strict=True):
            if size != sizes[0]:
                raise _odd(path, size, sizes[0])


def find_parts(path: Path) -> list[Path]:
    """The files a bundle is in, by its name, by that of any part, or by the folder that holds nothing else like it

    Raise NotFound naming the part that is missing, or that the bundle is unfinished; Invalid when it could be several.
    """
    if path.is_dir():
        firsts = sorted(one for one in path.iterdir() if one.name.endswith(".001"))
        if len(firsts) != 1:
            raise Invalid(f"{path} holds the parts of {len(firsts)} bundles; name one", code="parts", path=str(path))
        path = firsts[0]
    numbered = _NUMBERED.fullmatch(path.name)
    if numbered and path.with_name(part_name(numbered["name"], 1)).exists():
        return _series(path.with_name(numbered["name"]))
    if os.path.lexists(path) and not (numbered and _is_later(path, int(numbered["number"]))):
        return [path]
    if os.path.lexists(path.with_name(part_name(path.name, 1))):
        return _series(path)
    if numbered and 1 < int(numbered["number"]) <= MAX_PARTS:
        raise _missing(path.with_name(part_name(numbered["name"], 1)))
    _refuse_unfinished(path)
    raise NotFound(f"No bundle at {path}", code="bundle", path=str(path))


def _is_later(path: Path, number: int) -> bool:
    """Whether it is a part whose first is missing, rather than a bundle with an odd name"""
    if not 1 < number <= MAX_PARTS:
        return False
    with Parts([path]) as alone:
        return alone.read(0, len(_BEGIN)) != _BEGIN


def _series(path: Path) -> list[Path]:
    """All parts there are; raise NotFound for one that is left out"""
    found = {}
    for one in path.parent.iterdir():
        match = _NUMBERED.fullmatch(one.name)
        if match and match["name"] == path.name and one.name == part_name(path.name, int(match["number"])):
            found[int(match["number"])] = one
    _refuse_unfinished(path)
    if max(found) > MAX_PARTS:
        raise Invalid(f"{path} has more than {MAX_PARTS} parts", code="parts", path=str(path))
    for number in range(1, max(found) + 1):
        if number not in found:
            raise _missing(path.with_name(part_name(path.name, number)))
    return [found[number] for number in sorted(found)]


def _refuse_unfinished(path: Path) -> None:
    """What `bundle create` has begun has a last name of its own"""
    for one in path.parent.glob(f"*{UNFINISHED}"):
        numbered = _NUMBERED.fullmatch(one.stem)
        if one.stem == path.name or (numbered and numbered["name"] == path.name):
            raise NotFound(
                f"The bundle {path} is unfinished ({one.name}); run the same artstore bundle create again to finish it",
                code="unfinished",
                path=str(one),
            )


def _missing(path: Path) -> NotFound:
    return NotFound(f"The part {path} of the bundle is missing; bring it here", code="part", path=str(path))


def _odd(path: Path, size: int, expected: int) -> Corrupt:
    return Corrupt(
        f"The part {path} has {size} bytes where the others have {expected}; bring it again",
        code="part",
        path=str(path),
        size=size,
    )
