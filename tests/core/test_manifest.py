"""The manifest: what may stand in one, and the bytes that name it"""

import dataclasses
import json
import math

import pytest
import rfc8785
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.core.digest import Digest, Sha256
from artifactstore.core.errors import Invalid
from artifactstore.core.formats.base import TensorInfo
from artifactstore.core.lineage import Link, Relation
from artifactstore.core.manifest import MAX_BLOB, BlobInfo, Extent, FileEntry
from artifactstore.core.names import SafePath
from artifactstore.core.numbers import read_integer
from tests.core.manifests import example, manifests

README, MODEL = example().files


def refused(**changes):
    with pytest.raises(Invalid) as refusal:
        example(**changes).raw  # noqa: B018  # some rules wait for the bytes
    assert len(str(refusal.value)) < 300
    return refusal.value


def replaced(**changes):
    return (README, dataclasses.replace(MODEL, **changes))


def test_the_bytes_of_the_example_never_change():
    assert str(example().id) == "0fcabc809c9fe3c76b8c1ae001ea29939fb35e312fb722ab88d8b7f288144e0e"


@given(manifests())
def test_the_id_is_the_blake3_of_canonical_bytes(manifest):
    document = json.loads(manifest.raw, parse_int=read_integer)
    assert manifest.id == blake3(manifest.raw).digest()
    assert rfc8785.dumps(document) == manifest.raw
    assert document["format"] == 1


@given(manifests())
def test_runs_cover_each_file_without_gap(manifest):
    assert manifest.nbytes == sum(file.size for file in manifest.files)
    for file in manifest.files:
        end = 0
        for offset, blob, extent in manifest.runs(file):
            assert offset == end
            assert blob is manifest.blobs[extent.blob]
            assert extent.start + extent.length <= blob.size
            end += extent.length
        assert end == file.size


@pytest.mark.parametrize(
    "change",
    [
        {"artifact": "hera"},
        {"created": 0},
        {"phase": "warmup"},
        {"step": 0},
        {"epoch": 0.0},
        {"request_id": "r"},
        {"license": "MIT"},
        {"metadata": {"": None}},
        {"parents": (Link(Relation.EMA, "hero:1"),)},
        {"files": (MODEL, README)},
        {"files": (MODEL,)},
    ],
)
def test_every_field_changes_the_id(change):
    assert example(**change).id != example().id


def test_absent_and_empty_are_one():
    assert example(metadata={}, parents=(), phase=None).raw == example().raw


@pytest.mark.parametrize("size", [0, -1, MAX_BLOB + 1, 2**63])
def test_a_blob_holds_1_byte_to_64_mib(size):
    with pytest.raises(Invalid, match="1 to 67108864 are allowed") as refusal:
        BlobInfo(Digest.of(b""), size)
    assert refusal.value.code == "invalid.blob"
    assert BlobInfo(Digest.of(b""), MAX_BLOB).size == 64 << 20


def test_a_version_without_files_is_refused():
    assert refused(files=()).code == "invalid.empty"


def test_a_blob_named_twice_is_refused():
    blob = example().blobs[0]
    assert "each blob once" in str(refused(blobs=(blob, blob)))


@pytest.mark.parametrize("paths", [("a", "a"), ("a", "A"), ("a", "a/b")])
def test_files_that_collide_are_refused(paths):
    assert (
        refused(files=[dataclasses.replace(README, path=SafePath(path)) for path in paths]).code == "invalid.collision"
    )


@pytest.mark.parametrize(
    "extent",
    [Extent(2, 0, 24), Extent(-1, 0, 24), Extent(0, -1, 24), Extent(0, 0, 0), Extent(0, 24, -24), Extent(0, 24, 0)],
)
def test_an_extent_names_bytes_of_a_blob(extent):
    assert "names no bytes of a blob" in str(refused(files=replaced(extents=(extent,))))


@pytest.mark.parametrize("extent", [Extent(0, 0, 25), Extent(0, 1, 24), Extent(1, 0, 24), Extent(0, 2**62, 2**62)])
def test_an_extent_stays_inside_its_blob(extent):
    error = refused(files=replaced(extents=(extent,)))
    assert "leaves its blob" in str(error)
    assert error.facts["file"] == "model.safetensors"


@pytest.mark.parametrize("size", [0, 23, 25, -24, 2**63])
def test_extents_give_exactly_the_size(size):
    assert "extents give 24 bytes" in str(refused(files=replaced(size=size, tensors=())))


@pytest.mark.parametrize(("begin", "end"), [(-1, 8), (8, 25), (9, 8), (25, 25)])
def test_a_tensor_stays_inside_its_file(begin, end):
    error = refused(files=replaced(tensors=(TensorInfo("w" * 1000, "F32", (), begin, end),)))
    assert "leaves its file" in str(error)


def test_a_file_may_be_empty():
    empty = FileEntry(SafePath("empty"), 0, Sha256.of(b""), "file", ())
    assert example(files=(empty,), blobs=()).nbytes == 0


@pytest.mark.parametrize("value", [True, 1.0, 2**53, -(2**53), "1", None])
def test_created_is_an_integer(value):
    assert "Time of creation" in str(refused(created=value))


@pytest.mark.parametrize("value", [True, False, 1.0, 2**53, "1"])
def test_a_step_is_an_integer(value):
    assert "Step" in str(refused(step=value))


@pytest.mark.parametrize("value", [True, math.nan, math.inf, -math.inf, "1"])
def test_an_epoch_is_a_finite_number(value):
    assert "Epoch" in str(refused(epoch=value))


@pytest.mark.parametrize("field", ["phase", "request_id", "license"])
@pytest.mark.parametrize("value", ["", " a", "a\n", "x" * 201, 7, True, b"a"])
def test_labels_are_printable_text(field, value):
    assert f"Not a {field.replace('_', ' ')}" in str(refused(**{field: value}))


def nested(depth):
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        -math.inf,
        2**53,
        -(2**53),
        1 << 20_000,
        b"bytes",
        {1: 2},
        {b"k": 1},
        {1, 2},
        object(),
        1j,
        "\ud800",
        {"\udfff": 1},
        nested(100_000),
    ],
    ids=range(15),
)
@pytest.mark.parametrize("place", [lambda value: value, lambda value: [value], lambda value: {"inner": value}])
def test_metadata_that_json_cannot_carry_is_refused(value, place):
    error = refused(metadata={"key": place(value)})
    assert error.code == "invalid.metadata"
    assert "cannot be written as JSON" in str(error)


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=2.0**53))
def test_large_doubles_may_stand_in_metadata(value):
    assert example(metadata={"norm": value}).id
