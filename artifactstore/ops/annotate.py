"""Annotate: what may change about a version after it was committed, aliases and metrics"""

from collections.abc import Mapping

from artifactstore.catalog.base import AliasInfo, VersionInfo
from artifactstore.core.names import AliasName, ArtifactName
from artifactstore.depot import Depot


def set_alias(
    depot: Depot, artifact: ArtifactName, alias: AliasName, version: VersionInfo, *, expected: int | None = None
) -> AliasInfo:
    """Point the alias at a version of the same artifact; raise Conflict when its generation is not `expected`"""
    depot.check_writable()
    depot.step("alias.commit.before")
    moved = depot.catalog.aliases.set(artifact, alias, version.id, expected=expected)
    depot.step("alias.commit.after")
    depot.export_journal()
    return moved


def remove_alias(depot: Depot, artifact: ArtifactName, alias: AliasName) -> AliasInfo:
    """Remove the alias, keeping its history; raise NotFound when there is none"""
    depot.check_writable()
    depot.step("alias.commit.before")
    removed = depot.catalog.aliases.remove(artifact, alias)
    depot.step("alias.commit.after")
    depot.export_journal()
    return removed


def set_metrics(depot: Depot, version: VersionInfo, metrics: Mapping[str, float]) -> None:
    """Set or replace metrics of a version; raise Invalid for a value that is not finite"""
    depot.check_writable()
    depot.step("metric.commit.before")
    depot.catalog.notes.set_metrics(version.id, metrics)
    depot.step("metric.commit.after")
    depot.export_journal()
