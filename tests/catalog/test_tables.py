"""Tables and triggers hold what the code promises"""

import pytest
import sqlalchemy as sa

from artifactstore.catalog.tables import blob, manifest, metadata, store, version, version_blob
from artifactstore.core.errors import Conflict
from tests.contract.catalog import manifest_of, rows, save, set_state


def run(catalog, statement):
    return catalog.database.write(lambda connection: connection.execute(statement))


@pytest.mark.parametrize("state", ["deleting", "damaged"])
def test_no_version_can_name_a_blob_that_is_going_or_bad(catalog, state):
    save(catalog, manifest_of(b"1"))
    save(catalog, manifest_of(b"2"))
    first, second = rows(catalog, version_blob)
    set_state(catalog, b"2", state)
    with pytest.raises(Conflict):
        run(catalog, sa.insert(version_blob).values(version_id=first.version_id, blob_id=second.blob_id))
    with pytest.raises(Conflict):
        run(
            catalog,
            sa.update(version_blob).where(version_blob.c.version_id == first.version_id).values(blob_id=second.blob_id),
        )
    assert rows(catalog, version_blob) == [first, second]
    set_state(catalog, b"2", "condemned")
    run(catalog, sa.insert(version_blob).values(version_id=first.version_id, blob_id=second.blob_id))


def test_a_blob_that_a_version_names_cannot_be_dropped(catalog):
    save(catalog, manifest_of(b"1"))
    with pytest.raises(Conflict):
        run(catalog, sa.delete(blob))
    run(catalog, sa.delete(version_blob))
    run(catalog, sa.delete(blob))


@pytest.mark.parametrize("table", [blob, manifest, version])
def test_only_known_states_exist(catalog, table):
    save(catalog, manifest_of(b"1"))
    with pytest.raises(Conflict):
        run(catalog, sa.update(table).values(state="lost"))


def test_there_is_one_store(catalog):
    [row] = rows(catalog, store)
    with pytest.raises(Conflict):
        run(catalog, sa.insert(store).values(**{**row._mapping, "id": 2}))


def test_keys_are_integers_and_digests_raw(sqlite_catalog):
    def kinds(connection):
        return connection.exec_driver_sql("SELECT typeof(id), typeof(digest), length(digest) FROM blob").first()

    save(sqlite_catalog, manifest_of(b"1"))
    assert sqlite_catalog.database.read(kinds) == ("integer", "blob", 32)


def test_both_ways_of_version_blob_are_indexed(sqlite_catalog):
    def plan(connection, column):
        query = f"EXPLAIN QUERY PLAN SELECT * FROM version_blob WHERE {column} = 1"
        return connection.exec_driver_sql(query).first()[3]

    plans = sqlite_catalog.database.read(
        lambda connection: [plan(connection, name) for name in ("version_id", "blob_id")]
    )
    assert "PRIMARY KEY" in plans[0]
    assert "COVERING INDEX" in plans[1]


def test_every_foreign_key_is_enforced(sqlite_catalog):
    def check(connection):
        return connection.exec_driver_sql("PRAGMA foreign_key_check").all()

    save(sqlite_catalog, manifest_of(b"1"))
    assert sqlite_catalog.database.read(check) == []
    assert {"version", "blob", "journal"} < set(metadata.tables)
