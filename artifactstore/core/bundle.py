"""Bundle: what a store in one tar says of itself, the same whenever it is made of the same versions"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple, Self

import rfc8785
from blake3 import blake3

from artifactstore.core.digest import Digest
from artifactstore.core.errors import Invalid
from artifactstore.core.names import AliasName, ArtifactName
from artifactstore.core.record import FORMAT as RECORD_FORMAT

FORMAT = 1
MAX_PARTS = 500
_NAMESPACE = b"artstore bundle\0"
_NOBODY = "0" * 32
_HOLDINGS, _BUNDLE = "artstore have", "artstore bundle"


class Named(NamedTuple):
    """A version by its id, and how the store that wrote this calls it"""

    id: Digest
    ref: str


@dataclass(frozen=True, slots=True)
class Binding:
    """A link that was bound in the store the bundle is from: the child's link at `position` is to `parent`"""

    position: int
    parent: Digest
    evidence: str | None


@dataclass(frozen=True, slots=True)
class Carried:
    """A version as its record tells it. taken: when its store took it in, microseconds UTC"""

    id: Digest
    artifact: ArtifactName
    number: int
    taken: int
    metrics: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    aliases: tuple[AliasName, ...] = ()
    bindings: tuple[Binding, ...] = ()

    @property
    def named(self) -> Named:
        """By its id and `artifact:number`"""
        return Named(self.id, f"{self.artifact}:{self.number}")

    def actions(self, blobs: Iterable[Digest]) -> list[dict[str, Any]]:
        """What a journal says of it (docs/format.md)"""
        version = {
            "do": "version",
            "id": str(self.id),
            "artifact": str(self.artifact),
            "number": self.number,
            "taken": self.taken,
            "manifest": incarnation(self.id),
            "blobs": [[str(digest), incarnation(digest), "set"] for digest in blobs],
        }
        return [version, *self._notes()]

    def _notes(self) -> Iterator[dict[str, Any]]:
        if self.metrics:
            values = {name: value if math.isfinite(value) else str(value) for name, value in self.metrics.items()}
            yield {"do": "metric", "id": str(self.id), "metrics": values}
        for one in self.bindings:
            ends = {"child": str(self.id), "position": one.position, "parent": str(one.parent)}
            yield {"do": "link", **ends, "evidence": one.evidence}
        for alias in self.aliases:
            whose = {"artifact": str(self.artifact), "alias": str(alias), "version": str(self.id)}
            yield {"do": "alias", **whose, "generation": 1}


@dataclass(frozen=True, slots=True)
class Holdings:
    """What `bundle have` tells of a store: its versions, whose blobs whoever reads this knows for itself"""

    store: str
    versions: tuple[Digest, ...]

    def lines(self) -> Iterator[str]:
        """As JSON, an id a line"""
        yield f'{{"kind": "{_HOLDINGS}", "format": {FORMAT}, "store": {json.dumps(self.store)}, "versions": ['
        last = len(self.versions) - 1
        for at, one in enumerate(self.versions):
            yield f'"{one}"{"" if at == last else ","}'
        yield "]}"

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Raise Invalid for what `bundle have` did not write"""
        found = _read(raw, _HOLDINGS, {"store", "versions"})
        try:
            return cls(_text(found["store"]), tuple(Digest.parse(one) for one in found["versions"]))
        except (TypeError, Invalid) as e:
            raise _invalid(_HOLDINGS, str(e)) from e


@dataclass(frozen=True, slots=True)
class Label:
    """What `bundle.json` says: the versions carried, and of a delta those whose blobs it counts on. store: whence"""

    store: str
    versions: tuple[Named, ...]
    base: tuple[Named, ...] = ()

    def to_bytes(self) -> bytes:
        """Canonical JSON"""
        lists = {name: [list(map(str, one)) for one in getattr(self, name)] for name in ("versions", "base")}
        return rfc8785.dumps({"kind": _BUNDLE, "format": FORMAT, "store": self.store, **lists})

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Raise Invalid for what `to_bytes` did not write"""
        found = _read(raw, _BUNDLE, {"store", "versions", "base"})
        try:
            label = cls(_text(found["store"]), _named(found["versions"]), _named(found["base"]))
        except (TypeError, ValueError, Invalid) as e:
            raise _invalid(_BUNDLE, str(e)) from e
        if label.to_bytes() != raw:
            raise _invalid(_BUNDLE, "it is not canonical JSON")
        return label


class Seal:
    """The names of a bundle's store and catalog, derived from everything its documents say"""

    def __init__(self) -> None:
        self._hash = blake3(_NAMESPACE)

    def add(self, serial: int, at: int, actions: Sequence[Mapping[str, Any]]) -> int:
        """Take the next record in; how many bytes it will have"""
        raw = to_record(_NOBODY, serial, at, actions)
        self._hash.update(raw)
        return len(raw)

    def close(self, label: Label) -> tuple[str, str]:
        """Store and catalog, 32 hex digits each"""
        self._hash.update(label.to_bytes())
        name = self._hash.digest().hex()
        return name[:32], name[32:]


def incarnation(digest: Digest) -> str:
    """Of an object in a bundle, which is written once and never collected: the same for the same digest"""
    return blake3(_NAMESPACE + digest).digest()[:8].hex()


def txid(catalog: str, serial: int) -> str:
    """Of a record of a bundle's journal"""
    return blake3(_NAMESPACE + f"{catalog} {serial}".encode()).digest()[:16].hex()


def to_record(catalog: str, serial: int, at: int, actions: Sequence[Mapping[str, Any]]) -> bytes:
    """The record of a bundle's journal, from 1; at: microseconds since 1970 UTC"""
    return rfc8785.dumps(
        {
            "format": RECORD_FORMAT,
            "catalog": catalog,
            "serial": serial,
            "txid": txid(catalog, serial),
            "previous": None if serial == 1 else txid(catalog, serial - 1),
            "at": at,
            "actions": [dict(action) for action in actions],
        }
    )


def count_parts(total: int, part: int | None) -> int:
    """How many parts of at most `part` bytes a stream takes; raise Invalid for more than can be open at once"""
    if part is None:
        return 1
    if part <= 0 or -(-total // part) > MAX_PARTS:
        raise Invalid(
            f"Parts of {part} bytes would be more than {MAX_PARTS} files; make them larger", code="split", part=part
        )
    return -(-total // part)


def part_name(name: str, number: int) -> str:
    """`bundle.tar.001` and so on"""
    return f"{name}.{number:03d}"


def _read(raw: bytes, kind: str, keys: set[str]) -> dict[str, Any]:
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError) as e:
        raise _invalid(kind, "it is no JSON") from e
    if not isinstance(found, dict) or found.get("kind") != kind:
        raise _invalid(kind, f"it does not say that it is of the kind {kind!r}")
    if found.get("format") != FORMAT:
        raise Invalid(
            f"A newer artifactstore wrote this, with format {found.get('format')!r:.20}; upgrade", code="format"
        )
    if found.keys() != keys | {"kind", "format"}:
        raise _invalid(kind, f"it has unknown or missing keys {sorted(found.keys() ^ keys)!r:.80}")
    return found


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value or len(value) > 200 or not value.isprintable():
        raise TypeError("a text is none")
    return value


def _named(values: Any) -> tuple[Named, ...]:
    if not isinstance(values, list):
        raise TypeError("a list is none")
    found = tuple(Named(Digest.parse(one), _text(ref)) for one, ref in values)
    if len({one.id for one in found}) != len(found):
        raise ValueError("a version stands there twice")
    return found


def _invalid(kind: str, why: str) -> Invalid:
    return Invalid(f"Not a file of {kind!r}: {why:.200}", code="bundle")
