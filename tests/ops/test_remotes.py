"""Remotes: stores made known, mirrors made, and where each version is"""

import secrets
from pathlib import Path

import pytest

from artifactstore.blobs.memory import MemoryBlobs
from artifactstore.blobs.open import open_blobs
from artifactstore.core.errors import Conflict, Exists, Invalid
from artifactstore.core.settings import Settings
from artifactstore.depot import home_url, read_info
from artifactstore.store import Store


@pytest.fixture
def store(beside):
    store = beside.store()
    store.add([beside.model(1)], name="m")
    return store


@pytest.mark.parametrize("name", ["", "here", "-a", "a b", "a/b", "ä", "a" * 41, "..", "a\n"])
def test_names_that_no_remote_can_have(store, beside, name):
    with pytest.raises(Invalid, match="Not the name of a remote"):
        store.remote_add(name, beside.url("folder"))


def test_a_mirror_is_made_where_nothing_is(store, beside):
    place = Path(beside.url("folder"))
    info = store.remote_add("usb", str(place))
    assert (info.mirror, info.url) == (True, str(place))
    assert Path(store.depot.blobs.url, "remotes/usb.sqlite").is_file()
    # it holds no catalog of its own, which its owner keeps
    assert not list(place.glob("catalog*"))
    place = Path(beside.url("folder"))
    place.mkdir()
    (place / "photo.jpg").write_bytes(b"x")
    inside = store.remote_add("disk", str(place))
    assert inside.url == str(place / ".artstore")
    store.push("disk")


def test_beside_what_and_on_what_it_may_not_be(store, beside):
    with pytest.raises(Invalid, match="mount its disk"):
        store.remote_add("usb", f"{beside.folder}/no/such/place")
    with pytest.raises(Invalid, match="this store itself"):
        store.remote_add("usb", store.depot.blobs.url)
    with pytest.raises(Invalid):
        store.remote_add("usb", "gopher://x")
    assert store.remote_ls() == []
    assert not list(Path(store.depot.blobs.url).glob("remotes/*"))


def test_a_mirror_that_was_forgotten_is_known_again(store, beside):
    place = beside.url("folder")
    first = store.remote_add("usb", place)
    store.push("usb")
    store.remote_rm("usb")
    again = store.remote_add("stick", place)
    assert (again.mirror, again.catalog) == (True, first.catalog)
    assert store.push("stick").plan.is_empty
    # another mirror under the old name has a catalog of its own
    other = store.remote_add("usb", beside.url("folder"))
    assert other.catalog != first.catalog
    store.push("usb")
    with pytest.raises(Exists, match="remote rm usb"):
        store.remote_add("usb", place)


def test_a_relative_folder_is_found_from_anywhere(store, beside, monkeypatch):
    monkeypatch.chdir(beside.folder)
    info = store.remote_add("usb", "relative")
    assert info.url == str(beside.folder / "relative")
    monkeypatch.chdir("/")
    store.push("usb")


def test_a_store_on_s3_says_where_the_catalog_of_its_mirror_goes(beside):
    store = beside.store("moto")
    with pytest.raises(Invalid, match="--remote-catalog"):
        store.remote_add("usb", beside.url("folder"))
    info = store.remote_add("usb", beside.url("folder"), beside.catalog())
    assert info.mirror
    store.push("usb")


def test_a_catalog_of_another_store(store, beside):
    other, third = beside.store(), beside.store()
    with pytest.raises(Conflict, match="belongs to another store"):
        store.remote_add("them", other.depot.blobs.url, third.depot.catalog.url)
    assert store.remote_ls() == []


def test_in_memory(store, beside):
    url = f"memory://{secrets.token_hex(4)}"
    info = store.remote_add("ram", url)
    assert (info.url, info.mirror) == (url, True)
    report = store.push("ram")
    blobs = open_blobs(url, Settings())
    assert isinstance(blobs, MemoryBlobs)
    assert read_info(blobs).store_id == info.store_id
    assert report.carried.blobs == sum(1 for _ in blobs.keys("blobs/"))
    assert home_url(url, Settings()) == url


def test_whereabouts(store, beside):
    assert [one.to_json() for one in store.whereis("m")] == [
        {"name": "here", "url": store.depot.blobs.url, "state": "here", "at": None}
    ]
    for name in ("usb", "disk"):
        store.remote_add(name, beside.url("folder"))
        store.push(name)
    Path(store.depot.catalog.remotes.get("usb").url).rename(beside.folder / "away")
    found = store.whereis("m")
    assert [(one.name, one.state) for one in found] == [("here", "here"), ("disk", "reachable"), ("usb", "away")]
    assert all(one.at > 0 for one in found[1:])
    assert [(info.name, there) for info, there in store.remote_ls()] == [("disk", True), ("usb", False)]
    store.remote_rm("usb")
    assert [one.name for one in store.whereis("m")] == ["here", "disk"]


def test_what_a_rebuilt_catalog_knows_of_them(store, beside):
    store.remote_add("usb", beside.url("folder"))
    store.push("usb")
    before = list(store.catalog_dump())
    url = store.depot.blobs.url
    store.close()
    Store.catalog_rebuild(url)
    again = beside.open(url)
    assert list(again.catalog_dump()) == before
    assert again.push("usb").plan.is_empty
