"""Indexes of sharded models, `*.index.json`: which shard holds which tensor"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from artifactstore.core.errors import Invalid
from artifactstore.core.formats.base import FileInfo
from artifactstore.core.names import SafePath

# model.safetensors.index.json, and diffusers' model.safetensors.index.fp16.json
_NAME = re.compile(r".*\.index(?:\.[^./]+)?\.json", re.DOTALL)
_SURE_NAME = re.compile(r".*\.(?:safetensors|bin)\.index(?:\.[^./]+)?\.json", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ShardIndex:
    """An index: its path, tensor → path of its shard in the version, and bytes of all tensors if it says so"""

    path: str
    weight_map: Mapping[str, str]
    total_size: int | None


def is_index(path: str) -> bool:
    """Whether a file is named as an index; `parse` says whether it is one"""
    return _NAME.fullmatch(path) is not None


def parse(data: bytes, path: str) -> ShardIndex | None:
    """The index in these bytes, or None when the JSON is of another kind (no weight_map); Invalid when it is broken"""
    duplicates: list[str] = []
    try:
        document = json.loads(data, object_pairs_hook=lambda pairs: _object(pairs, duplicates))
    except (ValueError, RecursionError) as e:
        if not _SURE_NAME.fullmatch(path):
            return None
        raise _invalid(path, "json", f"not JSON ({e!s:.80})") from e
    if not isinstance(document, dict) or "weight_map" not in document:
        return None
    if duplicates:
        raise _invalid(path, "duplicate-key", f"duplicate key {duplicates[0]!r:.80}")
    weight_map = document["weight_map"]
    if not isinstance(weight_map, dict) or not all(isinstance(shard, str) for shard in weight_map.values()):
        raise _invalid(path, "weight-map", "weight_map must be an object of tensor names and shard names")
    paths = {shard: _shard_path(path, shard) for shard in set(weight_map.values())}
    located = {tensor: paths[shard] for tensor, shard in weight_map.items()}
    return ShardIndex(path, MappingProxyType(located), _total_size(path, document.get("metadata", {})))


def check(index: ShardIndex, files: Mapping[str, FileInfo]) -> None:
    """Raise Invalid unless the files of the version, by path, hold exactly what the index says

    Safetensors shards are compared tensor by tensor; other shards need only be there.
    """
    shards = sorted(set(index.weight_map.values()))
    for shard in shards:
        if shard not in files:
            raise _invalid(index.path, "missing-shard", f"shard {shard!r:.200} is missing; add it beside the index")
    found: dict[str, str] = {}
    total = 0
    known = [shard for shard in shards if files[shard].format == "safetensors"]
    for shard in known:
        for tensor in files[shard].tensors:
            if tensor.name in found:
                raise _wrong_tensor(index, tensor.name, f"lies in {found[tensor.name]!r:.200} and in {shard!r:.200}")
            found[tensor.name] = shard
            total += tensor.end - tensor.begin
    _compare(index, found, set(known))
    if len(known) == len(shards) and index.total_size not in {None, total}:
        raise _invalid(index.path, "total-size", f"total_size is {index.total_size}, the shards hold {total} bytes")


def _compare(index: ShardIndex, found: Mapping[str, str], known: set[str]) -> None:
    for name, shard in index.weight_map.items():
        place = found.get(name)
        if shard in known and place != shard:
            where = f", but in {place!r:.200}" if place else ""
            raise _wrong_tensor(index, name, f"is not in {shard!r:.200} as the index says{where}")
    for name, shard in found.items():
        if name not in index.weight_map:
            raise _wrong_tensor(index, name, f"of {shard!r:.200} is not in the index")


def _wrong_tensor(index: ShardIndex, name: str, what: str) -> Invalid:
    return _invalid(index.path, "wrong-shard", f"tensor {name!r:.80} {what}")


def _object(pairs: list[tuple[str, Any]], duplicates: list[str]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for key, value in pairs:
        if key in members:
            duplicates.append(key)
        members[key] = value
    return members


def _shard_path(path: str, shard: str) -> str:
    try:
        SafePath(shard)
    except Invalid as e:
        raise _invalid(path, "shard-path", f"a shard must lie beside or below its index: {e.message}") from e
    folder, slash, _ = path.rpartition("/")
    return folder + slash + shard


def _total_size(path: str, metadata: object) -> int | None:
    if not isinstance(metadata, dict):
        raise _invalid(path, "metadata", "metadata must be an object")
    total = metadata.get("total_size")
    # Some writers give a float
    if isinstance(total, float) and total.is_integer():
        total = int(total)
    if total is None or (isinstance(total, int) and not isinstance(total, bool) and total >= 0):
        return total
    raise _invalid(path, "total-size", f"metadata.total_size must be a number of bytes, found {total!r:.40}")


def _invalid(path: str, rule: str, what: str) -> Invalid:
    return Invalid(f"{path}: {what}", code="index", file=path, rule=rule)
