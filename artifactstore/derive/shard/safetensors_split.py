"""Safetensors in shards, and the index that says which tensor is in which of them

Names and index as the readers of Hugging Face know them: `model-00001-of-00003.safetensors`,
`model.safetensors.index.json`.
"""

import json
import re
from collections.abc import Mapping, Sequence

from artifactstore.core.formats.base import TensorInfo
from artifactstore.core.formats.safetensors import DTYPE_BITS, write_header
from artifactstore.core.names import SafePath
from artifactstore.derive.shard.filling import Box, Weight, fill
from artifactstore.derive.shard.layout import LaidFile, Part, Piece, Range, Split, beside, joined
from artifactstore.derive.shard.order import first_use

_SUFFIX = ".safetensors"
_SHARD = re.compile(r"(.+)-\d{5,}-of-\d{5,}")


def split(parts: Sequence[Part], index: SafePath | None, ceiling: int) -> Split:
    """The tensors of these files, in the order of their first use, in files of at most `ceiling` bytes

    parts: one file, or the shards that `index` names. Raise Invalid for a tensor that is larger.
    """
    weights = [Weight(t, Range(part.path, t.begin, t.end)) for part in parts for t in part.info.tensors]
    weights.sort(key=lambda weight: first_use(weight.info.name))
    metadata = _common([part.info.metadata for part in parts])
    groups = fill(weights, ceiling, _box(metadata, sum(weight.nbytes for weight in weights)))
    stem = _stem(parts[0].path, index)
    names = [f"{stem}-{number:05d}-of-{len(groups):05d}{_SUFFIX}" for number in range(1, len(groups) + 1)]
    if len(groups) == 1:
        names = [stem + _SUFFIX]
    files = [_file(beside(parts[0].path, name), of, metadata) for name, of in zip(names, groups, strict=True)]
    if len(groups) > 1:
        path = index or beside(parts[0].path, f"{stem}{_SUFFIX}.index.json")
        files.append(LaidFile(path, (_index(names, groups),), last=True))
    return Split(tuple(files), tuple(part.path for part in parts))


def _box(metadata: Mapping[str, str] | None, total: int) -> Box:
    def entry(info: TensorInfo) -> int:
        # the offsets as long as they can be: a file is laid out once it is known what is in it
        return len(write_header([(info.name, info.dtype, info.shape, info.end - info.begin)], None)) + digits

    digits = 2 * len(str(total))
    return Box(len(write_header([], metadata)), entry, head_align=8)


def _file(path: SafePath, weights: Sequence[Weight], metadata: Mapping[str, str] | None) -> LaidFile:
    """Widest first, as the library writes them, so that every tensor is aligned"""
    laid = sorted(weights, key=lambda weight: -DTYPE_BITS[weight.info.dtype])
    rows = [(one.info.name, one.info.dtype, one.info.shape, one.nbytes) for one in laid]
    pieces: list[Piece] = [write_header(rows, metadata), *(one.data for one in laid)]
    return LaidFile(path, joined(pieces))


def _index(names: Sequence[str], groups: Sequence[Sequence[Weight]]) -> bytes:
    where = {weight.info.name: name for name, of in zip(names, groups, strict=True) for weight in of}
    total = sum(weight.nbytes for of in groups for weight in of)
    document = {"metadata": {"total_size": total}, "weight_map": dict(sorted(where.items()))}
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def _common(found: Sequence[Mapping[str, str]]) -> Mapping[str, str] | None:
    """What all files say alike"""
    alike = {key: value for key, value in found[0].items() if all(one.get(key) == value for one in found)}
    return alike or None


def _stem(path: SafePath, index: SafePath | None) -> str:
    """`model` of model.safetensors, of its index, and of one of its shards"""
    name = (index or path).rpartition("/")[2]
    stem = name.partition(f"{_SUFFIX}.index")[0] if index else name.removesuffix(_SUFFIX)
    shard = _SHARD.fullmatch(stem)
    return shard[1] if shard and not index else stem
