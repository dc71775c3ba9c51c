"""Aliases: movable names of versions, each move counted and remembered"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from artifactstore.catalog.artifacts import find_locked
from artifactstore.catalog.base import AliasInfo
from artifactstore.catalog.journal import Action, record
from artifactstore.catalog.sql import Database
from artifactstore.catalog.tables import alias, alias_history, artifact, version
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
        rows = self._database.read(
            lambda connection: connection.execute(query.order_by(alias_history.c.generation.desc())).all()
        )
        return [_info(row) for row in rows]

    def set(
        self, artifact_name: ArtifactName, name: AliasName, version_id: Digest, *, expected: int | None = None
    ) -> AliasInfo:
        """Point it at a version; raise Conflict unless its generation is `expected` (0 before its first move)

        Raises NotFound without that version, Invalid when it belongs to another artifact.
        """

        def work(connection: Connection, at: int) -> tuple[AliasInfo, list[Action]]:
            artifact_id = find_locked(connection, artifact_name)
            row = _owned(connection, artifact_id, artifact_name, version_id)
            generation = _generation(connection, artifact_id, name)
            _check_expected(artifact_name, name, generation, expected)
            moved = move(connection, artifact_id, artifact_name, name, (row, version_id), at)
            return _now(connection, artifact_id, name), moved

        return record(self._database, work)[0]

    def remove(self, artifact_name: ArtifactName, name: AliasName) -> AliasInfo:
        """Take it away; raise NotFound. Its history stays"""

        def work(connection: Connection, at: int) -> tuple[AliasInfo, list[Action]]:
            artifact_id = find_locked(connection, artifact_name)
            gone = sa.delete(alias).where(alias.c.artifact_id == artifact_id, alias.c.name == name)
            if connection.execute(gone).rowcount != 1:
                raise _missing(artifact_name, name)
            generation = _generation(connection, artifact_id, name) + 1
            _remember(connection, artifact_id, name, generation, None, at)
            return AliasInfo(artifact_name, name, None, generation, at), [
                _action(artifact_name, name, None, generation)
            ]

        return record(self._database, work)[0]

    def list(self, artifact_name: ArtifactName | None = None) -> AliasInfos:
        """All of them, or those of one artifact, by name"""
        query = _query().order_by(artifact.c.name, alias.c.name)
        if artifact_name is not None:
            query = query.where(artifact.c.name == artifact_name)
        return [_info(row) for row in self._database.read(lambda connection: connection.execute(query).all())]


def move(
    connection: Connection,
    artifact_id: int,
    artifact_name: ArtifactName,
    name: AliasName,
    to: tuple[int, Digest],
    at: int,
) -> list[Action]:
    """Point an alias at the version `to` (row, id), whose artifact is locked; nothing when it points there already"""
    row, digest = to
    here = (alias.c.artifact_id == artifact_id, alias.c.name == name)
    current = connection.execute(sa.select(alias.c.version_id).where(*here)).scalar()
    if current == row:
        return []
    generation = _generation(connection, artifact_id, name) + 1
    if current is None:
        values = {"artifact_id": artifact_id, "name": name, "version_id": row, "generation": generation}
        connection.execute(sa.insert(alias), values)
    else:
        connection.execute(sa.update(alias).where(*here).values(version_id=row, generation=generation))
    _remember(connection, artifact_id, name, generation, row, at)
    return [_action(artifact_name, name, digest, generation)]


def target(connection: Connection, artifact_id: int, name: AliasName) -> int | None:
    """The row of the version an alias points at"""
    here = (alias.c.artifact_id == artifact_id, alias.c.name == name)
    return connection.execute(sa.select(alias.c.version_id).where(*here)).scalar()


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


def _now(connection: Connection, artifact_id: int, name: AliasName) -> AliasInfo:
    query = _query().where(alias.c.artifact_id == artifact_id, alias.c.name == name)
    return _info(connection.execute(query).one())


def _owned(connection: Connection, artifact_id: int | None, artifact_name: ArtifactName, version_id: Digest) -> int:
    query = sa.select(version.c.id, version.c.artifact_id)
    row = connection.execute(query.where(version.c.digest == version_id, version.c.state == "active")).first()
    if row is None:
        raise NotFound(f"No version {version_id}", code="version", version=str(version_id))
    if row.artifact_id != artifact_id:
        raise Invalid(
            f"Version {str(version_id)[:12]} belongs to another artifact than {artifact_name}", code="alias-artifact"
        )
    return row.id


def _generation(connection: Connection, artifact_id: int | None, name: AliasName) -> int:
    here = (alias_history.c.artifact_id == artifact_id, alias_history.c.name == name)
    return connection.execute(sa.select(sa.func.max(alias_history.c.generation)).where(*here)).scalar() or 0


def _check_expected(artifact_name: ArtifactName, name: AliasName, actual: int, expected: int | None) -> None:
    if expected is not None and expected != actual:
        raise Conflict(
            f"{artifact_name}@{name} was moved meanwhile: generation {actual}, expected {expected}; look and try again",
            code="alias",
            expected=expected,
            actual=actual,
        )


def _remember(
    connection: Connection, artifact_id: int | None, name: AliasName, generation: int, row: int | None, at: int
) -> None:
    moved = {"artifact_id": artifact_id, "name": name, "generation": generation, "version_id": row, "at": at}
    connection.execute(sa.insert(alias_history), moved)


def _action(artifact_name: ArtifactName, name: AliasName, to: Digest | None, generation: int) -> Action:
    points = None if to is None else str(to)
    return {
        "do": "alias",
        "artifact": str(artifact_name),
        "alias": str(name),
        "version": points,
        "generation": generation,
    }


def _missing(artifact_name: ArtifactName, name: AliasName) -> NotFound:
    return NotFound(f"{artifact_name} has no alias {name}", code="alias", artifact=str(artifact_name), alias=str(name))
