"""Verify: every kind of damage is found, named and set aside"""

from datetime import timedelta

import pytest

from artifactstore.ops import verify
from artifactstore.store import Store


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
