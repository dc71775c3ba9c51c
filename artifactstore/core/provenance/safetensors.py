"""Safetensors: what image models keep in the header's `__metadata__`

`modelspec.*`: https://github.com/Stability-AI/ModelSpec. `ss_*`: what kohya-ss/sd-scripts and its kin write into what
they train. `modelspec.hash_sha256` is of this file's own tensors without their header, so it names no parent.
"""

import re
from collections.abc import Mapping
from typing import Any

from artifactstore.core.formats.base import FileInfo
from artifactstore.core.lineage import Link, Relation
from artifactstore.core.provenance.base import Provenance, Warner, bounded, label, license_of, parent, pass_over
from artifactstore.core.provenance.refs import refer

_SHA256 = re.compile(r"(?:0x)?([0-9a-f]{64})")


def read(info: FileInfo, path: str, warn: Warner) -> Provenance:
    """Parents and licence of a header: models merged into it, and the model it was trained on"""
    metadata = info.metadata
    parents = [*_merged(metadata, path, warn), *_trained_on(metadata, path)]
    return Provenance(tuple(parents), license_of(metadata.get("modelspec.license"), path, warn))


def _merged(metadata: Mapping[str, str], path: str, warn: Warner) -> list[Link]:
    text = metadata.get("modelspec.merged_from", "")
    titles = bounded([title.strip() for title in text.split(",") if title.strip() not in {"", "None"}], path, warn)
    refs = [refer(title, titles=True) for title in titles]
    pass_over([title for title, ref in zip(titles, refs, strict=True) if ref is None], path, warn)
    return [parent(Relation.MERGE, ref, path) for ref in dict.fromkeys(refs) if ref is not None]


def _trained_on(metadata: Mapping[str, str], path: str) -> list[Link]:
    """The model a network was trained on; where only the family is told (`sdxl_base_v1-0`), that is its name"""
    network = any(key.startswith("ss_network_") for key in metadata)
    family = metadata.get("ss_base_model_version")
    ref = refer(metadata.get("ss_sd_model_name"), titles=True)
    if ref is None and network:
        ref = refer(family, titles=True)
    if ref is None:
        return []
    params: dict[str, Any] = {"base_model_version": label(family), "sha256": _file_hash(metadata)}
    relation = Relation.ADAPTER if network else Relation.FINETUNE
    return [parent(relation, ref, path, {key: value for key, value in params.items() if value is not None})]


def _file_hash(metadata: Mapping[str, str]) -> str | None:
    """sha256 of the whole file that was trained on; `ss_sd_model_hash` is of one part of it, and left alone"""
    match = _SHA256.fullmatch(metadata.get("ss_new_sd_model_hash", "").lower())
    return match[1] if match else None
