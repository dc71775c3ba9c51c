"""Products: versions whose tensors are calculated as they are stored"""

import hashlib
from dataclasses import replace
from datetime import timedelta
from functools import cache, partial

import numpy as np
import pytest

from artifactstore.core.digest import Digest
from artifactstore.core.errors import Invalid, NoSpace
from artifactstore.core.lineage import Link, Relation
from artifactstore.core.names import ArtifactName
from artifactstore.derive.making import Made, laid_out, safetensors_file
from artifactstore.derive.product import Product, known, produce
from artifactstore.ops.ingest import Labels

SIZES = {"a": 5 << 20, "b": 100, "c": 9 << 20, "d": 4096, "e": 70 << 20, "f": 64, "empty": 0}


class Maker:
    """Tensors of bytes that follow from their names, and which of them were made"""

    def __init__(self, sizes=SIZES, stop=None):
        self.sizes, self.stop, self.made = sizes, stop, []

    def bytes_of(self, name):
        return _drawn(name, self.sizes[name])

    def make(self, name):
        if name == self.stop:
            raise KeyboardInterrupt
        self.made.append(name)
        raw = memoryview(self.bytes_of(name))
        for begin in range(0, len(raw), 3_000_001):
            yield raw[begin : begin + 3_000_001]

    def file(self, path="model.safetensors"):
        return safetensors_file(
            path,
            [
                Made(name, "U8", (size,), size, Digest.of(name.encode()), partial(self.make, name))
                for name, size in self.sizes.items()
            ],
        )


@cache
def _drawn(name, size):
    return np.random.default_rng(list(name.encode())).bytes(size)


def product(*files, name="m", **changes):
    return replace(Product(ArtifactName(name), Labels(created=5), tuple(files)), **changes)


def written(store, tmp_path, ref="m"):
    dest = tmp_path / "out"
    store.checkout(ref, dest)
    return (dest / "model.safetensors").read_bytes()


def test_the_file_is_what_was_made(store, tmp_path):
    maker = Maker()
    report = produce(store.depot, product(maker.file()))
    assert (report.made, report.known) == (6, 0)
    raw = written(store, tmp_path)
    assert raw == maker.file().head + b"".join(map(maker.bytes_of, SIZES))
    [file] = store.show("m")["files"]
    assert file["sha256"] == hashlib.sha256(raw).hexdigest()
    assert store.verify().damaged == ()


def test_it_is_the_version_that_adding_the_file_gives(store, tmp_path):
    report = produce(store.depot, product(Maker().file()))
    (tmp_path / "model.safetensors").write_bytes(written(store, tmp_path))
    before = store.status()["stored_bytes"]
    store.add([tmp_path / "model.safetensors"], name="other")
    assert store.status()["stored_bytes"] - before < 2000  # a manifest: the blobs are the same
    assert report.committed.version.ref == "m:1"


def test_a_second_run_makes_nothing_and_is_the_same_version(store):
    one = produce(store.depot, product(Maker().file()))
    maker = Maker()
    two = produce(store.depot, product(maker.file()))
    assert two.committed.version.id == one.committed.version.id
    assert (maker.made, two.made, two.known, two.new_bytes) == ([], 0, 6, 0)


def test_a_neighbour_makes_what_is_new(store):
    produce(store.depot, product(Maker().file()))
    maker = Maker(SIZES | {"new": 300})
    report = produce(store.depot, product(maker.file(), name="n"))
    assert maker.made == ["new"]
    assert report.new_bytes < 5 << 20


@pytest.mark.parametrize("stop", ["b", "c", "d", "e", "f"])
def test_what_landed_before_an_end_is_not_made_again(store, tmp_path, stop):
    first = Maker(stop=stop)
    with pytest.raises(KeyboardInterrupt):
        produce(store.depot, product(first.file()))
    assert store.ls() == []
    landed = {one.name for one in first.file().made if one.key in known(store.depot, first.file().made)}
    assert bool(landed) == (stop in {"d", "e", "f", "empty"})
    second = Maker()
    produce(store.depot, product(second.file()))
    assert not landed & set(second.made)
    assert second.made == [name for name in SIZES if name not in landed | {"empty"}]
    assert written(store, tmp_path) == second.file().head + b"".join(map(second.bytes_of, SIZES))


def test_what_a_collection_took_is_made_again(store):
    with pytest.raises(KeyboardInterrupt):
        produce(store.depot, product(Maker(stop="f").file()))
    for _ in range(2):
        store.gc(store.plan_gc(grace=timedelta(0)), force=True)
    maker = Maker()
    produce(store.depot, product(maker.file()))
    assert set(maker.made) == set(SIZES) - {"empty"}
    assert store.verify().damaged == ()


def test_parents_are_held_and_linked(store):
    parent = produce(store.depot, product(Maker().file())).committed.version
    link = Link(Relation.MERGE, "m:1", parent.id, 0.5)
    produce(store.depot, product(Maker({"z": 10}).file(), name="child", parents=(link,)))
    [one] = store.show("child")["parents"]
    assert (one["relation"], one["weight"], one["ref"]) == ("merge", 0.5, "m:1")


def test_other_formats_have_zeros_between(store, tmp_path):
    maker = Maker({"x": 10, "y": 20})
    made = list(maker.file().made)
    file = laid_out("model.safetensors", b"HEAD", [(made[0], 32), (made[1], 64)], size=100, form="other")
    produce(store.depot, product(file))
    expected = b"HEAD" + bytes(28) + maker.bytes_of("x") + bytes(22) + maker.bytes_of("y") + bytes(16)
    assert written(store, tmp_path) == expected


@pytest.mark.parametrize("wrong", [9, 11])
def test_a_maker_that_miscounts_is_told(store, wrong):
    made = Made("t", "U8", (10,), 10, None, lambda: iter([memoryview(bytes(wrong))]))
    with pytest.raises(Invalid, match=f"'t' came to {wrong} bytes instead of 10"):
        produce(store.depot, product(safetensors_file("model.safetensors", [made])))
    assert store.ls() == []


def test_no_room_is_said_before_any_work(store, tmp_path):
    made = Made("t", "U8", (1 << 52,), 1 << 52, None, lambda: iter(()))
    with pytest.raises(NoSpace, match="make room"):
        produce(store.depot, product(safetensors_file("model.safetensors", [made])))


def test_all_runs_are_dated_as_the_first_one(store):
    one = produce(store.depot, product(Maker().file(), labels=Labels(created=5)))
    two = produce(store.depot, product(Maker().file(), labels=Labels(created=6)))
    other = produce(store.depot, product(Maker(SIZES | {"new": 1}).file(), labels=Labels(created=7)))
    assert one.committed.version.id == two.committed.version.id
    assert (two.committed.version.created, other.committed.version.created) == (5, 7)
