"""Object rows: found, adopted, or set to what a lease wrote"""

import pytest
import sqlalchemy as sa

from artifactstore.catalog.base import Grant, Written
from artifactstore.catalog.objects import GONE, PRESENT, find, is_apart, settle
from artifactstore.catalog.tables import blob, manifest
from artifactstore.core.digest import Digest
from artifactstore.core.errors import Invalid, LeaseLost
from tests.contract.catalog import inc, manifest_of, rows, save, set_state


def written(content: bytes, *, upload=True, suffix=""):
    grant = Grant(Digest.of(content), inc(), upload)
    return Written(grant, len(content), f"blobs/xx/{grant.digest}.{grant.inc}{suffix}")


def settled(catalog, *objects):
    return catalog.database.write(lambda connection: settle(connection, blob, objects))


@pytest.mark.parametrize("state", [*PRESENT, *GONE, None])
def test_every_state_is_settled_alive(catalog, state):
    if state is not None:
        save(catalog, manifest_of(b"1"))
        set_state(catalog, b"1", state)
    before = [row.inc for row in rows(catalog, blob)]
    ours = written(b"1")
    [one] = settled(catalog, ours)
    [row] = rows(catalog, blob)
    assert (row.id, row.inc, row.state) == (one.row, one.inc, "live")
    adopted = state in PRESENT
    assert row.inc == (before[0] if adopted else ours.grant.inc)
    assert (one.how, one.lost) == (("adopted", True) if adopted else ("set", False))
    assert one.to_json() == [str(ours.grant.digest), one.inc, one.how]


def test_what_was_found_and_kept_is_not_lost(catalog):
    save(catalog, manifest_of(b"1"))
    [one] = settled(catalog, written(b"1", upload=False))
    assert (one.how, one.lost) == ("adopted", False)


@pytest.mark.parametrize("state", [*GONE, None])
def test_what_was_relied_on_and_is_gone_sends_back(catalog, state):
    if state is not None:
        save(catalog, manifest_of(b"1"))
        set_state(catalog, b"1", state)
    with pytest.raises(LeaseLost):
        settled(catalog, written(b"0"), written(b"1", upload=False))
    assert not catalog.database.read(lambda connection: find(connection, blob, [Digest.of(b"0")]))


def test_only_a_blobs_own_key_is_a_place_yet(catalog):
    for suffix in (".z", ".json", "x"):
        with pytest.raises(Invalid, match="is not that of"):
            settled(catalog, written(b"1", suffix=suffix))


def test_nothing_at_all(catalog):
    assert settled(catalog) == []


def test_they_come_back_in_the_order_asked(catalog):
    contents = [b"%d" % number for number in range(20)]
    save(catalog, manifest_of(*contents[::3]))
    found = settled(catalog, *map(written, contents))
    assert [one.grant.digest for one in found] == [Digest.of(data) for data in contents]


@pytest.mark.parametrize("state", GONE)
def test_several_that_are_gone(catalog, state):
    contents = [b"%d" % number for number in range(5)]
    save(catalog, manifest_of(*contents))
    for content in contents:
        set_state(catalog, content, state)
    ours = [written(content) for content in contents]
    assert [one.inc for one in settled(catalog, *ours)] == [one.grant.inc for one in ours]
    assert {row.state for row in rows(catalog, blob)} == {"live"}


@pytest.mark.parametrize("table", [blob, manifest])
@pytest.mark.parametrize("state", ["condemned", "deleting", "damaged"])
def test_what_is_apart_is_found_without_reading_all_rows(sqlite_catalog, table, state):
    query = sa.select(table.c.id).where(is_apart(table, state)).order_by(table.c.id)
    plan = sa.text(f"EXPLAIN QUERY PLAN {query.compile(compile_kwargs={'literal_binds': True})}")
    told = " ".join(str(row) for row in sqlite_catalog.database.rows(plan))
    assert f"ix_{table.name}_state" in told
    assert "SCAN" not in told
