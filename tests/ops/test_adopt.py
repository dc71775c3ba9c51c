"""Adopt: what nobody committed becomes a version only when all of it is here and whole"""

import pytest

from artifactstore.blobs.local import LocalBlobs
from artifactstore.core.digest import Digest
from artifactstore.ops import adopt, rebuild, verify
from artifactstore.store import Store
from tests.crash.stores import Place
from tests.histories import CONTENTS, History


def rebuilt(place):
    return rebuild.run(rebuild.plan(str(place.folder)))


@pytest.fixture
def orphaned(tmp_path):
    """A store whose last two saves no record names"""
    place = Place(tmp_path / "store", None)
    place.make()
    with place.open() as depot:
        history = History(depot)
        history.run([("save", 0, 0, 1), ("link", 1, 1, 2), ("save", 0, 3, 3), ("save", 1, 3, 1)])
        for key in sorted(depot.blobs.keys("journal/"))[-2:]:
            depot.blobs.delete(key)
    for path in place.folder.glob("catalog.sqlite*"):
        path.unlink()
    return place, history


def test_they_are_told_and_not_resurrected(orphaned):
    place, history = orphaned
    report = rebuilt(place)
    assert set(report.uncommitted) == set(history.ids[-2:])
    with place.open() as depot:
        assert not set(history.ids[-2:]) & {one.id for one in depot.catalog.versions.list()}


def test_they_become_versions_with_numbers_of_their_own(orphaned):
    place, history = orphaned
    report = rebuilt(place)
    with place.open() as depot:
        done = adopt.run(depot, report.uncommitted)
        assert {one.id for one in done.adopted} == set(history.ids[-2:])
        assert done.left == ()
        assert verify.run(depot, verify.plan(depot)).damaged == ()
    assert rebuilt(place).uncommitted == ()


@pytest.mark.parametrize("what", ["blob", "manifest", "shared"])
def test_what_is_not_whole_is_left_with_the_reason(orphaned, what):
    place, history = orphaned
    last = str(history.ids[-1])
    keys = {"blob": blob_prefix(3), "shared": blob_prefix(1), "manifest": f"manifests/{last[:2]}/{last}"}
    blobs = LocalBlobs(place.folder)
    for key in list(blobs.keys(keys[what])):
        blobs.replace(key, b"?" * blobs.size(key))
    report = rebuilt(place)
    with place.open() as depot:
        done = adopt.run(depot, report.uncommitted)
        assert history.ids[-1] in [digest for digest, _ in done.left]
        assert history.ids[-1] not in {one.id for one in depot.catalog.versions.list()}
        assert depot.catalog.leases.active() == []


def test_what_needs_a_version_that_was_retired_is_left(tmp_path):
    file, folder = tmp_path / "w.bin", tmp_path / "store"
    with Store.init(str(folder)) as store:
        for name, created in (("base", 1), ("base", 2), ("style", 3)):
            file.write_bytes(name.encode() * created)
            parents = [store.link("base:1", "adapter")] if name == "style" else []
            store.add([file], name=name, created=created, parents=parents)
        store.depot.blobs.delete(max(store.depot.blobs.keys("journal/")))
    for path in folder.glob("catalog.sqlite*"):
        path.unlink()
    [child] = rebuild.run(rebuild.plan(str(folder))).uncommitted
    with Store.open(str(folder)) as store:
        serial = store.depot.catalog.retirements.retire({store.resolve("base:1").id: "test"}).serial
        [(left, why)] = adopt.run(store.depot, [child]).left
        assert left == child
        assert "was retired" in why
        store.undo(serial)
        assert adopt.run(store.depot, [child]).left == ()


def blob_prefix(number):
    digest = str(Digest.of(CONTENTS[number]))
    return f"blobs/{digest[:2]}/{digest}"
