"""Artifacts: the named lines that versions, numbers and aliases belong to"""

import sqlalchemy as sa
from sqlalchemy import Connection

from artifactstore.catalog.batches import insert_new
from artifactstore.catalog.tables import artifact


def find_locked(connection: Connection, name: str) -> int | None:
    """The key of an artifact, held until commit, so that numbers and aliases of it are given one after another"""
    return connection.execute(sa.select(artifact.c.id).where(artifact.c.name == name).with_for_update()).scalar()


def ensure_locked(connection: Connection, name: str) -> int:
    """The same, making it where there is none"""
    insert_new(connection, artifact, [{"name": name}])
    found = find_locked(connection, name)
    assert found is not None
    return found
