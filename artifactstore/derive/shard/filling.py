"""Filling: which tensors go into which file, so that no file is over the ceiling"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from artifactstore.core.errors import Invalid
from artifactstore.core.formats.base import TensorInfo
from artifactstore.core.units import format_size
from artifactstore.derive.shard.layout import Range


class Weight(NamedTuple):
    """A tensor and where its bytes lie in the version"""

    info: TensorInfo
    data: Range

    @property
    def nbytes(self) -> int:
        """Of its data"""
        return self.data.end - self.data.begin


@dataclass(frozen=True, slots=True)
class Box:
    """What a file of a format takes: bytes of a head that says nothing yet, and at most how many it says of a tensor

    The head is padded to a multiple of `head_align`, the data of each tensor to one of `align`.
    """

    head: int
    entry: Callable[[TensorInfo], int]
    head_align: int = 1
    align: int = 1

    def size(self, entries: int, data: int) -> int:
        """Bytes of a file whose head says so much of tensors, and that has so many bytes of them"""
        return padded(self.head + entries, self.head_align) + data


def padded(nbytes: int, align: int) -> int:
    """The next multiple"""
    return -(-nbytes // align) * align


def fill(weights: Iterable[Weight], ceiling: int, first: Box, rest: Box | None = None) -> list[list[Weight]]:
    """Weights in order, in as few files as their order allows; first: the box of the first file, rest: of the others

    Raise Invalid for a tensor that is over the ceiling alone, naming the least that holds all.
    """
    rest = rest or first
    weights = list(weights)
    _check_largest(weights, ceiling, rest)
    files: list[list[Weight]] = [[]]
    box, entries, data = first, 0, 0
    for weight in weights:
        entry, size = box.entry(weight.info), padded(weight.nbytes, box.align)
        if box.size(entries + entry, data + size) > ceiling:
            box, entries, data = rest, 0, 0
            files.append([])
        files[-1].append(weight)
        entries, data = entries + entry, data + size
    if first.size(0, 0) > ceiling:
        raise Invalid(
            f"Not even the head of the first file, {first.size(0, 0)} bytes, is under {ceiling} bytes; give more",
            code="ceiling",
            least=first.size(0, 0),
        )
    return files


def _check_largest(weights: list[Weight], ceiling: int, box: Box) -> None:
    def alone(weight: Weight) -> int:
        return box.size(box.entry(weight.info), padded(weight.nbytes, box.align))

    largest = max(weights, key=alone, default=None)
    if largest is not None and alone(largest) > ceiling:
        least = alone(largest)
        raise Invalid(
            f"Tensor {largest.info.name!r:.120} alone takes {format_size(least)} as a file, over {ceiling} bytes, and "
            f"a tensor lies in one file; give --size {least} or more",
            code="ceiling",
            tensor=largest.info.name,
            least=least,
        )
