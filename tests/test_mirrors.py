"""Mirrors: one that is away, empty, another, or put back is told from one that lost something"""

import re
import shutil
from pathlib import Path

import pytest

from artifactstore.core.errors import Conflict, Unavailable
from artifactstore.store import Store
from tests.beside import ids, meaning


@pytest.fixture
def mirrored(beside):
    return beside.mirrored()


def test_a_mirror_that_is_not_mounted_has_lost_nothing(mirrored, beside):
    folder = Path(mirrored.depot.catalog.remotes.get("usb").url)
    held = mirrored.depot.catalog.remotes.held("usb")
    away = folder.rename(folder.with_name("away"))
    for empty in (False, True):
        if empty:
            folder.mkdir()
        for work in (mirrored.push, mirrored.pull, mirrored.sync, mirrored.plan_sync, mirrored.plan_push):
            with pytest.raises(Unavailable, match="mount its disk"):
                work("usb")
        with pytest.raises(Unavailable, match="nothing was taken for removed"):
            mirrored.sync("usb", delete=True, force=True)
        assert [(info.name, there) for info, there in mirrored.remote_ls()] == [("usb", False)]
    assert [(one.name, one.state) for one in mirrored.whereis("other")] == [("here", "here"), ("usb", "away")]
    folder.rmdir()
    Store.init(str(folder)).close()
    with pytest.raises(Conflict, match="another store"):
        mirrored.push("usb")
    shutil.rmtree(folder)
    away.rename(folder)
    assert mirrored.push("usb").plan.is_empty
    assert mirrored.depot.catalog.remotes.held("usb") == held


def test_an_empty_prefix_has_lost_nothing(beside):
    store = beside.store()
    store.add([beside.model(1)], name="m")
    store.remote_add("s3", beside.url("moto"))
    store.push("s3")
    blobs = beside.mirror_of(store, "s3").depot.blobs
    for key in list(blobs.keys("")):
        blobs.delete(key)
    with pytest.raises(Unavailable, match="bucket and prefix"):
        store.push("s3")
    assert store.depot.catalog.remotes.held("s3") == ids(store)


def test_a_mirror_put_back_is_noticed_by_all_and_the_way_out_works(mirrored, beside):
    info = mirrored.depot.catalog.remotes.get("usb")
    reader = beside.store()
    reader.remote_add("usb", info.url)
    reader.pull("usb")
    older = shutil.copytree(info.url, f"{info.url}-older")
    mirrored.add([beside.model(6)], name="new")
    mirrored.push("usb")
    reader.pull("usb")
    shutil.rmtree(info.url)
    shutil.move(older, info.url)
    for work in (mirrored.push, mirrored.sync, mirrored.pull, reader.pull, reader.plan_pull):
        with pytest.raises(Conflict, match="older state") as caught:
            work("usb")
        assert caught.value.code == "conflict.rollback"
    # as the message says: rebuild, which the next message follows by forgetting
    with pytest.raises(Conflict, match=re.escape(f"catalog rebuild --store {info.url} --catalog {info.catalog}")):
        mirrored.push("usb")
    Store.catalog_rebuild(info.url, info.catalog)
    with pytest.raises(Conflict, match="remote rm usb, then add it again"):
        mirrored.push("usb")
    for store in (mirrored, reader):
        store.remote_rm("usb")
        assert store.remote_add("usb", info.url).mirror == (store is mirrored)
    assert [one.ref for one in mirrored.push("usb").carried.versions] == ["new:1"]
    assert meaning(beside.mirror_of(mirrored)) == meaning(mirrored)
    assert reader.pull("usb").plan.is_empty
    assert beside.mirror_of(mirrored).verify().damaged == ()


def test_a_mirror_whose_catalog_is_lost_says_how_to_make_it(mirrored, beside):
    info = mirrored.depot.catalog.remotes.get("usb")
    for file in Path(mirrored.depot.blobs.url).glob("remotes/*"):
        file.unlink()
    with pytest.raises(Conflict, match=re.escape(f"catalog rebuild --store {info.url} --catalog {info.catalog}")):
        mirrored.push("usb")
    Store.catalog_rebuild(info.url, info.catalog)
    assert mirrored.push("usb").plan.is_empty
    # another made a catalog for it, and so took it
    Store.catalog_rebuild(info.url)
    with pytest.raises(Conflict, match="catalog rebuild --store"):
        mirrored.push("usb")
    Store.catalog_rebuild(info.url, info.catalog)
    assert mirrored.push("usb").plan.is_empty
