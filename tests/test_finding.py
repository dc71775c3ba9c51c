"""Finding: what is here, what is read from where a clone came from, and what is nowhere"""

from pathlib import Path

import pytest

from artifactstore.core.errors import NotFound, Unavailable
from artifactstore.core.events import Warn
from artifactstore.store import Store
from tests.beside import ids


@pytest.fixture
def cloned(beside):
    """A store and its clone, which holds one of its three versions"""
    store = beside.store()
    beside.family(store)
    clone = beside.clone(store.depot.blobs.url)
    clone.pull("origin", ["org/base"])
    return store, clone


def listed(store):
    return {one.ref for one in store.elsewhere(lambda depot: depot.catalog.versions.list())}


def test_a_store_that_was_not_cloned_has_no_origin(beside):
    store = beside.store()
    store.add([beside.model(1)], name="m")
    assert store.origin() is None
    assert listed(store) == set()
    assert store.find("m")[0] is store.depot
    assert store.together("m", "m:1")[0] is store.depot
    for find in (store.find, store.known, store.together):
        with pytest.raises(NotFound):
            find("nope")


def test_here_first_then_there(cloned):
    store, clone = cloned
    assert clone.find("org/base")[0] is clone.depot
    depot, version = clone.find("other")
    assert (depot is clone.origin(), version.ref) == (True, "other:1")
    assert clone.origin() is clone.origin()
    assert listed(clone) == {"org/tuned:1", "other:1"}
    assert clone.together("org/base", "org/base:1")[0] is clone.depot
    found, versions = clone.together("org/base", "other")
    assert (found, [one.ref for one in versions]) == (clone.origin(), ["org/base:1", "other:1"])
    with pytest.raises(NotFound, match="'nope'"):
        clone.find("nope")
    assert ids(store) > ids(clone)


def test_one_only_here_and_one_only_there(cloned, beside):
    _, clone = cloned
    clone.add([beside.model(50)], name="mine")
    with pytest.raises(NotFound, match="mine:1 is only here, other:1 only in the origin"):
        clone.together("mine", "other")


def test_what_was_retired_is_known_by_its_number(cloned, beside):
    store, clone = cloned
    gone = store.resolve("other")
    store.add([beside.model(60)], name="other")
    store.depot.catalog.retirements.retire({gone.id: "old"})
    store.depot.acknowledge()
    depot, version = clone.known(str(gone.id)[:16])
    assert (depot is clone.origin(), version.id, version.state) == (True, gone.id, "retired")
    assert clone.show("other:1")["retired"]["why"] == "old"
    with pytest.raises(NotFound):
        clone.known("nope")


def test_an_origin_that_is_away(cloned, beside):
    store, clone = cloned
    Path(store.depot.blobs.url).rename(beside.folder / "away")
    told = []
    other = beside.keep(Store.open(clone.depot.blobs.url, settings=beside.settings, monitor=told.append))
    assert other.find("org/base")[0] is other.depot
    assert listed(other) == set()
    assert [type(event) for event in told if isinstance(event, Warn)] == [Warn]
    for find in (other.find, other.known):
        with pytest.raises(Unavailable, match="mount"):
            find("other")
    (beside.folder / "away").rename(store.depot.blobs.url)
    assert listed(other) == {"org/tuned:1", "other:1"}


def test_what_was_found_is_let_go(cloned):
    _, clone = cloned
    first = clone.origin()
    clone._opened.close()
    clone._elsewhere = None
    assert clone.origin() is not first
