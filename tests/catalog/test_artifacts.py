"""Artifacts: made once, whoever is first"""

import pytest

from artifactstore.catalog.artifacts import Locked, ensure, lock
from artifactstore.catalog.tables import artifact
from artifactstore.core.errors import NotFound
from artifactstore.core.names import ArtifactName
from tests.contract.catalog import again, in_threads, rows

NAME = ArtifactName("org/m")


def test_it_is_made_once(catalog):
    first = catalog.database.write(lambda connection: ensure(connection, NAME))
    assert catalog.database.write(lambda connection: ensure(connection, NAME)) == first
    assert catalog.database.write(lambda connection: lock(connection, NAME)) == first == Locked(first.row, NAME)
    assert len(rows(catalog, artifact)) == 1


def test_a_missing_one_cannot_be_taken(catalog):
    with pytest.raises(NotFound, match="org/m"):
        catalog.database.write(lambda connection: lock(connection, NAME))


def test_many_that_make_it_at_once_share_it(catalog):
    made = in_threads(*[lambda: again(catalog).database.write(lambda connection: ensure(connection, NAME))] * 4)
    assert len(set(made)) == len(rows(catalog, artifact)) == 1
