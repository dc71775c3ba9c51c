"""Subject: a version with what it came from, as every export tells it"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from artifactstore.core.digest import Digest, Sha256
from artifactstore.core.errors import Invalid
from artifactstore.core.lineage import Relation
from artifactstore.core.names import ArtifactName, SafePath


class Kind(StrEnum):
    """The documents there are"""

    MODEL_CARD = "model-card"
    CYCLONEDX = "cyclonedx"
    SPDX = "spdx"
    PROV = "prov"
    CHECKSUMS = "checksums"

    @classmethod
    def parse(cls, text: str) -> "Kind":
        """Raise Invalid naming the known ones"""
        try:
            return cls(text)
        except ValueError as e:
            raise Invalid(f"Cannot export {text[:40]!r}; use one of {', '.join(cls)}", code="export") from e


@dataclass(frozen=True, slots=True)
class FileFacts:
    """A file of a version, without its bytes"""

    path: SafePath
    size: int
    sha256: Sha256
    format: str


@dataclass(frozen=True, slots=True)
class TensorFacts:
    """Tensors of one dtype: how many, and their bytes"""

    dtype: str
    count: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class ParentFacts:
    """A link. id is None while what `ref` names is not here; evidence is None when nobody but its giver vouches"""

    relation: Relation
    ref: str
    id: Digest | None = None
    weight: float | None = None
    params: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    evidence: str | None = None


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """One version. created: microseconds since 1970 UTC. parents: in the order of their position"""

    id: Digest
    artifact: ArtifactName
    number: int
    created: int
    phase: str | None = None
    step: int | None = None
    epoch: float | None = None
    request_id: str | None = None
    license: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    metrics: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    files: Sequence[FileFacts] = ()
    tensors: Sequence[TensorFacts] = ()
    parents: Sequence[ParentFacts] = ()

    @property
    def ref(self) -> str:
        """`artifact:number`"""
        return f"{self.artifact}:{self.number}"


@dataclass(frozen=True, slots=True)
class Subject:
    """What is exported: a version, those of its ancestors that are here and near enough, and the store it lies in"""

    version: VersionFacts
    ancestors: Mapping[Digest, VersionFacts]
    store_id: str

    @property
    def versions(self) -> tuple[VersionFacts, ...]:
        """The version and its ancestors, the nearest first"""
        return (self.version, *self.ancestors.values())

    def known(self, parent: ParentFacts) -> VersionFacts | None:
        """The version a link leads to, when it is told here"""
        if parent.id == self.version.id:
            return self.version
        return None if parent.id is None else self.ancestors.get(parent.id)

    def outside(self) -> Mapping[str, ParentFacts]:
        """What links lead to and is not told here, each once, by what names it"""
        links = (parent for version in self.versions for parent in version.parents)
        found: dict[str, ParentFacts] = {}
        for parent in links:
            if self.known(parent) is None:
                found.setdefault(outside_name(parent), parent)
        return found


def outside_name(parent: ParentFacts) -> str:
    """What names a parent that is not told: its id, else its reference"""
    return parent.ref if parent.id is None else str(parent.id)


def word(metadata: Mapping[str, Any], name: str) -> str | None:
    """What metadata says under a name, if that is text"""
    value = metadata.get(name)
    return value.strip() or None if isinstance(value, str) else None


def words(metadata: Mapping[str, Any], name: str) -> list[str]:
    """What metadata says under a name as a list: of text, or of the parts of one text between commas"""
    value = metadata.get(name)
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else []
    return list(dict.fromkeys(part.strip() for part in parts if isinstance(part, str) and part.strip()))


def shown(value: Any) -> str:
    """Text as it is, anything else as JSON"""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)


def properties(version: VersionFacts) -> Iterator[tuple[str, str]]:
    """What a standard has no field for, as names and texts. Metadata goes out as it is, secrets too"""
    labels = {
        "id": str(version.id),
        "phase": version.phase,
        "step": version.step,
        "epoch": version.epoch,
        "request_id": version.request_id,
    }
    for name, value in labels.items():
        if value is not None:
            yield f"artifactstore:{name}", shown(value)
    for tensors in version.tensors:
        told = f"{tensors.count} tensors, {tensors.nbytes} bytes"
        yield f"artifactstore:dtype:{tensors.dtype}", told
    for name, value in version.metadata.items():
        yield f"artifactstore:metadata:{name}", shown(value)


def link_properties(parent: ParentFacts) -> Iterator[tuple[str, str]]:
    """A link as names and texts"""
    yield "artifactstore:relation", parent.relation
    yield "artifactstore:ref", parent.ref
    if parent.weight is not None:
        yield "artifactstore:weight", shown(parent.weight)
    yield "artifactstore:evidence", parent.evidence or "declared"
    for name, value in parent.params.items():
        yield f"artifactstore:parameter:{name}", shown(value)
