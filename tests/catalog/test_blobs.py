"""Blob rows: where objects lie, and which are damaged"""

import pytest

from artifactstore.catalog.batches import CHUNK
from artifactstore.catalog.tables import blob
from artifactstore.core.digest import Digest
from tests.contract.catalog import bodies, check_chain, manifest_of, rows, save, set_state


@pytest.fixture
def two(catalog):
    made = save(catalog, manifest_of(b"1", b"22")), save(catalog, manifest_of(b"22", b"333", name="org/n"))
    return [one.version.id for one in made]


def digests(places):
    """Sorted, each once"""
    found = [place.digest for place in places]
    assert len(set(found)) == len(found)
    return sorted(found)


ONE, TWO, THREE = (Digest.of(data) for data in (b"1", b"22", b"333"))


def test_a_place_says_where_a_blob_lies(catalog, two):
    found = catalog.blobs.places([ONE, THREE, Digest.of(b"none")])
    assert set(found) == {ONE, THREE}
    place = found[THREE]
    assert (place.size, place.stored, place.start, place.state) == (3, 3, 0, "live")
    assert place.key == f"blobs/xx/{THREE}.{place.inc}"
    assert catalog.blobs.places([]) == {}


@pytest.mark.parametrize("batch", [1, 2, 3, 1000])
def test_all_that_may_be_read_are_given(catalog, two, batch):
    set_state(catalog, b"1", "condemned")
    set_state(catalog, b"22", "damaged")
    assert digests(catalog.blobs.all(batch=batch)) == sorted([ONE, TWO, THREE])
    assert digests(catalog.blobs.all(versions=two[:1], batch=batch)) == sorted([ONE, TWO])
    assert digests(catalog.blobs.all(versions=two, batch=batch)) == sorted([ONE, TWO, THREE])
    set_state(catalog, b"1", "deleting")
    assert digests(catalog.blobs.all(batch=batch)) == sorted([TWO, THREE])
    assert digests(catalog.blobs.all(versions=two[:1], batch=batch)) == [TWO]


def test_of_no_versions_there_are_none(catalog, two):
    assert list(catalog.blobs.all(versions=[])) == list(catalog.blobs.manifests(versions=[])) == []


def test_manifests_likewise(catalog, two):
    assert digests(catalog.blobs.manifests()) == sorted(two)
    assert digests(catalog.blobs.manifests(versions=two[1:])) == two[1:]


def test_more_than_a_chunk(sqlite_catalog):
    contents = [b"%d" % number for number in range(CHUNK + 3)]
    done = save(sqlite_catalog, manifest_of(*contents))
    assert len(list(sqlite_catalog.blobs.all(versions=[done.version.id]))) == CHUNK + 3
    assert len(sqlite_catalog.blobs.places([Digest.of(data) for data in contents])) == CHUNK + 3


def test_totals_count_what_lives(catalog, two):
    assert catalog.blobs.totals() == (3, 6)
    set_state(catalog, b"333", "condemned")
    assert catalog.blobs.totals() == (2, 3)


def test_totals_of_nothing(catalog):
    assert catalog.blobs.totals() == (0, 0)


def test_quarantine_hits_exactly_what_was_found_bad(catalog, two):
    first, second, third = (catalog.blobs.places([ONE, TWO, THREE])[digest] for digest in (ONE, TWO, THREE))
    set_state(catalog, b"22", "condemned")
    set_state(catalog, b"333", "deleting")
    assert catalog.blobs.damage([first, second, third]) == 3
    assert digests(catalog.blobs.damaged()) == sorted([ONE, TWO])
    assert bodies(catalog)[2]["actions"] == [
        {"do": "damaged", "blobs": [[str(first.digest), first.inc], [str(second.digest), second.inc]]}
    ]
    check_chain(catalog)


def test_quarantine_of_what_was_healed_meanwhile_does_nothing(catalog, two):
    old = catalog.blobs.places([ONE])[ONE]
    catalog.blobs.damage([old])
    save(catalog, manifest_of(b"1", name="org/heals"))
    serial = catalog.journal.head()[0]
    assert catalog.blobs.damage([old]) == serial
    assert catalog.blobs.damaged() == []


def test_manifests_in_quarantine(catalog, two):
    [place] = catalog.blobs.manifests(versions=two[:1])
    assert catalog.blobs.damage_manifests([place]) == 3
    assert digests(catalog.blobs.damaged_manifests()) == two[:1]
    [action] = bodies(catalog)[2]["actions"]
    assert list(action) == ["do", "manifests", "memories"]
    assert [(one["id"], one["file_count"]) for one in action["memories"]] == [(str(two[0]), 1)]
    assert catalog.versions.manifest_place(two[0]).state == "damaged"


def test_what_was_checked_is_noted(catalog, two):
    catalog.blobs.checked([ONE, THREE], 77)
    assert {row.digest: row.checked_at for row in rows(catalog, blob)} == {ONE: 77, TWO: None, THREE: 77}
