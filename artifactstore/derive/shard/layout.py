"""Layout: files to be written, each made of new bytes and of runs of bytes that a version has"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from artifactstore.core.formats.base import FileInfo
from artifactstore.core.names import SafePath


@dataclass(frozen=True, slots=True)
class Range:
    """Bytes [begin, end) of a file of the version"""

    path: SafePath
    begin: int
    end: int


Piece = bytes | Range


@dataclass(frozen=True, slots=True)
class LaidFile:
    """A file that is its pieces one after another; last: it names others, and appears once those are checked"""

    path: SafePath
    pieces: tuple[Piece, ...]
    last: bool = False

    @property
    def size(self) -> int:
        """Bytes in all"""
        return sum(nbytes(piece) for piece in self.pieces)

    def ranges(self) -> Iterator[tuple[int, Range]]:
        """What is of the version, and where in this file it is"""
        at = 0
        for piece in self.pieces:
            if isinstance(piece, Range):
                yield at, piece
            at += nbytes(piece)


@dataclass(frozen=True, slots=True)
class Part:
    """A file of a model that is to be split, with what its format says of it"""

    path: SafePath
    size: int
    info: FileInfo


@dataclass(frozen=True, slots=True)
class Split:
    """A model in other files. whole: files of the version all of whose bytes can be told from these"""

    files: tuple[LaidFile, ...]
    whole: tuple[SafePath, ...]


def nbytes(piece: Piece) -> int:
    """Of a piece"""
    return len(piece) if isinstance(piece, bytes) else piece.end - piece.begin


def copied(path: SafePath, size: int) -> LaidFile:
    """A file as it is"""
    return LaidFile(path, (Range(path, 0, size),) if size else ())


def beside(path: SafePath, name: str) -> SafePath:
    """A file of that name in the same folder"""
    folder, slash, _ = path.rpartition("/")
    return SafePath(folder + slash + name)


def joined(pieces: Sequence[Piece]) -> tuple[Piece, ...]:
    """The same with neighbours as one, and without empty ones"""
    found: list[Piece] = []
    for piece in pieces:
        last = found[-1] if found else None
        if not nbytes(piece):
            continue
        if isinstance(piece, bytes) and isinstance(last, bytes):
            found[-1] = last + piece
        elif (
            isinstance(piece, Range) and isinstance(last, Range) and (last.path, last.end) == (piece.path, piece.begin)
        ):
            found[-1] = Range(last.path, last.begin, piece.end)
        else:
            found.append(piece)
    return tuple(found)
