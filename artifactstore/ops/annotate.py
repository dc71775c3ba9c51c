"""Annotate: what may change beside versions: aliases, metrics, pins, and the policies kept for them"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime

from artifactstore.catalog.base import AliasInfo, PinInfo, PolicyInfo, VersionInfo
from artifactstore.core.errors import Invalid
from artifactstore.core.names import AliasName, ArtifactName
from artifactstore.core.selection import Rules
from artifactstore.depot import Depot


def set_alias(
    depot: Depot, artifact: ArtifactName, alias: AliasName, version: VersionInfo, *, expected: int | None = None
) -> AliasInfo:
    """Point the alias at a version of the same artifact; raise Conflict when its generation is not `expected`"""
    with _committing(depot, "alias"):
        return depot.catalog.aliases.set(artifact, alias, version.id, expected=expected)


def remove_alias(depot: Depot, artifact: ArtifactName, alias: AliasName) -> AliasInfo:
    """Remove the alias, keeping its history; raise NotFound when there is none"""
    with _committing(depot, "alias"):
        return depot.catalog.aliases.remove(artifact, alias)


def set_metrics(depot: Depot, version: VersionInfo, metrics: Mapping[str, float]) -> None:
    """Set or replace metrics of a version; raise Invalid for a value that is not finite"""
    with _committing(depot, "metric"):
        depot.catalog.notes.set_metrics(version.id, metrics)


def pin(depot: Depot, version: VersionInfo, why: str, until: datetime | None = None) -> PinInfo:
    """Keep a version for a reason, for ever or until an aware moment"""
    with _committing(depot, "pin"):
        return depot.catalog.notes.pin(version.id, why, until)


def unpin(depot: Depot, version: VersionInfo, why: str | None = None) -> int:
    """Take away the pin with this reason, or all of the version; how many. Raise NotFound without any"""
    with _committing(depot, "pin"):
        return depot.catalog.notes.unpin(version.id, why)


def set_policy(depot: Depot, pattern: str, rules: Rules) -> PolicyInfo:
    """Keep rules for the artifacts whose name matches; raise Invalid when they say nothing"""
    if rules.is_empty:
        raise Invalid("A policy without a rule keeps everything; give one, such as --keep-last 3", code="rules")
    with _committing(depot, "policy"):
        return depot.catalog.policies.set(pattern, str(rules))


def remove_policy(depot: Depot, pattern: str) -> None:
    """Forget the rules of a pattern; raise NotFound"""
    with _committing(depot, "policy"):
        depot.catalog.policies.remove(pattern)


@contextmanager
def _committing(depot: Depot, what: str) -> Iterator[None]:
    depot.check_writable()
    depot.step(f"{what}.commit.before")
    yield
    depot.step(f"{what}.commit.after")
    depot.acknowledge()
