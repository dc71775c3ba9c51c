"""Clones: what is not held is read from where it came, through a cache"""

from pathlib import Path

import pytest

from artifactstore.core.errors import Exists, Invalid, NotFound, Offline, Unavailable
from artifactstore.store import Store
from tests.beside import ids


@pytest.fixture
def mirrored(beside):
    return beside.mirrored()


def test_a_clone_reads_through_until_it_holds(mirrored, beside):
    clone = beside.clone(mirrored.depot.blobs.url)
    assert clone.ls() == []
    assert len(clone.elsewhere(lambda depot: depot.catalog.versions.list())) == 3
    assert clone.show("org/base@prod")["ref"] == "org/base:1"
    assert [one.name for one in clone.whereis("other")] == ["origin"]
    beside.checked(clone, "org/tuned", 2)
    assert clone.diff("org/base", "org/tuned").files.changed
    assert "config.json" in clone.export("checksums", "other")
    assert clone.tree("org/tuned").nodes
    assert clone.why("org/base").keeps
    assert set(clone.load("other")) == {"own", "same", "more"}
    clone.pull("origin", ["other"])
    assert [one.ref for one in clone.ls()] == ["other:1"]
    assert [one.name for one in clone.whereis("other")] == ["here", "origin"]
    assert clone.diff("org/base", "other").files.changed
    clone.add([beside.model(40)], name="mine")
    with pytest.raises(NotFound, match="artstore pull origin org/base:1"):
        clone.diff("mine", "org/base")
    clone.pull("origin")
    assert ids(clone) > ids(mirrored)
    Path(mirrored.depot.blobs.url).rename(beside.folder / "gone")
    away = beside.open(clone.depot.blobs.url)
    beside.checked(away, "org/tuned", 2)
    assert len(away.ls()) == 4
    with pytest.raises(Unavailable, match="mount"):
        away.checkout("nothing-here", beside.folder / "x")


def test_a_clone_of_a_bucket_keeps_what_it_reads(beside, monkeypatch):
    store = beside.store("moto")
    store.add([beside.model(1)], name="m")
    dest = beside.url("folder")
    clone = beside.clone(store.depot.blobs.url, dest)
    beside.checked(clone, "m", 1)
    assert any(Path(dest, "cache").rglob("*"))
    for place in store.depot.catalog.blobs.all():
        store.depot.blobs.delete(place.key)
    beside.checked(beside.open(dest), "m", 1)
    with pytest.raises(Offline):
        beside.open(dest, offline=True).checkout("m", beside.folder / "offline")
    assert beside.open(dest, offline=True).elsewhere(lambda depot: depot.catalog.versions.list()) == ()


def test_where_a_clone_may_go(mirrored, beside):
    url = mirrored.depot.blobs.url
    dest = beside.url("folder")
    beside.clone(url, dest)
    beside.clone(url, dest)
    other = beside.store()
    with pytest.raises(Exists, match="remote"):
        beside.clone(other.depot.blobs.url, dest)
    other.add([beside.model(1)], name="m")
    with pytest.raises(Exists, match="empty folder"):
        beside.clone(url, other.depot.blobs.url)
    with pytest.raises(Invalid, match="other files"):
        beside.clone(url, str(beside.model(1)))
    with pytest.raises(NotFound):
        beside.clone(str(beside.folder / "nothing"), beside.url("folder"))
    unfinished = Store.init(beside.url("folder"))
    assert beside.clone(url, unfinished.depot.blobs.url).origin() is not None
