"""Batches: more values than a statement takes"""

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.catalog.batches import CHUNK, chunks, insert_new, select_in, upsert
from artifactstore.catalog.tables import artifact, lease_pin, load
from tests.contract.catalog import begin, manifest_of, rows, save


@given(st.lists(st.integers(), max_size=3 * CHUNK))
def test_chunks_hold_all_in_order(values):
    parts = list(chunks(values))
    assert [one for part in parts for one in part] == values
    assert all(0 < len(part) <= CHUNK for part in parts)


@pytest.mark.parametrize("count", [0, 1, CHUNK, CHUNK + 1])
def test_many_keys_are_all_asked_for(catalog, count):
    names = [f"n{number}" for number in range(count)]

    def work(connection):
        insert_new(connection, artifact, [{"name": name} for name in names])
        return [
            row.name for row in select_in(connection, sa.select(artifact.c.name), artifact.c.name, [*names, "none"])
        ]

    assert sorted(catalog.database.write(work)) == sorted(names)


def test_what_is_there_already_is_left_alone(catalog):
    lease_id = begin(catalog)
    pins = [{"lease_id": lease_id, "digest": bytes([at]) * 32, "inc": "0" * 16} for at in (1, 2, 1)]
    for _ in range(2):
        catalog.database.write(lambda connection: insert_new(connection, lease_pin, pins))
    assert len(rows(catalog, lease_pin)) == 2


def test_what_is_there_already_is_replaced(catalog):
    save(catalog, manifest_of(b"1"))
    for at in (5, 6):
        catalog.database.write(lambda connection, at=at: upsert(connection, load, [{"version_id": 1, "last_load": at}]))
    catalog.database.write(lambda connection: upsert(connection, load, []))
    assert [row.last_load for row in rows(catalog, load)] == [6]
