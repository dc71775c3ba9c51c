"""Safetensors: what is refused, by which rule and at which byte; what is accepted, the reference accepts too"""

import json
import math
import random

import numpy as np
import pytest
import safetensors
import safetensors.numpy
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from artifactstore.core.errors import Invalid
from artifactstore.core.formats.safetensors import DTYPE_BITS, HEADER_LIMIT, parse, write_header
from tests.core.formats.sources import Bytes


def raw(header, data=b"", length=None):
    header = header if isinstance(header, bytes) else header.encode()
    return (len(header) if length is None else length).to_bytes(8, "little") + header + data


def one(fields, name='"a"'):
    return f"{{{name}:{{{fields}}}}}"


A = '"dtype":"F32","shape":[1],"data_offsets":[0,4]'
B = '"dtype":"F32","shape":[1],"data_offsets":[4,8]'
X = b"\0" * 4
OFFSETS = '"dtype":"F32","shape":[1],"data_offsets":'
SHAPE = '"data_offsets":[0,4],"dtype":"F32","shape":'
BIG = "9" * 5000
DEEP = "[" * 100_000

# (id, bytes of the file, rule, offset)
BAD = [
    ("empty file", b"", "header-length", 0),
    ("seven bytes", b"\0" * 7, "header-length", 0),
    ("no header", raw(b""), "header-length", 0),
    ("header of one byte", raw(b"{"), "header-length", 0),
    ("header of 2^64-1", b"\xff" * 8 + b"{}", "header-length", 0),
    ("header over the limit", raw("{}", length=HEADER_LIMIT + 1), "header-length", 0),
    ("header longer than the file", raw("{}", length=3), "header-length", 0),
    ("not UTF-8", raw(b'{"\xff":' + f"{{{A}}}}}".encode(), X), "utf-8", 10),
    ("list", raw("[]"), "begin", 8),
    ("null", raw("null"), "begin", 8),
    ("leading space", raw(" " + one(A), X), "begin", 8),
    ("leading tab", raw("\t" + one(A), X), "begin", 8),
    ("byte order mark", raw("\ufeff" + one(A), X), "begin", 8),
    ("padded with newline", raw(one(A) + "\n", X), "padding", 8 + len(one(A))),
    ("padded with NUL", raw(one(A) + "\0", X), "padding", 8 + len(one(A))),
    ("second object", raw(one(A) + "{}", X), "padding", 8 + len(one(A))),
    ("object not closed", raw('{"a"'), "json", 12),
    ("tensor not closed", raw(f'{{"a":{{{A}'), "json", 13 + 1 + len(A)),
    ("string not closed", raw('{"a'), "json", 9),
    ("trailing comma", raw(f'{{"a":{{{A}}},}}', X), "string", 8 + len(one(A))),
    ("comma missing", raw(f'{{"a":{{{A}}} "b":{{{B}}}}}', X + X), "json", 8 + len(one(A)) - 1),
    ("key not a string", raw(f"{{1:{{{A}}}}}", X), "string", 9),
    ("single quotes", raw(f"{{'a':{{{A}}}}}", X), "string", 9),
    ("raw newline in a name", raw(one(A, '"a\nb"'), X), "json", 9),
    ("unknown escape", raw(one(A, '"\\x"'), X), "json", 9),
    ("lone surrogate", raw(one(A, '"\\ud800"'), X), "utf-8", 9),
    ("name twice, same value", raw(f'{{"a":{{{A}}},"a":{{{A}}}}}', X), "duplicate-name", 8 + len(one(A))),
    ("name twice, other value", raw(f'{{"a":{{{A}}},"a":{{{B}}}}}', X + X), "duplicate-name", 8 + len(one(A))),
    ("name twice, once escaped", raw(f'{{"a":{{{A}}},"\\u0061":{{{B}}}}}', X + X), "duplicate-name", 8 + len(one(A))),
    ("metadata twice", raw('{"__metadata__":{},"__metadata__":{}}'), "duplicate-name", 27),
    ("metadata key twice", raw('{"__metadata__":{"k":"1","k":"1"}}'), "duplicate-metadata", 33),
    ("metadata null", raw('{"__metadata__":null}'), "object", 24),
    ("metadata list", raw('{"__metadata__":["a"]}'), "object", 24),
    ("metadata string", raw('{"__metadata__":"a"}'), "object", 24),
    ("metadata value a number", raw('{"__metadata__":{"k":1}}'), "string", 29),
    ("metadata value null", raw('{"__metadata__":{"k":null}}'), "string", 29),
    ("metadata nested", raw('{"__metadata__":{"k":{"l":"m"}}}'), "string", 29),
    ("metadata of a tensor", raw('{"__metadata__":{"dtype":"F32","shape":[]}}'), "string", 47),
    ("too much metadata", raw('{"__metadata__":{' + ",".join(f'"{i}":""' for i in range(100_001)) + "}}"), "count", None),
    ("tensor null", raw('{"a":null}'), "object", 13),
    ("tensor a list", raw('{"a":["F32",[1],[0,4]]}', X), "object", 13),
    ("tensor a number", raw('{"a":NaN}'), "object", 13),
    ("tensor empty", raw('{"a":{}}'), "missing-field", None),
    ("dtype missing", raw(one('"shape":[1],"data_offsets":[0,4]'), X), "missing-field", None),
    ("shape missing", raw(one('"dtype":"F32","data_offsets":[0,4]'), X), "missing-field", None),
    ("offsets missing", raw(one('"dtype":"F32","shape":[1]'), X), "missing-field", None),
    ("unknown field", raw(one(A + ',"x":1'), X), "unknown-field", 15 + len(A)),
    ("field in upper case", raw(one(A.replace("shape", "Shape")), X), "unknown-field", 14 + 14),
    ("dtype twice", raw(one('"dtype":"F32",' + A), X), "duplicate-field", 28),
    ("shape twice", raw(one(A + ',"shape":[1]'), X), "duplicate-field", 15 + len(A)),
    ("offsets twice", raw(one(A + ',"data_offsets":[0,4]'), X), "duplicate-field", 15 + len(A)),
    ("dtype null", raw(one(A.replace('"F32"', "null")), X), "string", 22),
    ("dtype unknown", raw(one(A.replace("F32", "F99")), X), "dtype", 9),
    ("dtype in lower case", raw(one(A.replace("F32", "f32")), X), "dtype", 9),
    ("shape null", raw(one(SHAPE + "null"), X), "integers", 14 + len(SHAPE)),
    ("shape a number", raw(one(SHAPE + "1"), X), "integers", 14 + len(SHAPE)),
    ("shape negative", raw(one(SHAPE + "[-1]"), X), "integers", 14 + len(SHAPE)),
    ("shape minus zero", raw(one('"dtype":"F32","shape":[-0],"data_offsets":[0,0]')), "integers", None),
    ("shape with a bool", raw(one(SHAPE + "[true]"), X), "integers", 14 + len(SHAPE)),
    ("shape nested", raw(one(SHAPE + "[[1]]"), X), "integers", 14 + len(SHAPE)),
    ("shape with leading zero", raw(one(SHAPE + "[01]"), X), "integers", 14 + len(SHAPE)),
    ("shape of 65 lengths", raw(one(SHAPE + str([1] * 65)), X), "integers", 14 + len(SHAPE)),
    ("shape overflows", raw(one(SHAPE + "[4294967296,4294967296,4294967296]"), X), "overflow", 9),
    ("shape wraps to the size", raw(one(SHAPE + "[9223372036854775809,2]"), X), "overflow", 9),
    ("shape overflows beside zero", raw(one('"dtype":"F32","shape":[0,9223372036854775808],"data_offsets":[0,0]')), "overflow", 9),
    ("shape of endless digits", raw(one(SHAPE + f"[{BIG}]"), X), "integers", 14 + len(SHAPE)),
    ("offsets null", raw(one(OFFSETS + "null"), X), "integers", 14 + len(OFFSETS)),
    ("offsets negative", raw(one(OFFSETS + "[-4,0]"), X), "integers", 14 + len(OFFSETS)),
    ("offsets float", raw(one(OFFSETS + "[0.0,4.0]"), X), "integers", 14 + len(OFFSETS)),
    ("offsets exponent", raw(one(OFFSETS + "[0,4e0]"), X), "integers", 14 + len(OFFSETS)),
    ("offsets bool", raw(one(OFFSETS + "[false,4]"), X), "integers", 14 + len(OFFSETS)),
    ("offsets string", raw(one(OFFSETS + '["0","4"]'), X), "integers", 14 + len(OFFSETS)),
    ("offsets NaN", raw(one(OFFSETS + "[0,NaN]"), X), "integers", 14 + len(OFFSETS)),
    ("offsets over u64", raw(one(OFFSETS + "[0,18446744073709551620]"), X), "size", 9),
    ("offsets of endless digits", raw(one(OFFSETS + f"[0,{BIG}]"), X), "integers", 14 + len(OFFSETS)),
    ("offsets of three", raw(one(OFFSETS + "[0,4,4]"), X), "offsets", None),
    ("offsets of one", raw(one(OFFSETS + "[4]"), X), "offsets", None),
    ("offsets empty", raw(one(OFFSETS + "[]"), X), "offsets", None),
    ("begin after end", raw(one(OFFSETS + "[4,0]"), X), "order", 9),
    ("size too small", raw(one(OFFSETS + "[0,3]"), X[:3]), "size", 9),
    ("size too large", raw(one(OFFSETS + "[0,5]"), X + b"1"), "size", 9),
    ("empty tensor with bytes", raw(one('"dtype":"F32","shape":[0],"data_offsets":[0,4]'), X), "size", 9),
    ("F4 of three", raw(one('"dtype":"F4","shape":[3],"data_offsets":[0,2]'), X[:2]), "byte-aligned", 9),
    ("F6 of two", raw(one('"dtype":"F6_E2M3","shape":[2],"data_offsets":[0,2]'), X[:2]), "byte-aligned", 9),
    ("overlap", raw(f'{{"a":{{{A}}},"b":{{{A}}}}}', X), "overlap", 8 + len(one(A))),
    ("hole at the start", raw(one(B), X + X), "hole", 9),
    ("hole", raw(f'{{"a":{{{A}}},"b":{{{B.replace("[4,8]", "[8,12]")}}}}}', X * 3), "hole", 8 + len(one(A))),
    ("empty tensor inside another", raw(f'{{"a":{{{A}}},"b":{{"dtype":"F32","shape":[0],"data_offsets":[2,2]}}}}', X), "overlap", None),
    ("data short by one", raw(one(A), X[:3]), "short", 9),
    ("no data", raw(one(A)), "short", 9),
    ("trailing byte", raw(one(A), X + b"1"), "trailing", 8 + len(one(A)) + 4),
    ("zip appended", raw(one(A), X + b"PK\x05\x06" + bytes(18)), "trailing", 8 + len(one(A)) + 4),
    ("bytes after no tensors", raw("{}", b"1"), "trailing", 10),
    ("name empty", raw(one(A, '""'), X), "name", 9),
    ("name with NUL", raw(one(A, '"a\\u0000"'), X), "name", 9),
    ("name with escape sequence", raw(one(A, '"\\u001b[31m"'), X), "name", 9),
    ("name with C1 control", raw(one(A, '"a\x85"'), X), "name", 9),
    ("name of 64 KiB and one", raw(one(A, f'"{"n" * 65537}"'), X), "name", 9),
    ("name of a megabyte", raw(one(A, f'"{"é" * 500_000}"'), X), "name", 9),
    ("deep lists", raw('{"a":' + DEEP), "object", 13),
    ("deep objects", raw('{"a":' * 100_000), "unknown-field", 14),
    ("deep shape", raw(one(SHAPE + DEEP), X), "integers", 14 + len(SHAPE)),
    ("endless space in a list", raw(one(SHAPE + "[" + " " * 3_000_000), X), "integers", 14 + len(SHAPE)),
    ("endless space after a value", raw('{"a":' + " " * 3_000_000), "object", None),
    ("endless escapes", raw('{"__metadata__":{"k":"' + "\\n" * 3_000_000), "json", 29),
    ("offset counted in bytes", raw(f'{{"é":{{{A}}},"é":{{{B}}}}}', X + X), "duplicate-name", 9 + len(one(A))),
    ("zip", b"PK\x03\x04" + bytes(40), "foreign", 0),
    ("pickle", b"\x80\x02}q\x00" + bytes(40), "foreign", 0),
    ("pickle of protocol 4", b"\x80\x04\x95\x10" + bytes(40), "foreign", 0),
    ("GGUF", b"GGUF\x03\0\0\0" + bytes(40), "foreign", 0),
    ("LFS pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "foreign", 0),
    ("web page", b"<!DOCTYPE html><html>not found</html>", "foreign", 0),
]  # fmt: skip


@pytest.mark.parametrize(("data", "rule", "offset"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_refuses(data, rule, offset):
    with pytest.raises(Invalid) as caught:
        parse(Bytes(data), "dir/model.safetensors")
    error = caught.value
    assert (error.code, error.facts["rule"], error.facts["file"]) == (
        "invalid.safetensors",
        rule,
        "dir/model.safetensors",
    )
    assert error.message.startswith(f"dir/model.safetensors: byte {error.facts['offset']}: ")
    assert "\n" not in error.message
    assert len(error.message) < 500
    if offset is not None:
        assert error.facts["offset"] == offset


def test_says_what_a_foreign_file_is():
    with pytest.raises(Invalid, match=r"this is a pickle named \.safetensors"):
        parse(Bytes(b"\x80\x02}q\x00" + bytes(40)), "a.safetensors")
    with pytest.raises(Invalid, match=r"this is a zip named \.safetensors"):
        parse(Bytes(b"PK\x03\x04" + bytes(40)), "a.safetensors")


@pytest.mark.slow
def test_refuses_a_million_and_one_tensors():
    entries = ",".join(f'"{i}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}' for i in range(1_000_001))
    with pytest.raises(Invalid) as caught:
        parse(Bytes(raw(f"{{{entries}}}")), "a.safetensors")
    assert caught.value.facts["rule"] == "count"


GOOD = [
    ("no tensors", raw("{}")),
    ("metadata only", raw('{"__metadata__":{"format":"pt","é":"\\u0000\\ud83d\\ude00"}}   ')),
    ("traversal is only a name", raw(one(A, '"../../etc/passwd"'), X)),
    ("white space inside", raw('{ "a" :\n\t{ "dtype" : "F32" , "shape" : [ 1 ] , "data_offsets" : [ 0 , 4 ] } }  ', X)),
    ("fields in another order", raw(one('"data_offsets":[0,4],"shape":[],"dtype":"F32"'), X)),
    ("escaped field name", raw(one(A.replace("dtype", "\\u0064type")), X)),
    ("header order is not data order", raw(f'{{"b":{{{B}}},"a":{{{A}}}}}', X + X)),
    ("empty tensors at the seams", raw(f'{{"b":{{{B}}},"e":{{"dtype":"F32","shape":[0,9],"data_offsets":[4,4]}},"a":{{{A}}}}}', X + X)),
    ("sub-byte dtype", raw(one('"dtype":"F6_E3M2","shape":[4],"data_offsets":[0,3]'), X[:3])),
]  # fmt: skip


@pytest.mark.parametrize("data", [case[1] for case in GOOD], ids=[case[0] for case in GOOD])
def test_accepts_with_the_reference(data):
    assert_same_as_reference(data)


def assert_same_as_reference(data):
    info = parse(Bytes(data), "a.safetensors")
    found = sorted((t.name, t.dtype, list(t.shape), data[t.begin : t.end]) for t in info.tensors)
    reference = sorted((name, t["dtype"], t["shape"], bytes(t["data"])) for name, t in safetensors.deserialize(data))
    assert found == reference
    assert [(r.name, r.begin, r.end) for r in info.regions] == [
        (t.name, t.begin, t.end) for t in info.tensors if t.end > t.begin
    ]
    ends = [t.end for t in info.tensors]
    assert ends == sorted(ends)
    assert not ends or ends[-1] == len(data)
    return info


def test_reads_what_torch_writes():
    dtypes = [torch.float32, torch.bfloat16, torch.float16, torch.float64, torch.int64, torch.int32, torch.int16]
    dtypes += [torch.int8, torch.uint8, torch.bool, torch.float8_e4m3fn, torch.float8_e5m2, torch.complex64]
    state = {str(dtype): torch.zeros(3, 5).to(dtype) for dtype in dtypes} | {
        "empty": torch.zeros(0, 4),
        "scalar": torch.tensor(1.0),
    }
    info = assert_same_as_reference(safetensors.torch.save(state, {"format": "pt", "note": "é"}))
    assert info.metadata == {"format": "pt", "note": "é"}
    assert {t.name: t.shape for t in info.tensors} == {name: tuple(t.shape) for name, t in state.items()}


NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20).filter(
    lambda n: n != "__metadata__"
)
TENSORS = st.lists(
    st.tuples(NAMES, st.sampled_from(sorted(DTYPE_BITS)), st.lists(st.integers(0, 4), max_size=4)),
    max_size=6,
    unique_by=lambda tensor: tensor[0],
).map(
    lambda ts: [(n, d, s, math.prod(s) * DTYPE_BITS[d] // 8) for n, d, s in ts if math.prod(s) * DTYPE_BITS[d] % 8 == 0]
)
METADATA = st.none() | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])), max_size=4)  # fmt: skip


@settings(max_examples=60)
@given(st.dictionaries(NAMES, st.sampled_from(["f4", "f8", "i2", "u1", "?"]), max_size=6), st.integers(0, 3))
def test_reads_what_numpy_writes(kinds, rows):
    assert_same_as_reference(safetensors.numpy.save({n: np.ones((rows, 2), kind) for n, kind in kinds.items()}))


@settings(max_examples=100)
@given(TENSORS, METADATA)
def test_written_headers_are_read_back(tensors, metadata):
    header = write_header(tensors, metadata)
    assert len(header) % 8 == 0
    info = assert_same_as_reference(header + random.Random(0).randbytes(sum(t[3] for t in tensors)))
    assert info.metadata == (metadata or {})
    assert sorted((t.name, t.dtype, list(t.shape), t.end - t.begin) for t in info.tensors) == sorted(tensors)
    assert write_header(tensors, dict(reversed(metadata.items())) if metadata else metadata) == header


@pytest.mark.parametrize(
    ("tensors", "rule"),
    [
        ([("a", "F32", [1], 4), ("a", "F32", [1], 4)], "name"),
        ([("__metadata__", "F32", [1], 4)], "name"),
        ([("", "F32", [1], 4)], "name"),
        ([("\ud800", "F32", [1], 4)], "name"),
        ([("a", "F99", [1], 4)], "dtype"),
        ([("a", "F4", [3], 2)], "byte-aligned"),
        ([("a", "F32", [1], 5)], "size"),
        ([("a", "F32", [-1, -1], 4)], "shape"),
        ([("a", "F32", [1] * 65, 4)], "dimensions"),
        ([("a", "F32", [2**52, 2], 2**55)], "overflow"),
    ],
)
def test_does_not_write_what_it_refuses(tensors, rule):
    with pytest.raises(Invalid) as caught:
        write_header(tensors, None)
    assert caught.value.facts["rule"] == rule


def test_does_not_write_metadata_without_utf8():
    with pytest.raises(Invalid, match="surrogate"):
        write_header([], {"k": "\ud800"})


def test_does_not_write_a_header_nobody_reads():
    tensors = [(f"{i:060000}", "U8", [0], 0) for i in range(1700)]
    with pytest.raises(Invalid) as caught:
        write_header(tensors, None)
    assert caught.value.facts["rule"] == "header-length"


JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 9) | st.floats() | st.sampled_from(["F32", "F4", "U8", "", "a"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["dtype", "shape", "data_offsets", "__metadata__", "a", "b"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@settings(max_examples=300)
@given(st.dictionaries(st.sampled_from(["__metadata__", "a", "b", ""]), JSONISH, max_size=3), st.binary(max_size=9))
def test_any_json_is_refused_or_read_as_the_reference_does(document, data):
    accepted_or_invalid(raw(json.dumps(document), data))


@settings(max_examples=300)
@given(st.binary(max_size=60) | st.binary(max_size=60).map(lambda b: raw(b"{" + b)))
def test_any_bytes_are_refused_or_read_as_the_reference_does(data):
    accepted_or_invalid(data)


@settings(max_examples=400)
@given(st.sampled_from([case[1] for case in GOOD]), st.randoms(use_true_random=False))
def test_a_damaged_header_is_refused_or_read_as_the_reference_does(data, rng):
    damaged = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(8, len(damaged))
        choice = rng.choice(
            [b'"', b"{", b"}", b"[", b"]", b",", b":", b"0", b"4", b"9", b" ", b"\\", b"-", bytes([rng.randrange(256)])]
        )
        damaged[at : at + rng.randint(0, 1)] = choice
    accepted_or_invalid(
        (len(damaged) - 8 - rng.choice([0, 4, 8])).to_bytes(8, "little", signed=True) + bytes(damaged[8:])
    )


def accepted_or_invalid(data):
    try:
        parse(Bytes(data), "a.safetensors")
    except Invalid:
        return
    assert_same_as_reference(data)


def test_of_fifty_thousand_tensors_only_the_header_is_read():
    header = write_header([(f"model.layers.{i}.weight", "F32", [4, 1], 16) for i in range(50_000)], None)
    source = Bytes(header + bytes(16 * 50_000))
    assert len(parse(source, "a.safetensors").tensors) == 50_000
    assert source.read_nbytes == len(header)
