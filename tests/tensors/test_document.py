"""Documents that no save wrote end in one error"""

import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifactstore.core.errors import Corrupt, Invalid
from artifactstore.tensors import document
from tests.tensors.states import contexts, files_of


def nothing(kind, path, name):
    raise Corrupt(f"no {kind} {path} {name}", code="tensor")


def decode(context):
    raw = {"format": document.FORMAT, "version": document.VERSION, "context": context}
    return document.decode(json.dumps(raw).encode(), nothing)


def nested(levels, inner):
    for _ in range(levels):
        inner = [inner]
    return inner


DAMAGED = {
    "no mapping": [],
    "a null": None,
    "names that are no strings": {"dict": [[1, 2]]},
    "an unknown tag": {"dict": {"x": {"pickle": "gASV"}}},
    "two tags": {"dict": {"x": {"dict": {}, "tuple": []}}},
    "no tag": {"dict": {"x": {}}},
    "a key twice": {"dict": {"x": {"dict": [[1, 2], [1, 3]]}}},
    "a key that cannot be one": {"dict": {"x": {"dict": [[[], 2]]}}},
    "half a pair": {"dict": {"x": {"dict": [[1]]}}},
    "a tuple of text": {"dict": {"x": {"tuple": "abc"}}},
    "an integer of text": {"dict": {"x": {"int": "seven"}}},
    "an integer as number": {"dict": {"x": {"int": 7}}},
    "half a float": {"dict": {"x": {"float": "7ff8"}}},
    "bytes that are no base64": {"dict": {"x": {"bytes": "?"}}},
    "a complex of three": {"dict": {"x": {"complex": [1.0, 2.0, 3.0]}}},
    "an object scalar": {"dict": {"x": {"scalar": "object", "hex": "0000000000000000"}}},
    "a scalar of the wrong size": {"dict": {"x": {"scalar": "float32", "hex": "00"}}},
    "a tensor that is not there": {"dict": {"x": {"tensor": "w", "file": "model.safetensors"}}},
    "a tensor of no name": {"dict": {"x": {"tensor": 1, "file": "model.safetensors"}}},
    "depth without end": {"dict": {"x": nested(300, 1)}},
}


@pytest.mark.parametrize("context", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_context_is_refused(context):
    with pytest.raises(Corrupt):
        decode(context)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"\xff",
        b"[]",
        b"{}",
        b'{"format": "other"}',
        b'{"format": "artifactstore.state", "format": "artifactstore.state", "version": 1, "context": {"dict": {}}}',
        b'{"format": "artifactstore.state", "version": 1, "context": {"dict": {"x": NaN}}}',
        b'{"format": "artifactstore.state", "version": 1, "context": ' + b"[" * 100_000,
        b'{"format": "artifactstore.state", "version": 1, "context": {"dict": {"x": ' + b"9" * 5000 + b"}}}",
    ],
    ids=lambda raw: repr(raw[:30]),
)
def test_bytes_that_are_no_document_are_refused(raw):
    with pytest.raises(Corrupt, match="damaged"):
        document.decode(raw, nothing)


def test_a_later_version_asks_for_an_upgrade():
    raw = json.dumps({"format": document.FORMAT, "version": 2, "context": {}}).encode()
    with pytest.raises(Invalid, match="upgrade"):
        document.decode(raw, nothing)


tags = st.sampled_from(
    [
        "dict",
        "ordered",
        "counter",
        "tuple",
        "int",
        "float",
        "complex",
        "bytes",
        "scalar",
        "hex",
        "tensor",
        "array",
        "file",
        "metadata",
        "x",
    ]
)
json_trees = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.sampled_from(["float32", "0x1", "00000000"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(tags, inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=200, deadline=None)
@given(json_trees)
def test_whatever_a_document_says_it_ends_in_a_value_or_one_error(tree):
    with suppress(Corrupt):
        assert type(decode({"dict": {"x": tree}})) is dict


@settings(max_examples=60, deadline=None)
@given(contexts, st.data())
def test_one_changed_byte_ends_in_a_value_or_one_error(context, data):
    raw = bytearray(files_of(context)[document.PATH])
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with suppress(Corrupt, Invalid):
        assert type(document.decode(bytes(raw), lambda *_: None)) is dict
