"""Verify: every kind of damage is found, named and set aside"""

import dataclasses
import sqlite3
from datetime import timedelta

import pytest

from artifactstore.core.errors import NoStore, Unavailable
from artifactstore.core.events import Step
from artifactstore.ops import collect, verify
from artifactstore.store import Store
from tests.ops.trees import Changed, contents


@pytest.fixture
def filled(any_store, model):
    any_store.add([model], name="m", aliases=["prod"])
    return any_store


def replace(store, key: str, raw: bytes | None) -> None:
    """Put other bytes where an object was, by the store's own back door"""
    store.depot.blobs.delete(key)
    if raw is not None:
        batch = store.depot.blobs.batch("spoiler")
        batch.write(key, raw)
        batch.publish()


DAMAGES = {
    "corrupt": lambda raw: bytes([raw[0] ^ 1]) + raw[1:],
    "truncated": lambda raw: raw[:-1],
    "missing": lambda raw: None,
}


def test_all_is_well(filled):
    report = filled.verify()
    assert (report.damaged, report.complete) == ((), True)
    assert report.bytes > 14 << 20


@pytest.mark.parametrize("kind", DAMAGES)
def test_each_kind_of_damage_to_a_blob(filled, kind):
    places = list(filled.depot.catalog.blobs.all())
    for place in places:
        replace(filled, place.key, DAMAGES[kind](filled.depot.blobs.read(place.key)))
    report = filled.verify()
    assert {damage.digest for damage in report.damaged} == {place.digest for place in places}
    assert {damage.kind for damage in report.damaged} == {kind}
    assert all(damage.versions == ("m:1",) for damage in report.damaged)
    assert all(place.state == "damaged" for place in filled.depot.catalog.blobs.all())
    assert filled.status()["damaged"] == len(places)
    set_aside = list(filled.depot.blobs.keys("quarantine/"))
    assert len(set_aside) == (0 if kind == "missing" else len(places))


@pytest.mark.parametrize("kind", DAMAGES)
def test_each_kind_of_damage_to_a_manifest(filled, kind):
    (place,) = filled.depot.catalog.blobs.manifests()
    replace(filled, place.key, DAMAGES[kind](filled.depot.blobs.read(place.key)))
    (damage,) = filled.verify().damaged
    assert (damage.what, damage.kind, damage.versions) == ("manifest", kind, ("m:1",))
    assert filled.status()["damaged"] == 1
    assert next(finding for finding in filled.doctor() if finding.what == "damage").status == "fail"


def test_an_object_that_grew_is_corrupt(filled):
    place = next(iter(filled.depot.catalog.blobs.all()))
    replace(filled, place.key, filled.depot.blobs.read(place.key) + b"x")
    assert [damage.kind for damage in filled.verify().damaged] == ["corrupt"]


def test_saving_the_same_content_again_heals(filled, model):
    for place in filled.depot.catalog.blobs.all():
        replace(filled, place.key, b"rot")
    assert filled.verify().damaged
    filled.add([model], name="m")
    assert filled.verify().damaged == ()


def test_only_some_versions_some_bytes_or_some_time(filled, tmp_path):
    (tmp_path / "other.txt").write_text("other")
    filled.add([tmp_path / "other.txt"], name="other")
    assert filled.verify(["other"]).bytes < 1000
    whole = filled.verify().bytes
    assert 0 < filled.verify(share=0.1).bytes < whole
    assert filled.verify(nbytes=1).blobs == 1
    hurried = filled.verify(limit=timedelta(seconds=0))
    assert (hurried.complete, hurried.blobs) == (False, 0)


def test_a_read_only_store_is_reported_on_and_left_alone(store, model):
    store.add([model], name="m")
    place = next(iter(store.depot.catalog.blobs.all()))
    replace(store, place.key, b"rot")
    with Store.open(store.depot.blobs.url, read_only=True) as reader:
        assert len(reader.verify().damaged) == 1
    assert store.depot.blobs.read(place.key) == b"rot"
    assert verify.plan(store.depot).to_json()["manifests"] == 1


@pytest.fixture
def local(store, model):
    store.add([model], name="m")
    return store


def reading_by(store, read_into):
    """The store, its blobs read in another way"""
    blobs = Changed(store.depot.blobs, read_into=read_into)
    return Store(dataclasses.replace(store.depot, blobs=blobs))


def test_one_bad_reading_of_sound_bytes_is_no_damage(local):
    flipped = []

    def flip_once(key, buffer, start=0):
        local.depot.blobs.read_into(key, buffer, start)
        if key.startswith("blobs/") and not flipped:
            flipped.append(key)
            buffer[0] ^= 1

    assert reading_by(local, flip_once).verify().damaged == ()
    assert flipped
    assert local.depot.catalog.blobs.damaged() == []


def test_what_cannot_be_read_is_told_and_left_where_it_is(local):
    broken, rotten, *_ = places = list(local.depot.catalog.blobs.all())
    replace(local, rotten.key, bytes(rotten.size))

    def failing(key, buffer, start=0):
        if key == broken.key:
            raise Unavailable("the disk reported an error", code="io")
        local.depot.blobs.read_into(key, buffer, start)

    report = reading_by(local, failing).verify()
    assert {damage.digest: damage.kind for damage in report.damaged} == {
        broken.digest: "unreadable",
        rotten.digest: "corrupt",
    }
    assert report.blobs == len(places)
    assert [place.digest for place in local.depot.catalog.blobs.damaged()] == [rotten.digest]
    assert local.depot.blobs.size(broken.key) == broken.size


def test_sound_bytes_that_were_given_up_are_told_until_they_are_repaired(local, model, tmp_path):
    (place, *_) = local.depot.catalog.blobs.all()
    local.depot.catalog.blobs.damage([place])
    assert [(damage.digest, damage.kind) for damage in local.verify().damaged] == [(place.digest, "missing")]
    assert local.repair().left == ()
    assert local.verify().damaged == ()
    local.checkout("m", tmp_path / "out")
    assert contents(tmp_path / "out") == contents(model)


def test_a_damaged_manifest_of_a_retired_version_needs_no_version(local):
    with sqlite3.connect(local.depot.blobs.root / "catalog.sqlite") as rows:
        rows.execute("update version set state = 'retired', retired_at = 1")
    rows.close()
    (place,) = local.depot.catalog.blobs.manifests()
    replace(local, place.key, bytes(place.size))
    (damage,) = local.verify().damaged
    assert (damage.what, damage.kind, damage.versions) == ("manifest", "corrupt", ())


def test_what_a_collection_takes_meanwhile_is_no_damage(any_store, tmp_path):
    for text in ("old", "new"):
        (tmp_path / "x").write_text(text)
        any_store.add([tmp_path / "x"], name="m")
    plan = verify.plan(any_store.depot)
    any_store.depot.catalog.retirements.retire({any_store.resolve("m:1").id: "test"})

    def die(event):
        if event == Step("gc.drop.before"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collect.run(dataclasses.replace(any_store.depot, monitor=die), timedelta(0), force=True)
    assert verify.run(any_store.depot, plan).damaged == ()
    collect.run(any_store.depot, timedelta(0), force=True)
    assert verify.run(any_store.depot, plan).damaged == ()


def test_a_manifest_larger_than_any_blob_is_sound(store, tmp_path):
    (tmp_path / "x").write_text("x")
    store.add([tmp_path / "x"], name="m", metadata={"x": "y" * (65 << 20)})
    report = store.verify()
    assert report.damaged == ()
    assert report.bytes > 65 << 20


def test_a_disk_that_went_away_damages_nothing(tmp_path, model):
    folder = tmp_path / "store"
    with Store.init(str(folder), f"sqlite:///{tmp_path}/catalog.sqlite") as store:
        store.add([model], name="m")
        plan = verify.plan(store.depot)
        folder.rename(tmp_path / "away")
        with pytest.raises(NoStore):
            verify.run(store.depot, plan)
        (tmp_path / "away").rename(folder)
        assert store.depot.catalog.blobs.damaged() == []
        assert store.verify().damaged == ()
