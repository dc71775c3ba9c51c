"""Diff: files, configuration, labels and tensors, reading only what it must"""

import dataclasses
import io
import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from safetensors.numpy import save_file

from artifactstore.blobs.wrap import Counting
from artifactstore.core.errors import Corrupt, NotFound
from artifactstore.ops import diff
from artifactstore.ops.diff import Measured, Numbers
from artifactstore.store import Store

MIB = 1 << 20


def model(folder, tensors, **files):
    """A folder with model.safetensors and other files, as JSON where they are no bytes"""
    folder.mkdir(parents=True)
    if tensors:
        save_file({name: np.asarray(value) for name, value in tensors.items()}, folder / "model.safetensors")
    for name, content in files.items():
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        (folder / name.replace("_", ".")).write_bytes(raw)
    return folder


def large(seed):
    """A tensor that has a blob of its own"""
    return np.random.default_rng(seed).integers(0, 255, 5 * MIB, dtype=np.uint8)


def fill(store, tmp_path):
    """Two versions of a model"""
    old = {"a": large(1), "b": large(2), "small": np.arange(9.0), "gone": np.ones(3), "grown": np.ones((2, 3))}
    new = {"a": large(1), "b": large(3), "small": np.arange(9.0) + 1, "come": np.ones(4), "grown": np.ones((4, 3))}
    store.add([model(tmp_path / "old", old, config_json={"n": 1}, x_txt=b"x")], name="m", step=1)
    store.add(
        [model(tmp_path / "new", new, config_json={"n": 2}, y_bin=b"y")],
        name="m",
        step=2,
        phase="dpo",
        license="MIT",
        metadata={"data": {"name": "laion"}},
        metrics={"loss": 0.5},
    )
    return store


@pytest.fixture
def pair(store, tmp_path):
    return fill(store, tmp_path)


def test_everything_that_differs_is_told(pair):
    found = pair.diff("m:1", "m:2")
    document = json.loads(json.dumps(found.to_json()))
    assert not found.equal
    assert [document[side]["ref"] for side in ("old", "new")] == ["m:1", "m:2"]
    files = document["files"]
    assert [(one["path"], one["size"], len(one["sha256"])) for one in files["added"]] == [("y.bin", 1, 64)]
    assert [one["path"] for one in files["removed"]] == ["x.txt"]
    assert [one["path"] for one in files["changed"]] == ["config.json", "model.safetensors"]
    assert files["changed"][0]["old"]["sha256"] != files["changed"][0]["new"]["sha256"]
    assert files["identical"] == 0
    assert document["config"] == [
        {"path": "config.json", "added": [], "removed": [], "changed": [{"key": "n", "old": 1, "new": 2}], "omitted": 0}
    ]
    assert document["labels"]["changed"] == [{"key": "step", "old": 1, "new": 2}]
    assert document["labels"]["added"] == [{"key": "phase", "value": "dpo"}, {"key": "license", "value": "MIT"}]
    assert document["metadata"]["added"] == [{"key": "data", "value": {"name": "laion"}}]
    assert document["metrics"]["added"] == [{"key": "loss", "value": 0.5}]


def test_tensors_are_told_apart_by_digest_without_reading_them(pair):
    counting = Counting(pair.depot.blobs)
    document = Store(dataclasses.replace(pair.depot, blobs=counting)).diff("m:1", "m:2").to_json()["tensors"]
    assert document["identical"] == 1
    assert [one["name"] for one in document["added"]] == ["come"]
    assert [one["name"] for one in document["removed"]] == ["gone"]
    (reshaped,) = document["reshaped"]
    assert (reshaped["name"], reshaped["reason"]) == ("grown", "another shape")
    assert [reshaped[side] for side in ("old", "new")] == [
        {"dtype": "F64", "shape": [2, 3]},
        {"dtype": "F64", "shape": [4, 3]},
    ]
    (changed,) = document["changed"]
    assert (changed["name"], changed["rel_l2"], changed["nonfinite"], changed["reason"]) == (
        "b",
        None,
        None,
        "not read",
    )
    assert [one["name"] for one in document["unread"]] == ["small"]
    # The configuration of either version.
    assert counting.calls["read_into"] == 2


def test_a_version_differs_in_nothing_from_itself(pair):
    counting = Counting(pair.depot.blobs)
    found = Store(dataclasses.replace(pair.depot, blobs=counting)).diff("m:2", "m")
    assert found.equal
    assert (found.files.identical, found.tensors.identical) == (3, 5)
    assert counting.calls["read_into"] == 0


def test_what_reading_tells_is_ordered_by_how_much_changed(pair):
    asked = []

    def measure(depot, old, new, pairs):
        asked.extend(pair.name for pair in pairs)
        return [Measured(pair.name == "small", Numbers(1.0, 1.0, 2.0, 0.5)) for pair in pairs]

    versions = [pair.resolve(ref) for ref in ("m:1", "m:2")]
    found = diff.run(pair.depot, *versions, measure).tensors
    assert asked == ["b", "small"]
    assert (found.identical, found.unread) == (2, ())
    assert [one.name for one, _ in found.changed] == ["b"]
    assert found.to_json()["changed"][0]["nonfinite"] == {"old": 0, "new": 0}


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([None, Numbers(1, 1, 0.5, 1), Numbers(1, 1, 2.0, 1)], [2, 1, 0]),
        ([Numbers(1, 1, 0.5, 1), Numbers(1, 1, None, None)], [1, 0]),
        ([Numbers(1, 1, 0.5, 1), Numbers(1, 1, 0.1, 1, 0, 3), Numbers(1, 1, 0.2, 1, 3, 3)], [1, 0, 2]),
    ],
)
def test_the_most_changed_comes_first(numbers, expected):
    ranks = [Measured(False, found).rank for found in numbers]
    assert sorted(range(len(ranks)), key=ranks.__getitem__) == expected


def test_both_versions_are_held_while_they_are_read(any_store, tmp_path):
    pair, held = fill(any_store, tmp_path), []

    def measure(depot, *_):
        held.extend(depot.catalog.leases.active())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        diff.run(pair.depot, pair.resolve("m:1"), pair.resolve("m:2"), measure)
    assert [lease.kind for lease in held] == ["read", "read"]
    assert pair.depot.catalog.leases.active() == []


def test_a_store_that_cannot_be_written_to_can_be_compared(pair):
    with Store.open(pair.depot.blobs.url, read_only=True) as reader:
        assert reader.diff("m:1", "m:2").to_json() == pair.diff("m:1", "m:2").to_json()
        with pytest.raises(NotFound):
            reader.diff("m:1", "m:9")


def test_the_same_files_under_another_name_and_date_are_equal(pair, tmp_path):
    pair.add([tmp_path / "old"], name="again", step=1, created=0)
    assert pair.diff("m:1", "again").equal
    pair.metric("again", {"loss": 1.0})
    found = pair.diff("m:1", "again")
    assert not found.equal
    assert not found.files


def test_a_tensor_that_moved_to_another_file_is_the_same(store, tmp_path):
    tensors = {"a": large(1), "b": np.arange(5), "c": large(2)}
    store.add([model(tmp_path / "whole", tensors)], name="whole")
    parts = tmp_path / "parts"
    parts.mkdir()
    save_file({"c": tensors["c"], "b": tensors["b"]}, parts / "model-00001-of-00002.safetensors")
    save_file({"a": tensors["a"]}, parts / "model-00002-of-00002.safetensors")
    store.add([parts], name="parts")
    found = store.diff("whole", "parts")
    assert (len(found.files.added), len(found.files.removed)) == (2, 1)
    assert (found.tensors.identical, found.tensors.changed, found.tensors.reshaped) == (3, (), ())


def test_the_same_bytes_in_another_shape_or_dtype_are_reshaped(store, tmp_path):
    store.add([model(tmp_path / "old", {"a": np.arange(6), "b": np.ones(4, np.int32)})], name="m")
    store.add([model(tmp_path / "new", {"a": np.arange(6).reshape(2, 3), "b": np.ones(4, np.uint32)})], name="m")
    found = store.diff("m:1", "m:2").tensors
    assert [(pair.name, measured.reason) for pair, measured in found.reshaped] == [
        ("a", "another shape"),
        ("b", "not read"),
    ]
    assert (found.identical, found.changed, found.unread) == (0, (), ())


def test_json_that_is_none_is_only_a_changed_file(store, tmp_path):
    broken = {"a_json": b"{", "b_json": {"n": 1}, "c_json": b"[1]", "d_json": b"{}", "e_txt": b"{}"}
    store.add([model(tmp_path / "old", {}, **broken)], name="m")
    whole = {"a_json": {"n": 1}, "b_json": b"7", "c_json": b"[2]", "d_json": b"{ }", "e_txt": b"[]"}
    store.add([model(tmp_path / "new", {}, **whole)], name="m")
    found = store.diff("m:1", "m:2").config
    assert [(path, bool(keys)) for path, keys in found] == [("c.json", True), ("d.json", False)]


def test_a_large_json_file_is_not_read(store, tmp_path):
    for seed in (1, 2):
        text = json.dumps({"k": "x" * (16 * MIB) + str(seed)}).encode()
        store.add([model(tmp_path / str(seed), {}, vocab_json=text)], name="m")
    found = store.diff("m:1", "m:2")
    assert (len(found.files.changed), found.config) == (1, ())


def test_files_whose_tensors_no_manifest_names_are_told(store, tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
        archive.writestr("archive/data/0", b"1234")
    raw = buffer.getvalue()
    store.add([model(tmp_path / "old", {}, a_pt=raw, b_pkl=b"\x80\x02}.", c_pkl=b"\x80\x02].")], name="m")
    store.add([model(tmp_path / "new", {}, d_pt=raw, b_pkl=b"\x80\x02).", c_pkl=b"\x80\x02].")], name="m")
    opaque = store.diff("m:1", "m:2").to_json()["tensors"]["opaque"]
    assert {one["path"]: one["format"] for one in opaque} == {"a.pt": "torch", "d.pt": "torch", "b.pkl": "pickle"}


def test_a_damaged_blob_is_named(store, tmp_path):
    for n in (1, 2):
        store.add([model(tmp_path / str(n), {}, config_json={"n": n})], name="m")
    place = next(place for place in store.depot.catalog.blobs.all() if place.size == 8)
    path = store.depot.blobs.root / place.key
    path.chmod(0o644)
    path.write_bytes(b'{"n": 7}')
    with pytest.raises(Corrupt, match=place.digest.hex()[:12]):
        store.diff("m:1", "m:2")
    assert store.depot.catalog.leases.active() == []


def test_without_torch_numbers_are_refused_and_the_rest_is_told(store, tmp_path):
    for n in (1, 2):
        store.add([model(tmp_path / str(n), {"w": np.full(3, n)})], name="m")
    program = """
import sys
sys.modules["torch"] = None
from artifactstore import Store, Unavailable
with Store.open(sys.argv[1]) as store:
    assert len(store.diff("m:1", "m:2").tensors.changed) == 1
    try:
        store.diff("m:1", "m:2", tensors=True)
    except Unavailable as e:
        print(e.code, e)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, store.depot.blobs.url], check=True, capture_output=True, text=True
    )
    assert done.stdout == "unavailable.extra Comparing tensors needs torch; run: pip install 'artifactstore[torch]'\n"
