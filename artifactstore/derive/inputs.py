"""Inputs: tensors of a version or of a plain folder, read part by part, each piece checked first"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from math import prod
from threading import Lock
from typing import Any

import torch

from artifactstore.core.errors import Invalid
from artifactstore.core.formats.safetensors import DTYPE_BITS
from artifactstore.core.manifest import Extent
from artifactstore.core.reading import Stored, content, ranges
from artifactstore.ops.transfer.attested import Attestations
from artifactstore.tensors.dtypes import TORCH, view_bytes
from artifactstore.tensors.fill import look_through, read
from artifactstore.tensors.pieces import Seen, Source, look

# Pieces without a file that stay in memory: where two neighbours meet.
_KEPT = 2


class Inputs:
    """The tensors of one source by name. Reads may come from any thread

    attestations: what this machine knows of files that were read before; without it every piece is hashed before its
    first use.
    """

    def __init__(self, source: Source, attestations: Attestations | None = None) -> None:
        self._source, self._attestations = source, attestations
        self._files: dict[int, Seen] | None = None
        self._sure: set[int] = set()
        self._kept: OrderedDict[int, memoryview] = OrderedDict()
        self._lock = Lock()

    @property
    def tensors(self) -> Mapping[str, Stored]:
        """What there is"""
        return self._source.tensors

    def key(self, name: str) -> Any:
        """What tells the content of a tensor without reading it, as JSON: blobs, or a file as it is now"""
        tensor = self._source.get(name)
        known = content(tensor, self._source.digests)
        if known is not None:
            dtype, shape, parts = known
            return [dtype, list(shape), [[digest.hex(), start, length] for digest, start, length in parts]]
        return [tensor.dtype, list(tensor.shape), [self._of_file(extent) for extent in tensor.extents]]

    def _of_file(self, extent: Extent) -> str:
        """Not as numbers: JSON has none so large"""
        return f"{self._looked()[extent.blob].stamp} {extent.start} {extent.length}"

    def read(self, name: str, begin: int = 0, end: int | None = None) -> torch.Tensor:
        """Elements [begin, end) in C order as 1-D, of the stored dtype, in memory of the caller's own

        Raise Invalid for a dtype whose elements are no whole bytes, Corrupt when bytes are not what they should be.
        """
        tensor = self._source.get(name)
        bits = DTYPE_BITS[tensor.dtype]
        if bits % 8 or tensor.dtype not in TORCH:
            raise Invalid(f"Tensor {name!r:.80} is {tensor.dtype}, which is no plain number", code="dtype", tensor=name)
        stop = prod(tensor.shape) if end is None else end
        into = torch.empty(stop - begin, dtype=TORCH[tensor.dtype])
        self.read_into(name, begin, into)
        return into

    def read_into(self, name: str, begin: int, into: torch.Tensor) -> None:
        """The same from element `begin` on, into all of a contiguous tensor of the stored dtype"""
        if into.nbytes:
            self.fill(self._source.get(name), begin * into.element_size(), view_bytes(into))

    def fill(self, tensor: Stored, begin: int, into: memoryview) -> None:
        """Bytes of a tensor from `begin` on into all of this memory; raise Corrupt"""
        done = 0
        for extent in ranges(tensor.extents, [(begin, begin + len(into))]):
            self._copy(extent, into[done : done + extent.length])
            done += extent.length

    def parts(self, name: str, most: int) -> Iterator[memoryview]:
        """All bytes of a tensor, at most so many at a time"""
        tensor = self._source.get(name)
        memory = memoryview(bytearray(min(most, tensor.nbytes)))
        for begin in range(0, tensor.nbytes, most):
            part = memory[: min(most, tensor.nbytes - begin)]
            self.fill(tensor, begin, part)
            yield part

    def _copy(self, extent: Extent, into: memoryview) -> None:
        file = self._file(extent.blob)
        if file is None:
            into[:] = self._whole(extent.blob)[extent.start : extent.start + extent.length]
            return
        with file.open() as fd:
            read(file.piece, fd, [into], extent.start)

    def _looked(self) -> dict[int, Seen]:
        with self._lock:
            if self._files is None:
                self._files = look(dict(enumerate(self._source.pieces)))
                stamps = [file.stamp for file in self._files.values() if file.piece.digest is not None]
                known = self._attestations.known(stamps) if self._attestations is not None else {}
                self._sure.update(
                    number
                    for number, file in self._files.items()
                    if file.piece.digest is None or known.get(file.stamp) == file.piece.digest
                )
            return self._files

    def _file(self, number: int) -> Seen | None:
        """The file of a piece, hashed by now"""
        file = self._looked().get(number)
        if file is not None and number not in self._sure:
            checked = look_through(file)
            if checked is not None and self._attestations is not None:
                self._attestations.note(dict([checked]))
            self._sure.add(number)
        return file

    def _whole(self, number: int) -> memoryview:
        with self._lock:
            if number in self._kept:
                self._kept.move_to_end(number)
                return self._kept[number]
            if len(self._kept) == _KEPT:
                self._kept.popitem(last=False)
            piece = self._source.pieces[number]
            memory = memoryview(bytearray(piece.size))
            piece.whole(memory)
            self._kept[number] = memory
            return memory
