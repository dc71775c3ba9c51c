"""Weights: made tensors as the safetensors files of a model, in one file or in shards with their index

Names as the readers of Hugging Face know them: `model-00001-of-00002.safetensors`, `model.safetensors.index.json`.
"""

import json
from collections.abc import Iterator, Sequence

from artifactstore.derive.making import Made, MadeFile, safetensors_file
from artifactstore.derive.models import text_file
from artifactstore.ops.transfer.source import MemoryFile

# As transformers does; others may ask for smaller files when they take it out.
SHARD = 5 * 10**9
_STEM, _SUFFIX = "model", ".safetensors"


def weight_files(made: Sequence[Made], most: int = SHARD) -> tuple[tuple[MadeFile, ...], tuple[MemoryFile, ...]]:
    """Files of at most so many bytes of tensors, or one tensor, each; and the index where there are several"""
    groups = list(_groups(made, most))
    if len(groups) == 1:
        return (safetensors_file(f"{_STEM}{_SUFFIX}", groups[0]),), ()
    names = [f"{_STEM}-{number:05}-of-{len(groups):05}{_SUFFIX}" for number in range(1, len(groups) + 1)]
    files = tuple(safetensors_file(name, group) for name, group in zip(names, groups, strict=True))
    where = {one.name: name for name, group in zip(names, groups, strict=True) for one in group}
    document = {"metadata": {"total_size": sum(one.nbytes for one in made)}, "weight_map": dict(sorted(where.items()))}
    return files, (text_file(f"{_STEM}{_SUFFIX}.index.json", json.dumps(document, indent=2).encode() + b"\n"),)


def _groups(made: Sequence[Made], most: int) -> Iterator[list[Made]]:
    group: list[Made] = []
    nbytes = 0
    for one in made:
        if group and nbytes + one.nbytes > most:
            yield group
            group, nbytes = [], 0
        group.append(one)
        nbytes += one.nbytes
    yield group
