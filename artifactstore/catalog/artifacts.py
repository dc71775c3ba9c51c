"""Artifacts: the named lines that versions, numbers and aliases belong to"""

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection

from artifactstore.catalog.batches import insert_new
from artifactstore.catalog.tables import artifact
from artifactstore.core.errors import NotFound
from artifactstore.core.names import ArtifactName


@dataclass(frozen=True, slots=True)
class Locked:
    """An artifact's row, held until commit, so that its numbers and aliases are given one after another"""

    row: int
    name: ArtifactName


def lock(connection: Connection, name: ArtifactName) -> Locked:
    """Take an artifact; raise NotFound"""
    query = sa.select(artifact.c.id).where(artifact.c.name == name)
    row = connection.execute(query.with_for_update()).scalar()
    if row is None:
        raise NotFound(f"No artifact {name}", code="artifact", artifact=str(name))
    return Locked(row, name)


def ensure(connection: Connection, name: ArtifactName) -> Locked:
    """Take an artifact, making it where there is none"""
    insert_new(connection, artifact, [{"name": name}])
    return lock(connection, name)
