"""Repair: what is damaged comes back from another store, from plain files, or from what was set aside"""

import dataclasses

import numpy as np
import pytest

from artifactstore.core.errors import NotFound
from artifactstore.core.events import Step
from artifactstore.ops import repair
from artifactstore.store import Store
from tests.ops.test_verify import replace
from tests.ops.trees import contents


@pytest.fixture
def damaged(any_store, model):
    any_store.add([model], name="m")
    for place in any_store.depot.catalog.blobs.all():
        replace(any_store, place.key, None)
    any_store.verify()
    return any_store


def test_from_plain_files_wherever_they_lie(damaged, model, tmp_path):
    moved = tmp_path / "moved"
    moved.mkdir()
    for number, path in enumerate(path for path in model.rglob("*") if path.is_file()):
        path.rename(moved / f"file{number}")
    (moved / "decoy").write_bytes(bytes((moved / "file0").stat().st_size))
    expected = contents(moved)
    report = damaged.repair(source=str(moved))
    assert report.left == ()
    assert damaged.verify().damaged == ()
    damaged.checkout("m", tmp_path / "out")
    assert set(contents(tmp_path / "out").values()) <= set(expected.values())


def test_from_another_store_blobs_and_manifests(damaged, model, tmp_path):
    (place,) = damaged.depot.catalog.blobs.manifests()
    replace(damaged, place.key, None)
    damaged.verify()
    with Store.init(str(tmp_path / "other")) as other:
        other.add([model], name="m")
    report = damaged.repair(["m"], source=str(tmp_path / "other"))
    assert report.left == ()
    assert damaged.verify().damaged == ()
    damaged.checkout("m", tmp_path / "out")
    assert contents(tmp_path / "out") == contents(model)


def test_a_donor_that_lies_is_not_believed(damaged, model, tmp_path):
    with Store.init(str(tmp_path / "other")) as other:
        other.add([model], name="m")
        for place in other.depot.catalog.blobs.all():
            raw = bytearray(other.depot.blobs.read(place.key))
            raw[0] ^= 1
            replace(other, place.key, bytes(raw))
    report = damaged.repair(source=str(tmp_path / "other"))
    assert report.healed == ()
    assert len(report.left) == len(list(damaged.depot.catalog.blobs.all()))


def test_what_was_set_aside_by_mistake_comes_back_by_itself(any_store, model):
    any_store.add([model], name="m")
    places = list(any_store.depot.catalog.blobs.all())
    any_store.depot.catalog.blobs.damage(places)
    for place in places:
        any_store.depot.blobs.quarantine(place.key)
    assert any_store.repair().left == ()
    assert any_store.verify().damaged == ()


def test_nothing_to_do_and_nowhere_to_get_it(store, model, tmp_path):
    store.add([model], name="m")
    assert store.repair().healed == ()
    assert repair.plan(store.depot).to_json() == {"blobs": [], "manifests": []}
    place = next(iter(store.depot.catalog.blobs.all()))
    replace(store, place.key, None)
    store.verify()
    with pytest.raises(NotFound, match="No such file or folder"):
        store.repair(source=str(tmp_path / "nowhere"))
    (tmp_path / "useless").mkdir()
    np.save(tmp_path / "useless/x.npy", np.zeros(3))
    assert len(store.repair(source=str(tmp_path / "useless")).left) == 1


def test_a_manifest_that_is_gone_everywhere_leaves_its_blobs_to_other_versions(damaged, model, tmp_path):
    (place,) = damaged.depot.catalog.blobs.manifests()
    replace(damaged, place.key, None)
    damaged.verify()
    report = damaged.repair(source=str(model))
    assert report.healed == ()
    assert place.digest in report.left
    damaged.add([model], name="m")
    assert damaged.repair(source=str(model)).left == ()
    assert damaged.verify().damaged == ()


def test_a_single_plain_file_is_enough_for_its_blobs(store, tmp_path):
    path = tmp_path / "w.bin"
    path.write_bytes(np.random.default_rng(3).bytes(6 << 20))
    store.add([path], name="m")
    for place in store.depot.catalog.blobs.all():
        replace(store, place.key, None)
    store.verify()
    assert store.repair(source=str(path)).left == ()
    store.checkout("m", tmp_path / "out")
    assert contents(tmp_path / "out") == {"w.bin": path.read_bytes()}


def test_a_blob_whose_damage_was_healed_meanwhile_is_found_not_written(store, model):
    store.add([model], name="m")
    (place, *_) = store.depot.catalog.blobs.all()
    store.depot.catalog.blobs.damage([place])
    plan = repair.plan(store.depot)
    store.repair()
    before = set(store.depot.blobs.keys("blobs/"))
    report = repair.run(store.depot, plan)
    assert report.left == ()
    assert set(store.depot.blobs.keys("blobs/")) == before


def test_a_repair_that_a_save_came_before_drops_its_own_copy(store, tmp_path):
    path = tmp_path / "x.bin"
    path.write_bytes(b"x" * 100)
    store.add([path], name="m")
    (place,) = store.depot.catalog.blobs.all()
    replace(store, place.key, None)
    store.verify()
    saved = []

    def save(event):
        if event == Step("repair.commit.before") and not saved:
            saved.append(store.add([path], name="other"))

    depot = dataclasses.replace(store.depot, monitor=save)
    assert repair.run(depot, repair.plan(depot), files=path).left == ()
    assert saved
    assert [place.key for place in store.depot.catalog.blobs.all()] == list(store.depot.blobs.keys("blobs/"))
    assert store.verify().damaged == ()
