"""Lineage: typed links from a version to what it came from"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Self

from artifactstore.core.digest import Digest, Sha256
from artifactstore.core.errors import Invalid
from artifactstore.core.names import check_label
from artifactstore.core.numbers import check_finite

_HUB = re.compile(r"hf://([A-Za-z0-9][\w.-]*/[\w.-]+)", re.ASCII)


class Relation(StrEnum):
    """How a version came from its parent"""

    RESUME = "resume"
    FINETUNE = "finetune"
    ADAPTER = "adapter"
    MERGE = "merge"
    QUANTIZE = "quantize"
    DISTILL = "distill"
    CONVERT = "convert"
    RESHARD = "reshard"
    PRUNE = "prune"
    EMA = "ema"
    EXTRACT = "extract"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raise Invalid naming the known ones"""
        try:
            return cls(text)
        except ValueError as e:
            raise Invalid(f"Unknown relation {text[:40]!r}; use one of {', '.join(cls)}", code="relation") from e


@dataclass(frozen=True, slots=True)
class Link:
    """An edge to a parent: its version id when it is in this store, else the reference that was given

    weight: share of a merge source, unitless. Order of a version's links is their position. params may hold `sha256`,
    the hex digest of a file of the parent, by which the link finds its parent when the content arrives.
    """

    relation: Relation
    ref: str
    id: Digest | None = None
    weight: float | None = None
    params: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        check_label(self.ref, "parent reference")
        if self.weight is not None:
            check_finite(self.weight, f"Weight of parent {self.ref!r}")

    @property
    def sha256(self) -> Sha256 | None:
        """Of a file of the parent, where the link says it"""
        text = self.params.get("sha256")
        try:
            return None if text is None else Sha256.parse(text)
        except Invalid:
            return None

    @property
    def name(self) -> str | None:
        """The artifact that a reference to a hub without a revision names: `org/name` of `hf://org/name`"""
        found = _HUB.fullmatch(self.ref) if self.id is None else None
        return found[1] if found else None

    def to_json(self) -> dict[str, Any]:
        """As it stands in a manifest"""
        document: dict[str, Any] = {"relation": str(self.relation), "ref": self.ref}
        if self.id is not None:
            document["id"] = str(self.id)
        if self.weight is not None:
            document["weight"] = self.weight
        if self.params:
            document["params"] = dict(self.params)
        return document
