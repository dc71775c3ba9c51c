"""Sharding: tensors of which several ranks wrote parts, put together again without moving a byte

A version that ranks wrote holds a file of each, and the document `PATH` that says where every tensor's parts are.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from math import prod
from typing import Any, Self

from artifactstore.core.errors import Corrupt
from artifactstore.core.formats.safetensors import DTYPE_BITS
from artifactstore.core.manifest import Extent, Manifest
from artifactstore.core.pairing import named
from artifactstore.core.reading import Stored, joined, ranges, stored

PATH = "dcp.json"
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a tensor: where it begins, its elements of each dimension, and which file has it under which name"""

    offsets: tuple[int, ...]
    sizes: tuple[int, ...]
    file: str
    name: str


@dataclass(frozen=True, slots=True)
class Index:
    """What ranks wrote, by name. objects: (file, name) of what is no tensor; paths: keys of the state a name stands for

    shapes count elements as safetensors does.
    """

    shapes: Mapping[str, tuple[int, ...]]
    chunks: Mapping[str, Sequence[Chunk]]
    objects: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    paths: Mapping[str, tuple[str | int, ...]] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """As the document of a version"""
        rows = {
            name: [list(self.shapes[name]), [[*map(list, (one.offsets, one.sizes)), one.file, one.name] for one in of]]
            for name, of in self.chunks.items()
        }
        document = {"format": _FORMAT, "tensors": rows, "objects": self.objects, "paths": self.paths}
        return json.dumps(document, separators=(",", ":")).encode()

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Raise Corrupt when it is none of ours"""
        try:
            document = json.loads(raw)
            if document["format"] != _FORMAT:
                raise Corrupt(f"{PATH} has format {document['format']!r:.20}; update artifactstore", code="sharding")
            tensors: dict[str, Any] = document["tensors"]
            return cls(
                {name: _numbers(row[0]) for name, row in tensors.items()},
                {name: [_chunk(*one) for one in row[1]] for name, row in tensors.items()},
                {name: (str(file), str(at)) for name, (file, at) in document["objects"].items()},
                {name: tuple(path) for name, path in document["paths"].items()},
            )
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as e:
            raise Corrupt(f"{PATH} is damaged: {type(e).__name__}", code="sharding") from e


def _numbers(values: Any) -> tuple[int, ...]:
    if not all(type(value) is int and value >= 0 for value in values):
        raise ValueError("not a shape")
    return tuple(values)


def _chunk(offsets: Any, sizes: Any, file: Any, name: Any) -> Chunk:
    return Chunk(_numbers(offsets), _numbers(sizes), str(file), str(name))


@dataclass(frozen=True, slots=True)
class Sharded:
    """The tensors of a version as they are without their ranks, and what else a state held"""

    tensors: Mapping[str, Stored]
    objects: Mapping[str, Stored]
    paths: Mapping[str, tuple[str | int, ...]]


def unsharded(manifest: Manifest) -> Sharded:
    """A version that no ranks wrote"""
    return Sharded(stored(manifest), {}, {})


def put_together(manifest: Manifest, index: Index) -> Sharded:
    """A version that ranks wrote; raise Corrupt naming a tensor whose parts are not there or do not make it up"""
    parts = {
        (str(one.file.path), one.info.name): Stored(one.info.name, one.info.dtype, one.info.shape, one.extents)
        for one in named(manifest)
    }
    try:
        tensors = {name: _whole(name, index, parts) for name in index.chunks}
        objects = {name: replace(parts[at], name=name) for name, at in index.objects.items()}
    except KeyError as e:
        raise Corrupt(f"{PATH} names {e.args[0]!r:.120}, which is not there", code="sharding") from e
    return Sharded(tensors, objects, index.paths)


def _whole(name: str, index: Index, parts: Mapping[tuple[str, str], Stored]) -> Stored:
    shape, chunks = index.shapes[name], index.chunks[name]
    stored_parts = [parts[chunk.file, chunk.name] for chunk in chunks]
    dtypes = {part.dtype for part in stored_parts}
    if len(dtypes) != 1 or any(part.shape != chunk.sizes for part, chunk in zip(stored_parts, chunks, strict=True)):
        raise _torn(name)
    dtype = dtypes.pop()
    if len(chunks) == 1 and chunks[0].sizes == shape:
        return replace(stored_parts[0], name=name)
    bits = DTYPE_BITS[dtype]
    rows = sorted(
        (begin, length, at, number)
        for number, chunk in enumerate(chunks)
        for begin, length, at in _rows(name, chunk, shape)
    )
    end = 0
    extents: list[Extent] = []
    for begin, length, at, number in rows:
        if begin != end or begin * bits % 8 or length * bits % 8:
            raise _torn(name)
        end += length
        extents.extend(ranges(stored_parts[number].extents, [(at * bits // 8, (at + length) * bits // 8)]))
    if end != prod(shape):
        raise _torn(name)
    return Stored(name, dtype, shape, tuple(joined(extents)))


def _rows(name: str, chunk: Chunk, shape: tuple[int, ...]) -> Iterator[tuple[int, int, int]]:
    """(where it begins in the tensor, its length, where it begins in the chunk), in elements, of what lies in a row"""
    dims = len(shape)
    inside = all(o + n <= size for o, n, size in zip(chunk.offsets, chunk.sizes, shape, strict=False))
    if not (len(chunk.offsets) == len(chunk.sizes) == dims and inside):
        raise _torn(name)
    if not prod(chunk.sizes):
        return
    # the first dimension from which on all that follow are whole
    last = next((dim for dim in range(dims - 1, -1, -1) if chunk.sizes[dim] != shape[dim]), 0)
    strides = [prod(shape[dim + 1 :]) for dim in range(dims)]
    length = chunk.sizes[last] * strides[last] if dims else 1
    at = 0
    for outer in product(*(range(size) for size in chunk.sizes[:last])):
        where = (*outer, *[0] * (dims - last))
        yield sum((o + w) * s for o, w, s in zip(chunk.offsets, where, strides, strict=True)), length, at
        at += length


def _torn(name: str) -> Corrupt:
    return Corrupt(f"The parts of tensor {name!r:.80} do not make it up", code="sharding", tensor=name)
