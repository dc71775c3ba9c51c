"""GGUF in several files, as llama.cpp divides and loads a model: `model-00001-of-00003.gguf`

The first file has all metadata. Keys and names: llama.cpp, `tools/gguf-split`.
"""

import re
import struct
from collections.abc import Mapping, Sequence

from artifactstore.core.formats.base import TensorInfo
from artifactstore.core.formats.gguf import MAGIC, TENSOR_TYPES
from artifactstore.core.names import SafePath
from artifactstore.derive.shard.filling import Box, Weight, fill, padded
from artifactstore.derive.shard.layout import LaidFile, Part, Piece, Range, Split, beside, joined, nbytes
from artifactstore.derive.shard.order import first_use

_SUFFIX = ".gguf"
_SHARD = re.compile(r"(.+)-\d{5}-of-\d{5}")
_VERSION = 3
_ALIGNMENT = "general.alignment"
_U16, _I32 = 2, 5
_SPLIT = {"split.no": _U16, "split.count": _U16, "split.tensors.count": _I32}
_NUMBERS = {name: number for number, (name, _, _) in TENSOR_TYPES.items()}

Spans = Mapping[str, tuple[int, int]]


def split(parts: Sequence[Part], spans: Spans, ceiling: int) -> Split:
    """The tensors of a model, in the order of their first use, in files of at most `ceiling` bytes

    parts: one file, or all of a model that is divided, in order; spans: where the metadata of the first one lie. Raise
    Invalid for a tensor that is larger.
    """
    weights = [Weight(t, Range(part.path, t.begin, t.end)) for part in parts for t in part.info.tensors]
    weights.sort(key=lambda weight: first_use(weight.info.name))
    align = int(parts[0].info.metadata.get(_ALIGNMENT, "32"))
    own = [Range(parts[0].path, *span) for key, span in spans.items() if key not in _SPLIT]
    others = [Range(parts[0].path, *spans[_ALIGNMENT])] if _ALIGNMENT in spans else []
    groups = fill(weights, ceiling, _box(own, align), _box(others, align))
    stem = _stem(parts[0].path)
    files = []
    for number, group in enumerate(groups):
        said = _said(number, len(groups), len(weights)) if len(groups) > 1 else b""
        kept = own if number == 0 else others
        head = struct.pack("<4sIQQ", MAGIC, _VERSION, len(group), len(kept) + (len(_SPLIT) if said else 0))
        name = f"{stem}-{number + 1:05d}-of-{len(groups):05d}{_SUFFIX}" if said else stem + _SUFFIX
        files.append(_file(beside(parts[0].path, name), [head, *kept, said], group, align))
    return Split(tuple(files), tuple(part.path for part in parts))


def stem_of(path: SafePath) -> str | None:
    """What files of one divided model have in common; None for a file that is whole"""
    found = _SHARD.fullmatch(path.removesuffix(_SUFFIX))
    return found[1] if found and path.endswith(_SUFFIX) else None


def _stem(path: SafePath) -> str:
    return (stem_of(path) or path.removesuffix(_SUFFIX)).rpartition("/")[2]


def _box(kept: Sequence[Range], align: int) -> Box:
    head = struct.calcsize("<4sIQQ") + sum(map(nbytes, kept)) + len(_said(0, 0, 0))
    return Box(head, lambda info: len(_described(info, 0)), head_align=align, align=align)


def _said(number: int, count: int, tensors: int) -> bytes:
    values = zip(_SPLIT.items(), (number, count, tensors), strict=True)
    return b"".join(
        _text(key) + struct.pack("<IH" if kind == _U16 else "<Ii", kind, value) for (key, kind), value in values
    )


def _described(info: TensorInfo, offset: int) -> bytes:
    dims = tuple(reversed(info.shape))
    return _text(info.name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, _NUMBERS[info.dtype], offset)


def _text(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _file(path: SafePath, head: Sequence[Piece], weights: Sequence[Weight], align: int) -> LaidFile:
    described, data = bytearray(), list[Piece]()
    at = 0
    for weight in weights:
        described += _described(weight.info, at)
        data += [weight.data, bytes(-weight.nbytes % align)]
        at += padded(weight.nbytes, align)
    length = sum(map(nbytes, head)) + len(described)
    return LaidFile(path, joined([*head, bytes(described), bytes(-length % align), *data]))
