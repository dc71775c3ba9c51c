"""Version rows, and the VersionInfo made of them with aliases and metrics filled in for many at once"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from artifactstore.catalog.base import Retirement, VersionInfo
from artifactstore.catalog.batches import CHUNK
from artifactstore.catalog.tables import alias, artifact, load, manifest, metric, version
from artifactstore.core.digest import Digest
from artifactstore.core.errors import NotFound
from artifactstore.core.names import AliasName, ArtifactName

_name = lru_cache(4096)(ArtifactName)
_alias = lru_cache(4096)(AliasName)
# in the order of the fields of VersionInfo, since naming each again would take half the time of a long list
_COLUMNS = (
    *(version.c.id, version.c.digest, artifact.c.name, version.c.number, version.c.created, version.c.taken),
    *(version.c.phase, version.c.step, version.c.epoch, version.c.request_id, version.c.license, version.c.nbytes),
    *(version.c.file_count, version.c.formats, version.c.tensor_count, version.c.dtypes, load.c.last_load),
)
_NONE: MappingProxyType[str, float] = MappingProxyType({})


def version_query() -> sa.Select[Any]:
    """Active versions, as `to_infos` reads them"""
    return _known_query().where(version.c.state == "active")


def _known_query() -> sa.Select[Any]:
    return (
        sa.select(*_COLUMNS)
        .join_from(version, artifact, version.c.artifact_id == artifact.c.id)
        .outerjoin(load, load.c.version_id == version.c.id)
    )


def to_infos(connection: Connection, rows: Sequence[Row[Any]]) -> list[VersionInfo]:
    """In the order of the rows"""
    # the first column, by its place: looking names up took a tenth of the time of a long list
    ids: list[int] = [row[0] for row in rows]
    aliases = aliases_of(connection, ids)
    metrics: dict[int, dict[str, float]] = defaultdict(dict)
    columns = (metric.c.version_id, metric.c.name, metric.c.value)
    for key, name, value in connection.execute(_about(sa.select(*columns), metric, ids)).all():
        metrics[key][name] = math.nan if value is None else value
    return [_info(row, aliases, metrics) for row in rows]


def aliases_of(connection: Connection, rows: Sequence[int]) -> dict[int, list[AliasName]]:
    """By row, of those that have any; of others too when there are very many"""
    aliases: dict[int, list[AliasName]] = defaultdict(list)
    for key, name in connection.execute(_about(sa.select(alias.c.version_id, alias.c.name), alias, rows)).all():
        aliases[key].append(_alias(name))
    return aliases


def _about(query: sa.Select[Any], table: sa.Table, ids: Sequence[int]) -> sa.Select[Any]:
    # of very many versions, all notes are read and those of others left aside
    query = query.order_by(table.c.version_id, table.c.name)
    return query.where(table.c.version_id.in_(ids)) if len(ids) <= CHUNK else query


def _info(
    row: Sequence[Any], aliases: Mapping[int, list[AliasName]], metrics: Mapping[int, dict[str, float]]
) -> VersionInfo:
    key, digest, name, *plain, formats, tensors, dtypes, last_load = row
    named = tuple(aliases[key]) if key in aliases else ()
    measured = MappingProxyType(metrics[key]) if key in metrics else _NONE
    known = (*plain, words(formats), tensors, words(dtypes), last_load, named, measured)
    return VersionInfo(Digest(digest), _name(name), *known)


@lru_cache(1024)
def words(text: str) -> tuple[str, ...]:
    """Of a column that holds several, joined by commas"""
    return tuple(text.split(",")) if text else ()


def select_infos(connection: Connection, *where: sa.ColumnElement[bool]) -> list[VersionInfo]:
    """Active versions that meet the conditions, the newest commit first"""
    query = version_query().where(*where).order_by(version.c.id.desc())
    return to_infos(connection, connection.execute(query).all())


def known_infos(connection: Connection, rows: Sequence[int]) -> list[VersionInfo]:
    """Versions in any state, the newest commit first; of a retired one it says how it went"""
    known = _known_query().where(version.c.id.in_(rows)).order_by(version.c.id.desc())
    infos = to_infos(connection, connection.execute(known).all())
    columns = (version.c.retired_at, version.c.retired_by, version.c.retired_why, version.c.swept_at)
    waits = sa.and_(manifest.c.digest == version.c.digest, manifest.c.state == "condemned")
    gone = (
        sa.select(version.c.digest, *columns, manifest.c.condemned_at)
        .outerjoin_from(version, manifest, waits)
        .where(version.c.id.in_(rows), version.c.state == "retired")
    )
    retired = {digest: Retirement(*facts) for digest, *facts in connection.execute(gone)}
    return [replace(info, retired=retired[info.id]) if info.id in retired else info for info in infos]


def version_info(connection: Connection, row: int) -> VersionInfo:
    """The version of a row"""
    return select_infos(connection, version.c.id == row)[0]


def active_row(connection: Connection, version_id: Digest) -> int:
    """The row of a version; raise NotFound"""
    query = sa.select(version.c.id).where(version.c.digest == version_id, version.c.state == "active")
    row: int | None = connection.execute(query).scalar()
    if row is None:
        raise NotFound(f"No version {version_id}", code="version", version=str(version_id))
    return row


def known_row(connection: Connection, version_id: Digest) -> int:
    """The row of a version in any state; raise NotFound"""
    row: int | None = connection.execute(sa.select(version.c.id).where(version.c.digest == version_id)).scalar()
    if row is None:
        raise NotFound(f"No version {version_id}", code="version", version=str(version_id))
    return row
