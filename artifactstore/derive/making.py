"""Making: files whose tensors are calculated while they are stored"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from artifactstore.core.digest import Digest, Sha256
from artifactstore.core.errors import Invalid
from artifactstore.core.formats.base import FileInfo, Region, TensorInfo
from artifactstore.core.formats.safetensors import DTYPE_BITS, write_header
from artifactstore.core.names import SafePath

_METADATA = {"format": "pt"}  # what readers of Hugging Face ask for
_ZEROS = memoryview(bytes(4096))


@dataclass(frozen=True, slots=True)
class Made:
    """One tensor of a product, before its bytes

    dtype: as its format names it; shape: of what is stored. key: what its bytes follow from and nothing else, by which
    they are found again; None: never kept. make: its bytes in order, `nbytes` in all, in parts of at most 64 MiB that
    may be overwritten once the next is asked for; called once, when its turn comes, in the order of the file.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int
    key: Digest | None
    make: Callable[[], Iterator[memoryview]] = field(repr=False)


Turn = Callable[[Made], Iterator[memoryview]]


@dataclass(frozen=True, slots=True)
class MadeFile:
    """A file of a product: what comes before its tensors, then each where it begins, with zeros in between"""

    path: SafePath
    head: bytes = field(repr=False)
    made: tuple[Made, ...]
    begins: tuple[int, ...]
    size: int
    info: FileInfo

    def source(self, turn: Turn) -> "MadeSource":
        """To be stored, each tensor had from `turn`"""
        return MadeSource(self, turn)


def safetensors_file(path: str, made: Sequence[Made]) -> MadeFile:
    """A safetensors file of these, wide dtypes first so that views of the file are aligned, else in their own order

    Raise Invalid for what such a file cannot hold.
    """
    ordered = sorted(made, key=lambda one: -DTYPE_BITS.get(one.dtype, 0))
    head = write_header([(one.name, one.dtype, one.shape, one.nbytes) for one in ordered], _METADATA)
    begins = list(accumulate((one.nbytes for one in ordered), initial=len(head)))
    return laid_out(path, head, list(zip(ordered, begins[:-1], strict=True)), size=begins[-1], form="safetensors")


def laid_out(path: str, head: bytes, placed: Sequence[tuple[Made, int]], *, size: int, form: str) -> MadeFile:
    """A file of some format. placed: tensors, and where each begins as the head says; form: as parsers name it"""
    infos = tuple(TensorInfo(one.name, one.dtype, one.shape, begin, begin + one.nbytes) for one, begin in placed)
    regions = tuple(Region(info.name, info.begin, info.end) for info in infos if info.begin < info.end)
    metadata = _METADATA if form == "safetensors" else {}
    made, begins = tuple(one for one, _ in placed), tuple(begin for _, begin in placed)
    return MadeFile(SafePath(path), head, made, begins, size, FileInfo(form, infos, regions, metadata))


@dataclass(frozen=True, slots=True)
class MadeSource:
    """A made file as something to be taken in"""

    file: MadeFile
    turn: Turn
    sha256: Sha256 | None = None

    @property
    def path(self) -> SafePath:
        """Its path in the version"""
        return self.file.path

    @property
    def size(self) -> int:
        """Bytes in all"""
        return self.file.size

    @property
    def info(self) -> FileInfo:
        """Where its tensors lie"""
        return self.file.info

    def open(self) -> "MadeReading":
        """Begin to make it"""
        return MadeReading(self)


class MadeReading:
    """A made file while it is read, in file order"""

    def __init__(self, source: MadeSource) -> None:
        self._file, self._turn = source.file, source.turn
        self._parts = self._all()
        self._rest = memoryview(b"")

    def _all(self) -> Iterator[memoryview]:
        yield memoryview(self._file.head)
        at = len(self._file.head)
        for one, begin in zip(self._file.made, self._file.begins, strict=True):
            yield from _padding(begin - at)
            if one.nbytes:
                yield from _exactly(one, self._turn(one))
            at = begin + one.nbytes
        yield from _padding(self._file.size - at)

    def fill(self, begin: int, buffer: memoryview) -> None:  # noqa: ARG002  # the cutter asks in file order
        """Copy from as many parts as it takes"""
        done = 0
        while done < len(buffer):
            while not self._rest:
                self._rest = next(self._parts)
            part = self._rest[: len(buffer) - done]
            buffer[done : done + len(part)] = part
            done += len(part)
            self._rest = self._rest[len(part) :]

    def close(self) -> None:
        """Let the last part go"""
        self.abandon()

    def abandon(self) -> None:
        """Let the last part go"""
        self._rest = memoryview(b"")
        self._parts.close()  # type: ignore[attr-defined]


def _padding(nbytes: int) -> Iterator[memoryview]:
    for begin in range(0, nbytes, len(_ZEROS)):
        yield _ZEROS[: nbytes - begin]


def _exactly(one: Made, parts: Iterator[memoryview]) -> Iterator[memoryview]:
    nbytes = 0
    for part in parts:
        nbytes += len(part)
        if nbytes <= one.nbytes:
            yield part
    if nbytes != one.nbytes:
        raise Invalid(f"Tensor {one.name!r:.80} came to {nbytes} bytes instead of {one.nbytes}", code="made")
