"""What a store should hold, in plain dictionaries, and what each act changes in them"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from artifactstore.core.digest import Digest
from artifactstore.core.manifest import Manifest

DAY = 86_400_000_000
LEASE = 900_000_000
NEEDED = {"adapter", "merge", "quantize"}


@dataclass(frozen=True)
class Version:
    """A version and the bytes of its one file. condemned: since when its manifest waits to go; swept: it has gone"""

    document: Manifest
    contents: tuple[bytes, ...]
    number: int
    state: Literal["active", "retired"] = "active"
    condemned: int | None = None
    swept: bool = False

    @property
    def id(self) -> Digest:
        return self.document.id

    @property
    def artifact(self) -> str:
        return str(self.document.artifact)

    @property
    def ref(self) -> str:
        return f"{self.artifact}:{self.number}"

    @property
    def objects(self) -> set[tuple[str, Digest]]:
        return {("manifest", self.id), *(("blob", info.digest) for info in self.document.blobs)}


@dataclass(frozen=True)
class Use:
    """An active lease: versions it holds, manifests it pins. orphan: its process has died"""

    expires: int
    holds: frozenset[Digest] = frozenset()
    manifests: frozenset[Digest] = frozenset()
    orphan: bool = False


@dataclass
class Model:
    """aliases: every version an alias named, in order, None where it was removed

    damaged: objects in quarantine; lost: those that nothing needed and that were given up there.
    """

    versions: dict[Digest, Version] = field(default_factory=dict)
    aliases: dict[tuple[str, str], list[Digest | None]] = field(default_factory=dict)
    pins: dict[Digest, dict[str, int | None]] = field(default_factory=dict)
    metrics: dict[Digest, dict[str, float]] = field(default_factory=dict)
    policies: dict[str, Any] = field(default_factory=dict)
    uses: dict[str, Use] = field(default_factory=dict)
    damaged: set[tuple[str, Digest]] = field(default_factory=set)
    lost: set[tuple[str, Digest]] = field(default_factory=set)

    def copy(self) -> "Model":
        return Model(
            dict(self.versions),
            {name: list(moves) for name, moves in self.aliases.items()},
            {one: dict(pins) for one, pins in self.pins.items()},
            {one: dict(metrics) for one, metrics in self.metrics.items()},
            dict(self.policies),
            dict(self.uses),
            set(self.damaged),
            set(self.lost),
        )

    @property
    def active(self) -> dict[Digest, Version]:
        return {one: version for one, version in self.versions.items() if version.state == "active"}

    def is_active(self, one: Digest) -> bool:
        return one in self.versions and self.versions[one].state == "active"

    def named(self) -> dict[Digest, set[str]]:
        """The aliases of each version"""
        found: dict[Digest, set[str]] = {}
        for (_, alias), moves in self.aliases.items():
            if moves[-1] is not None:
                found.setdefault(moves[-1], set()).add(alias)
        return found

    def held(self, now: int) -> set[Digest]:
        """What pins and leases keep"""
        pinned = {
            one for one, pins in self.pins.items() if any(until is None or until > now for until in pins.values())
        }
        return pinned.union(*(use.holds for use in self.uses.values()))

    def change(self, one: Digest, **fields: Any) -> None:
        self.versions[one] = replace(self.versions[one], **fields)

    def save(self, document: Manifest, contents: tuple[bytes, ...]) -> None:
        """A new version, or one that is there, or comes back under its old number; damage of what it holds is healed"""
        known = self.versions.get(document.id)
        line = [version.number for version in self.versions.values() if version.artifact == document.artifact]
        number = max(line, default=0) + 1 if known is None else known.number
        self.versions[document.id] = Version(document, contents, number)
        self.damaged -= self.versions[document.id].objects

    def move(self, artifact: str, alias: str, to: Digest | None) -> None:
        moves = self.aliases.setdefault((artifact, alias), [])
        if not moves or moves[-1] != to:
            moves.append(to)

    def retire(self, gone: Iterable[Digest]) -> None:
        for one in gone:
            self.change(one, state="retired")

    def bring_back(self, versions: Iterable[Digest]) -> None:
        for one in versions:
            self.change(one, state="active", condemned=None)

    def reap(self, now: int) -> None:
        """End leases whose time is over, or whose process has died"""
        self.uses = {name: use for name, use in self.uses.items() if use.expires > now and not use.orphan}

    def condemn(self, now: int) -> None:
        for one, version in self.versions.items():
            waits = version.state == "retired" and not version.swept and version.condemned is None
            if waits and ("manifest", one) not in self.damaged and not self._is_pinned(one):
                self.change(one, condemned=now)

    def sweep(self, now: int, grace: int) -> None:
        for one, version in self.versions.items():
            due = version.condemned is not None and version.condemned <= now - grace
            if due and not version.swept and not self._is_pinned(one):
                self.forget(one)

    def forget(self, one: Digest) -> None:
        self.change(one, swept=True)
        self.pins.pop(one, None)

    def _is_pinned(self, one: Digest) -> bool:
        return any(one in use.manifests for use in self.uses.values())

    def parents(self, child: Version) -> set[Digest]:
        """What a version cannot do without, of what is known here"""
        links = child.document.parents
        return {link.id for link in links if link.id in self.versions and link.relation in NEEDED}

    def visible(self) -> dict[str, Any]:
        """All that a catalog tells, to be compared with what one tells"""
        return {
            "versions": {one: (v.ref, v.state, v.swept) for one, v in self.versions.items()},
            "aliases": {name: (moves[-1], len(moves)) for name, moves in self.aliases.items() if moves[-1]},
            "pins": {one: pins for one, pins in self.pins.items() if pins},
            "metrics": {one: metrics for one, metrics in self.metrics.items() if metrics},
            "policies": {pattern: str(rule) for pattern, rule in self.policies.items()},
            "links": {
                (one, at): link.id if link.id in self.versions else None
                for one, version in self.versions.items()
                for at, link in enumerate(version.document.parents)
            },
        }
