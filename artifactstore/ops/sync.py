"""Sync: what one store has and another lacks, planned, then brought over: versions, then metrics, then aliases"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from artifactstore.catalog.base import VersionInfo
from artifactstore.core.digest import Digest
from artifactstore.core.names import AliasName, ArtifactName
from artifactstore.core.ordering import parents_first
from artifactstore.core.verdict import Need, needed_by
from artifactstore.depot import Depot
from artifactstore.ops.transfer import carry
from artifactstore.ops.transfer.carry import CarryPlan, CarryReport

Metrics = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class AliasMove:
    """An alias to be pointed at a version; without one it is to be taken away"""

    artifact: ArtifactName
    name: AliasName
    version: Digest | None

    def to_json(self) -> dict[str, Any]:
        """With stable keys"""
        to = None if self.version is None else str(self.version)
        return {"artifact": str(self.artifact), "alias": str(self.name), "id": to}


@dataclass(frozen=True, slots=True)
class SyncPlan:
    """What a store lacks of another. retired: versions it let go itself, which only their name brings back"""

    carry: CarryPlan
    aliases: tuple[AliasMove, ...] = ()
    metrics: Mapping[Digest, Metrics] = field(default_factory=lambda: MappingProxyType({}))
    retired: tuple[VersionInfo, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Both are in step"""
        return self.carry.is_empty and not (self.aliases or self.metrics)

    def to_json(self) -> dict[str, Any]:
        """For people and programs to read before it runs"""
        return {
            "versions": [{"id": str(one.id), "ref": one.ref, "size": one.nbytes} for one in self.carry.versions],
            "blobs": self.carry.blobs,
            "bytes": self.carry.nbytes,
            "healed": [str(one) for one in (*(blob.digest for blob in self.carry.healing), *self.carry.manifests)],
            "aliases": [move.to_json() for move in self.aliases],
            "metrics": [str(one) for one in self.metrics],
            "retired_there": [str(one.id) for one in self.retired],
        }


@dataclass(frozen=True, slots=True)
class Naming:
    """How aliases of the source arrive: under a prefix, as they are, or not at all

    exact: aliases that the source does not have are taken away, and metrics become the source's.
    """

    prefix: str = ""
    aliases: bool = True
    exact: bool = False

    def name(self, alias: AliasName) -> AliasName:
        """What an alias is called in the target"""
        return AliasName(f"{self.prefix}/{alias}") if self.prefix else alias


def plan(source: Depot, target: Depot, refs: Sequence[VersionInfo] | None, naming: Naming) -> SyncPlan:
    """Look at what `run` would bring over, changing nothing

    refs: versions of the source, which come with all they need; None for all that are not retired in the target.
    """
    survey = source.catalog.retirements.survey()
    infos = {one.id: one for one in source.catalog.versions.list(sort="taken:asc")}
    named = [one.id for one in refs or ()]
    wanted = infos if refs is None else {*named, *needed_by(named, survey.needs)}
    active = target.catalog.versions.active()
    gone = _let_go(target, [one for one in wanted if one not in active], named, survey.needs)
    ordered = parents_first((one for one in infos if one in wanted and one not in gone), survey.needs)
    carried = carry.plan(source, target, [infos[one] for one in ordered])
    held = active | {one.id for one in carried.versions}
    scope = {one.id: one for one in infos.values() if one.id in held and (refs is None or one.id in wanted)}
    return SyncPlan(
        carried,
        tuple(_aliases(source, target, scope, naming)),
        _metrics(target, scope, active, exact=naming.exact),
        tuple(infos[one] for one in infos if one in gone),
    )


def run(source: Depot, target: Depot, plan: SyncPlan) -> CarryReport:
    """Bring it over: versions with their parents first, aliases at the very end"""
    report = carry.run(source, target, plan.carry)
    if not plan.aliases and not plan.metrics:
        return report
    target.check_writable()
    for version, metrics in plan.metrics.items():
        target.catalog.notes.set_metrics(version, metrics)
    target.step("carry.alias.before")
    for move in plan.aliases:
        if move.version is None:
            target.catalog.aliases.remove(move.artifact, move.name)
        else:
            target.catalog.aliases.set(move.artifact, move.name, move.version)
    target.step("carry.alias.after")
    target.acknowledge()
    return report


def superfluous(source: Depot, target: Depot) -> tuple[VersionInfo, ...]:
    """Versions that the target has and the source has not"""
    here = source.catalog.versions.active()
    return tuple(one for one in target.catalog.versions.list(sort="taken:asc") if one.id not in here)


def _let_go(target: Depot, lacking: Sequence[Digest], named: Sequence[Digest], needs: Sequence[Need]) -> set[Digest]:
    """What the target retired and nobody named, and nothing that comes will need"""
    retired = target.catalog.replays.versions(lacking)
    coming = [one for one in lacking if one not in retired or one in named]
    needed = needed_by(coming, needs)
    return {one for one in lacking if one in retired and one not in named and one not in needed}


def _aliases(source: Depot, target: Depot, scope: Mapping[Digest, VersionInfo], naming: Naming) -> Iterable[AliasMove]:
    if not naming.aliases:
        return
    there = {(one.artifact, one.name): one.version for one in target.catalog.aliases.list()}
    named = set()
    for alias in source.catalog.aliases.list():
        name = naming.name(alias.name)
        named.add((alias.artifact, name))
        if alias.version in scope and there.get((alias.artifact, name)) != alias.version:
            yield AliasMove(alias.artifact, name, alias.version)
    if naming.exact:
        for artifact, name in there.keys() - named:
            yield AliasMove(artifact, name, None)


def _metrics(
    target: Depot, scope: Mapping[Digest, VersionInfo], active: frozenset[Digest], *, exact: bool
) -> dict[Digest, Metrics]:
    """Metrics of versions that both have: those that differ, or only those that are new"""
    theirs = {one.id: one.metrics for one in target.catalog.versions.list() if one.id in scope}
    found: dict[Digest, Metrics] = {}
    for version in (one for one in scope.values() if one.id in active and one.metrics):
        known = theirs.get(version.id, {})
        new = {
            name: value
            for name, value in version.metrics.items()
            if (name not in known or (exact and known[name] != value)) and math.isfinite(value)
        }
        if new:
            found[version.id] = new
    return found
