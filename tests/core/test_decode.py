"""Manifests read back: the same value from the same bytes, and no other bytes"""

import contextlib
import copy
import json

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.core.decode import read_manifest
from artifactstore.core.digest import Digest
from artifactstore.core.errors import Corrupt, Invalid
from artifactstore.core.lineage import Link, Relation
from tests.core.manifests import example, json_values, manifests

FULL = example(
    parents=(Link(Relation.MERGE, "hero:1", Digest.of(b"parent"), 0.5, {"density": 0.5}),),
    phase="warmup",
    step=7,
    epoch=0.5,
    request_id="r-1",
    license="Apache-2.0",
    metadata={"seed": 1, "nested": {"list": [1, None, True, "é"]}},
)


def refused(raw):
    with pytest.raises(Invalid) as refusal:
        read_manifest(raw)
    assert len(str(refusal.value)) < 500
    return refusal.value


@given(manifests())
def test_a_manifest_comes_back_as_it_was(manifest):
    again = read_manifest(manifest.raw, manifest.id)
    assert again == manifest
    assert (again.raw, again.id) == (manifest.raw, manifest.id)


@pytest.mark.parametrize("value", [2.0**53, 1e16, 1e20, -1e17, 123456789012345680000.0, 1e21, 5e-324])
def test_doubles_that_look_like_long_integers_come_back(value):
    manifest = example(epoch=value, metadata={"norm": value}, parents=(Link(Relation.MERGE, "a", weight=value),))
    assert read_manifest(manifest.raw) == manifest


@given(st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
def test_bytes_that_are_no_manifest_are_refused(raw):
    refused(raw)


@given(st.integers(0, len(FULL.raw) - 1), st.integers(1, 255))
def test_any_changed_byte_is_found_by_the_id(position, mask):
    raw = bytearray(FULL.raw)
    raw[position] ^= mask
    with pytest.raises(Corrupt, match="does not match its id") as damage:
        read_manifest(bytes(raw), FULL.id)
    assert damage.value.facts["id"] == str(FULL.id)
    with contextlib.suppress(Invalid):
        assert read_manifest(bytes(raw)).raw == raw


@given(st.integers(0, len(FULL.raw) - 1))
def test_a_cut_manifest_is_refused(length):
    refused(FULL.raw[:length])


def addresses(value, at=()):
    """Every place in the document"""
    yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in inner:
        yield from addresses(child, (*at, key))


def put(document, at, value):
    changed = copy.deepcopy(document)
    target = changed
    for key in at[:-1]:
        target = target[key]
    target[at[-1]] = value
    return changed


DOCUMENT = json.loads(FULL.raw)
TYPED = [at for at in addresses(DOCUMENT) if at and not {"metadata", "params"} & set(at[:-1])]


@pytest.mark.parametrize("at", TYPED, ids=lambda at: ".".join(map(str, at)))
def test_a_value_of_another_type_is_refused_anywhere(at):
    for wrong in (None, True, False, -1.5, "\n", [], {}, [[]], {"": 0}, [True], 2**53):
        changed = put(DOCUMENT, at, wrong)
        if changed != DOCUMENT and not fits(at, wrong):
            refused(json.dumps(changed, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())


def fits(at, value):
    """Whether another value of the right type gives another manifest, not a refusal"""
    if at[-1] in {"epoch", "weight"}:
        return isinstance(value, float | int) and not isinstance(value, bool)
    if at[-1] in {"metadata", "params"}:
        return value == {"": 0}
    in_tensor = "tensors" in at and len(at) == 5
    free_text = at[-1] == "format" or (in_tensor and at[-1] in {0, 1})
    return (free_text and len(at) > 1 and isinstance(value, str)) or (in_tensor and at[-1] == 2 and value == [])


@pytest.mark.parametrize("at", [(), ("files", 0), ("files", 1), ("parents", 0)])
def test_an_unknown_key_is_refused(at):
    changed = put(DOCUMENT, (*at, "zzz"), 1)
    assert "unknown" in str(refused(rfc8785.dumps(changed)))


@pytest.mark.parametrize("key", ["format", "artifact", "created", "blobs", "files"])
def test_a_missing_key_is_refused(key):
    refused(rfc8785.dumps({name: value for name, value in DOCUMENT.items() if name != key}))


@pytest.mark.parametrize("key", ["path", "size", "sha256", "format", "extents"])
def test_a_missing_key_of_a_file_is_refused(key):
    file = {name: value for name, value in DOCUMENT["files"][0].items() if name != key}
    refused(rfc8785.dumps(put(DOCUMENT, ("files", 0), file)))


@pytest.mark.parametrize("value", [0, 2, "1", None, 10**9, [[1] * 1000]])
def test_another_format_is_refused_and_says_who_wrote_it(value):
    error = refused(rfc8785.dumps({**DOCUMENT, "format": value}))
    assert error.code == "invalid.format"
    assert "newer artifactstore" in str(error)


@pytest.mark.parametrize("key", ["phase", "step", "epoch", "request_id", "license"])
def test_null_is_not_absent(key):
    assert "not canonical" in str(refused(rfc8785.dumps({**DOCUMENT, key: None})))


NONCANONICAL = {
    "space": FULL.raw.replace(b'"step":', b'"step": '),
    "newline at the end": FULL.raw + b"\n",
    "keys in another order": json.dumps(dict(reversed(DOCUMENT.items())), separators=(",", ":")).encode(),
    "a key twice": FULL.raw.replace(b'"step":7', b'"step":7,"step":7'),
    "an escape too many": FULL.raw.replace("é".encode(), b"\\u00e9"),
    "an exponent": FULL.raw.replace(b'"seed":1', b'"seed":1e0'),
    "a point": FULL.raw.replace(b'"seed":1', b'"seed":1.0'),
    "minus zero": FULL.raw.replace(b'"seed":1', b'"seed":-0'),
    "an integer over 2^53": FULL.raw.replace(b'"seed":1', b'"seed":9007199254740993'),
    "a true format": FULL.raw.replace(b'"format":1', b'"format":true'),
    "a byte order mark": b"\xef\xbb\xbf" + FULL.raw,
    "utf-16": FULL.raw.decode().encode("utf-16"),
    "empty metadata": example().raw[:-1] + b',"metadata":{}}',
    "no parents": example().raw[:-1] + b',"parents":[]}',
}


@pytest.mark.parametrize("raw", NONCANONICAL.values(), ids=NONCANONICAL)
def test_other_bytes_of_the_same_meaning_are_refused(raw):
    assert "canonical" in str(refused(raw))


UNREADABLE = {
    "NaN": FULL.raw.replace(b'"seed":1', b'"seed":NaN'),
    "Infinity": FULL.raw.replace(b'"seed":1', b'"seed":-Infinity'),
    "a double past the largest": FULL.raw.replace(b'"seed":1', b'"seed":1e999'),
    "5000 digits": FULL.raw.replace(b'"seed":1', b'"seed":' + b"9" * 5000),
    "a lone surrogate": FULL.raw.replace("é".encode(), b"\\ud800"),
    "deep nesting": FULL.raw.replace(b'"seed":1', b'"seed":' + b"[" * 200_000 + b"]" * 200_000),
    "unbalanced nesting": b"[" * 1_000_000,
    "trailing bytes": FULL.raw + FULL.raw,
    "not utf-8": FULL.raw.replace("é".encode(), b"\xff"),
    "nothing": b"",
    "null": b"null",
    "a list": b"[]",
}


@pytest.mark.parametrize("raw", UNREADABLE.values(), ids=UNREADABLE)
def test_what_is_no_json_of_ours_is_refused(raw):
    refused(raw)


@pytest.mark.parametrize(
    "path", ["../x", "/etc/passwd", "a\\b", "C:x", "nul", "a\u0000", "e\u0301", "a/", "", "README.md\n"]
)
def test_rules_for_paths_hold_on_reading(path):
    refused(rfc8785.dumps(put(DOCUMENT, ("files", 0, "path"), path)))


@pytest.mark.parametrize("name", ["A" * 64, "a" * 63, "a" * 65, "sha256:" + "a" * 64, ""])
@pytest.mark.parametrize("at", [("blobs", 0, 0), ("files", 0, "sha256"), ("parents", 0, "id")])
def test_rules_for_digests_hold_on_reading(at, name):
    assert refused(rfc8785.dumps(put(DOCUMENT, at, name))).code == "invalid.digest"


def test_files_and_blobs_listed_twice_are_refused():
    for key in ("files", "blobs"):
        refused(rfc8785.dumps({**DOCUMENT, key: DOCUMENT[key] * 2}))


@pytest.mark.parametrize("row", [[], [1], [0, 0, 8, 0], ["0", 0, 8], [0, 0, True], [0.5, 0, 8], None, "abc", {}])
def test_an_extent_has_three_integers(row):
    refused(rfc8785.dumps(put(DOCUMENT, ("files", 1, "extents", 0), row)))


@pytest.mark.parametrize(
    "row",
    [
        [],
        ["w"],
        ["w", "F32", [2, 2], 8, 24, 0],
        ["w", "F32", "22", 8, 24],
        ["w", "F32", [True], 8, 24],
        ["w", "F32", [2, 2], 8, True],
    ],
)
def test_a_tensor_has_five_fields_of_their_types(row):
    refused(rfc8785.dumps(put(DOCUMENT, ("files", 1, "tensors", 0), row)))
