"""Aliases: movable names of versions, each move counted and remembered"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from artifactstore.catalog.artifacts import Locked, lock
from artifactstore.catalog.base import AliasInfo
from artifactstore.catalog.journal import Action, record
from artifactstore.catalog.sql import Database
from artifactstore.catalog.tables import alias, alias_history, artifact, version
from artifactstore.catalog.version_rows import active_row
from artifactstore.core.digest import Digest
from artifactstore.core.errors import Conflict, Invalid, NotFound
from artifactstore.core.names import AliasName, ArtifactName

# the method `list` would hide the type inside the class
AliasInfos = list[AliasInfo]


class Aliases:
    """An alias names an existing version (R1); its generation only grows, also across a removal"""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, artifact_name: ArtifactName, name: AliasName) -> AliasInfo:
        """Where it points; raise NotFound"""
        query = _query().where(artifact.c.name == artifact_name, alias.c.name == name)
        row = self._database.read(lambda connection: connection.execute(query).first())
        if row is None:
            raise _missing(artifact_name, name)
        return _info(row)

    def history(self, artifact_name: ArtifactName, name: AliasName) -> AliasInfos:
        """Every move, newest first; none when it never was"""
        query = _history().where(artifact.c.name == artifact_name, alias_history.c.name == name)
        rows = self._database.rows(query.order_by(alias_history.c.generation.desc()))
        return [_info(row) for row in rows]

    def set(
        self, artifact_name: ArtifactName, name: AliasName, version_id: Digest, *, expected: int | None = None
    ) -> AliasInfo:
        """Point it at a version; raise Conflict unless its generation is `expected` (0 before its first move)

        Raises NotFound without that version, Invalid when it belongs to another artifact.
        """

        def work(connection: Connection, at: int) -> tuple[AliasInfo, list[Action]]:
            line = lock(connection, artifact_name)
            row = _owned(connection, line, version_id)
            _check_expected(line, name, _generation(connection, line, name), expected)
            moved = move(connection, line, name, (row, version_id), at)
            here = _query().where(alias.c.artifact_id == line.row, alias.c.name == name)
            return _info(connection.execute(here).one()), moved

        return record(self._database, work)[0]

    def remove(self, artifact_name: ArtifactName, name: AliasName) -> AliasInfo:
        """Take it away; raise NotFound. Its history stays"""

        def work(connection: Connection, at: int) -> tuple[AliasInfo, list[Action]]:
            line = lock(connection, artifact_name)
            if connection.execute(sa.delete(alias).where(*_here(line, name))).rowcount != 1:
                raise _missing(artifact_name, name)
            removed = AliasInfo(artifact_name, name, None, _generation(connection, line, name) + 1, at)
            return removed, [_remember(connection, line, removed, None)]

        return record(self._database, work)[0]

    def list(self, artifact_name: ArtifactName | None = None) -> AliasInfos:
        """All of them, or those of one artifact, by name"""
        query = _query().order_by(artifact.c.name, alias.c.name)
        if artifact_name is not None:
            query = query.where(artifact.c.name == artifact_name)
        return [_info(row) for row in self._database.rows(query)]


def move(connection: Connection, line: Locked, name: AliasName, to: tuple[int, Digest], at: int) -> list[Action]:
    """Point an alias at the version `to` (row, id) of its artifact; nothing when it points there already"""
    row, digest = to
    current = target(connection, line, name)
    if current == row:
        return []
    moved = AliasInfo(line.name, name, digest, _generation(connection, line, name) + 1, at)
    values = {"version_id": row, "generation": moved.generation}
    if current is None:
        connection.execute(sa.insert(alias), {"artifact_id": line.row, "name": name, **values})
    else:
        connection.execute(sa.update(alias).where(*_here(line, name)).values(values))
    return [_remember(connection, line, moved, row)]


def target(connection: Connection, line: Locked, name: AliasName) -> int | None:
    """The row of the version an alias points at"""
    return connection.execute(sa.select(alias.c.version_id).where(*_here(line, name))).scalar()


def _here(line: Locked, name: AliasName) -> tuple[sa.ColumnElement[bool], ...]:
    return alias.c.artifact_id == line.row, alias.c.name == name


def _query() -> sa.Select[Any]:
    # its last move is when it came to be where it is
    last = (alias_history.c.artifact_id == alias.c.artifact_id) & (alias_history.c.name == alias.c.name)
    return (
        sa.select(
            artifact.c.name.label("artifact"), alias.c.name, version.c.digest, alias.c.generation, alias_history.c.at
        )
        .join_from(alias, artifact)
        .join(version, version.c.id == alias.c.version_id)
        .join(alias_history, last & (alias_history.c.generation == alias.c.generation))
    )


def _history() -> sa.Select[Any]:
    moves = alias_history.c
    return (
        sa.select(artifact.c.name.label("artifact"), moves.name, version.c.digest, moves.generation, moves.at)
        .join_from(alias_history, artifact)
        .outerjoin(version, version.c.id == moves.version_id)
    )


def _info(row: sa.Row[Any]) -> AliasInfo:
    points = None if row.digest is None else Digest(row.digest)
    return AliasInfo(ArtifactName(row.artifact), AliasName(row.name), points, row.generation, row.at)


def _owned(connection: Connection, line: Locked, version_id: Digest) -> int:
    row = active_row(connection, version_id)
    owner = sa.select(version.c.artifact_id).where(version.c.id == row)
    if connection.execute(owner).scalar() != line.row:
        raise Invalid(
            f"Version {str(version_id)[:12]} belongs to another artifact than {line.name}", code="alias-artifact"
        )
    return row


def _generation(connection: Connection, line: Locked, name: AliasName) -> int:
    here = (alias_history.c.artifact_id == line.row, alias_history.c.name == name)
    return connection.execute(sa.select(sa.func.max(alias_history.c.generation)).where(*here)).scalar() or 0


def _check_expected(line: Locked, name: AliasName, actual: int, expected: int | None) -> None:
    if expected is not None and expected != actual:
        raise Conflict(
            f"{line.name}@{name} was moved meanwhile: generation {actual}, expected {expected}; look and try again",
            code="alias",
            expected=expected,
            actual=actual,
        )


def _remember(connection: Connection, line: Locked, moved: AliasInfo, row: int | None) -> Action:
    entry = {"artifact_id": line.row, "name": moved.name, "generation": moved.generation}
    connection.execute(sa.insert(alias_history), {**entry, "version_id": row, "at": moved.at})
    return {
        "do": "alias",
        "artifact": str(moved.artifact),
        "alias": str(moved.name),
        "version": None if moved.version is None else str(moved.version),
        "generation": moved.generation,
    }


def _missing(artifact_name: ArtifactName, name: AliasName) -> NotFound:
    return NotFound(f"{artifact_name} has no alias {name}", code="alias", artifact=str(artifact_name), alias=str(name))
