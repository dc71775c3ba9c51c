"""GGUF: `general.base_model.*`, `general.source.*` and the licence in a file's header

Keys: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. `source` is the model this file was made from, so it
is quantized or converted; `base_model` are the models that one came from, several where it is a merge. A file that
names no source is taken as made from its one base model. Converters write quantization_version into every file, so
it tells nothing; the tensors' types do, and file_type where a file of a split has no tensors.
"""

import re
from collections.abc import Mapping

from artifactstore.core.formats.base import FileInfo
from artifactstore.core.lineage import Link, Relation
from artifactstore.core.provenance.base import (
    MAX_PARENTS,
    Provenance,
    Warner,
    label,
    license_of,
    parent,
    pass_over,
)
from artifactstore.core.provenance.refs import refer

_FULL = frozenset({"F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8"})
_FULL_FILE_TYPES = frozenset({"0", "1", "32"})  # llama.h: ALL_F32, MOSTLY_F16, MOSTLY_BF16
_LEFT_OUT = re.compile(r"(?:string|array)\[[0-9]+\]")  # where the parser kept only the size of a value
_TOLD = ("name", "author", "version", "organization", "doi", "uuid")
_SOURCE, _BASE = "general.source.", "general.base_model."


def is_adapter(info: FileInfo) -> bool:
    """Whether it is a LoRA rather than a model"""
    return info.metadata.get("general.type") == "adapter"


def is_quantized(info: FileInfo) -> bool:
    """Whether any tensor is stored in blocks of few bits"""
    if info.tensors:
        return any(tensor.dtype not in _FULL for tensor in info.tensors)
    return info.metadata.get("general.file_type", "0") not in _FULL_FILE_TYPES


def read(info: FileInfo, path: str, warn: Warner, *, quantized: bool) -> Provenance:
    """Parents and licence of a header

    quantized: whether this file, or one beside it in the version, is: of one model in several sizes all count as such.
    """
    metadata = info.metadata
    made = Relation.QUANTIZE if quantized else Relation.CONVERT
    source = _link(metadata, _SOURCE, made, path)
    count = _count(metadata, path, warn)
    if is_adapter(info):
        relation = Relation.ADAPTER
    elif count > 1:
        relation = Relation.MERGE
    else:
        relation = Relation.QUANTIZE if quantized and source is None else Relation.FINETUNE
    prefixes = [f"{_BASE}{number}." for number in range(count)]
    links = [_link(metadata, prefix, relation, path) for prefix in prefixes]
    pass_over([prefix for prefix, link in zip(prefixes, links, strict=True) if link is None], path, warn)
    found = {link.ref: link for link in reversed([source, *links]) if link is not None}
    return Provenance(tuple(reversed(found.values())), _license(metadata, path, warn))


def _count(metadata: Mapping[str, str], path: str, warn: Warner) -> int:
    text = metadata.get(f"{_BASE}count", "0")
    if not text.isdecimal():
        pass_over([f"{_BASE}count {text}"], path, warn)
        return 0
    if len(text) > 4 or int(text) > MAX_PARENTS:
        warn(f"{path}: it names more than {MAX_PARENTS} parents; only so many were taken")
        return MAX_PARENTS
    return int(text)


def _link(metadata: Mapping[str, str], prefix: str, relation: Relation, path: str) -> Link | None:
    told = {
        key: found for key in _TOLD if (found := label(metadata.get(prefix + key))) and not _LEFT_OUT.fullmatch(found)
    }
    ref = (
        refer(metadata.get(f"{prefix}huggingface.repository"))  # of 2023, before repo_url
        or refer(metadata.get(f"{prefix}repo_url"))
        or refer(metadata.get(f"{prefix}url"))
        or refer(told.get("name"), titles=True)
        or next(filter(None, (label(f"{key}:{told[key]}") for key in ("doi", "uuid") if key in told)), None)
    )
    return None if ref is None else parent(relation, ref, path, told)


def _license(metadata: Mapping[str, str], path: str, warn: Warner) -> str | None:
    value = metadata.get("general.license")
    return license_of(metadata.get("general.license.name", value) if value == "other" else value, path, warn)
