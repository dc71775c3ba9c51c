"""GGUF: tensors where they lie, and broken files refused"""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifactstore.core.errors import Invalid
from artifactstore.core.formats.base import TensorInfo
from artifactstore.core.formats.gguf import TENSOR_TYPES, parse
from tests.core.formats.gguf_files import array, gguf, pair, tensor, text
from tests.core.formats.sources import Bytes

PAIRS = [
    pair("general.architecture", 8, "llama"),
    pair("llama.block_count", 4, 32),
    pair("llama.attention.layer_norm_rms_epsilon", 6, 1e-6),
    pair("u8", 0, 255),
    pair("i8", 1, -1),
    pair("u16", 2, 65535),
    pair("i16", 3, -2),
    pair("i32", 5, -3),
    pair("u64", 10, 2**64 - 1),
    pair("i64", 11, -(2**63)),
    pair("f64", 12, 0.1),
    pair("yes", 7, 1),
    pair("no", 7, 0),
    pair("tokenizer.ggml.tokens", 9, array(8, ["<s>", "", b"\xff\xfe", "é"])),
    pair("tokenizer.ggml.scores", 9, array(6, [0.5, 1.5])),
    pair("flags", 9, array(7, [1, 0, 1])),
    pair("tokenizer.huggingface.json", 8, "x" * 70_000),
    pair("not utf-8", 8, b"\x02\0\0\0\0\0\0\0\xffa"),
]
METADATA = {
    "general.architecture": "llama",
    "llama.block_count": "32",
    "llama.attention.layer_norm_rms_epsilon": "1e-06",
    "u8": "255",
    "i8": "-1",
    "u16": "65535",
    "i16": "-2",
    "i32": "-3",
    "u64": str(2**64 - 1),
    "i64": str(-(2**63)),
    "f64": "0.1",
    "yes": "true",
    "no": "false",
    "tokenizer.ggml.tokens": "array[4]",
    "tokenizer.ggml.scores": "array[2]",
    "flags": "array[3]",
    "tokenizer.huggingface.json": "string[70000]",
    "not utf-8": "\ufffda",
}
TENSORS = [
    tensor("token_embd.weight", [256, 3], 12, 0),  # 3 blocks of Q4_K: 432 bytes, then padding to 448
    tensor("norm.weight", [5], 0, 448),
    tensor("none", [0, 4], 0, 480),
    tensor("bias", [], 1, 480),
]


@pytest.mark.parametrize("version", [2, 3])
def test_reads_tensors_and_metadata(version):
    raw = gguf(PAIRS, TENSORS, bytes(482), version=version)
    info = parse(Bytes(raw), "m.gguf")
    data = len(raw) - 482
    assert info.format == "gguf"
    assert info.tensors == (
        TensorInfo("token_embd.weight", "Q4_K", (3, 256), data, data + 432),
        TensorInfo("norm.weight", "F32", (5,), data + 448, data + 468),
        TensorInfo("none", "F32", (4, 0), data + 480, data + 480),
        TensorInfo("bias", "F16", (), data + 480, data + 482),
    )
    assert [(r.name, r.begin, r.end) for r in info.regions] == [
        (t.name, t.begin, t.end) for t in info.tensors if t.name != "none"
    ]
    assert info.metadata == METADATA


def test_tensors_come_in_data_order():
    raw = gguf([], [tensor("b", [8], 0, 32), tensor("a", [8], 0, 0)], bytes(64))
    assert [t.name for t in parse(Bytes(raw), "m.gguf").tensors] == ["a", "b"]


def test_keeps_to_the_alignment_of_the_file():
    pairs = [pair("general.alignment", 4, 4096)]
    raw = gguf(pairs, [tensor("a", [8], 0, 0), tensor("b", [8], 0, 4096)], bytes(4128), alignment=4096)
    assert [(t.begin, t.end) for t in parse(Bytes(raw), "m.gguf").tensors] == [(4096, 4128), (8192, 8224)]


def test_reads_the_head_only():
    source = Bytes(gguf([pair("t", 9, array(8, ["token"] * 300_000))], [tensor("a", [2**22], 0, 0)], bytes(2**24)))
    parse(source, "m.gguf")
    assert source.read_nbytes < 7 * 2**20


@pytest.mark.parametrize("kind", TENSOR_TYPES)
def test_every_type_has_its_size(kind):
    name, block, nbytes = TENSOR_TYPES[kind]
    whole = gguf([], [tensor("a", [block * 2, 3], kind, 0)], bytes(nbytes * 6))
    (found,) = parse(Bytes(whole), "m.gguf").tensors
    assert (found.dtype, found.shape, found.end - found.begin) == (name, (3, block * 2), nbytes * 6)
    with pytest.raises(Invalid, match="cut short"):
        parse(Bytes(whole[:-1]), "m.gguf")


def test_types_have_the_bits_their_names_say():
    bits = {name: 8 * nbytes / block for name, block, nbytes in TENSOR_TYPES.values()}
    assert bits["Q4_K"] == 4.5
    assert bits["Q8_0"] == 8.5
    assert bits["IQ1_S"] == 1.5625
    assert bits["TQ1_0"] == 1.6875
    assert bits["MXFP4"] == 4.25
    for name, found in bits.items():
        digits = [int(c) for c in name.split("_")[0] if c.isdigit()]
        low = int("".join(map(str, digits)))
        assert low <= found < low + 1.7, name


def cut_short():
    whole = gguf(PAIRS[:16], TENSORS, bytes(482))
    return [whole[:length] for length in range(4, len(whole) - 1, 17)]


HEAD = struct.pack("<I", 3)
BAD = [
    ("empty", b"", "short"),
    ("other magic", b"GGML" + bytes(60), "magic"),
    ("version 1", gguf(version=1), "version"),
    ("version 4", gguf(version=4), "version"),
    ("big endian", b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "version"),
    ("too many tensors", gguf(counts=(2**64 - 1, 0)), "count"),
    ("too many keys", gguf(counts=(0, 2**63)), "count"),
    ("tensors that are not there", gguf(counts=(5, 0), alignment=1), "short"),
    ("keys that are not there", gguf(counts=(0, 5), alignment=1), "short"),
    ("endless key", gguf([struct.pack("<Q", 2**63)]), "name"),
    ("empty key", gguf([pair("", 4, 1)]), "name"),
    ("key with NUL", gguf([pair("a\0", 4, 1)]), "name"),
    ("key not UTF-8", gguf([pair(b"\xff", 4, 1)]), "utf-8"),
    ("key twice", gguf([pair("a", 4, 1), pair("a", 4, 1)]), "duplicate-key"),
    ("unknown value type", gguf([pair("a", 13, b"")]), "value-type"),
    ("endless string", gguf([pair("a", 8, struct.pack("<Q", 2**64 - 1))]), "short"),
    ("endless array", gguf([pair("a", 9, struct.pack("<IQ", 12, 2**61))]), "short"),
    ("endless array of strings", gguf([pair("a", 9, struct.pack("<IQ", 8, 2**63))]), "short"),
    ("nested array", gguf([pair("a", 9, struct.pack("<IQ", 9, 1) + array(0, [1]))]), "value-type"),
    ("unknown array type", gguf([pair("a", 9, struct.pack("<IQ", 77, 1))]), "value-type"),
    ("alignment 0", gguf([pair("general.alignment", 4, 0)]), "alignment"),
    ("alignment 33", gguf([pair("general.alignment", 4, 33)]), "alignment"),
    ("alignment a text", gguf([pair("general.alignment", 8, "x")]), "alignment"),
    ("alignment negative", gguf([pair("general.alignment", 5, -32)]), "alignment"),
    ("tensor twice", gguf([], [tensor("a", [8], 0, 0), tensor("a", [8], 0, 32)], bytes(64)), "duplicate-name"),
    ("tensor without a name", gguf([], [tensor("", [8], 0, 0)], bytes(32)), "name"),
    ("nine dimensions", gguf([], [tensor("a", [1] * 9, 0, 0)], bytes(32)), "dimensions"),
    ("unknown tensor type", gguf([], [tensor("a", [8], 43, 0)], bytes(32)), "dtype"),
    ("removed tensor type", gguf([], [tensor("a", [8], 4, 0)], bytes(32)), "dtype"),
    ("row of half a block", gguf([], [tensor("a", [16, 2], 2, 0)], bytes(32)), "block"),
    ("quantized scalar", gguf([], [tensor("a", [], 2, 0)], bytes(32)), "block"),
    ("overflowing shape", gguf([], [tensor("a", [2**32, 2**32], 0, 0)], bytes(32)), "overflow"),
    ("overflow beside zero", gguf([], [tensor("a", [2**63, 0], 0, 0)], bytes(32)), "overflow"),
    ("offset not aligned", gguf([], [tensor("a", [1], 0, 4)], bytes(32)), "alignment"),
    ("offset after the file", gguf([], [tensor("a", [1], 0, 2**63)], bytes(32)), "short"),
    ("overlap", gguf([], [tensor("a", [16], 0, 0), tensor("b", [1], 0, 32)], bytes(64)), "overlap"),
    ("data cut short", gguf([], [tensor("a", [8], 0, 0)], bytes(31)), "short"),
]


@pytest.mark.parametrize(("raw", "rule"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_refuses(raw, rule):
    with pytest.raises(Invalid) as caught:
        parse(Bytes(raw), "m.gguf")
    assert (caught.value.facts["rule"], caught.value.facts["file"]) == (rule, "m.gguf")
    assert caught.value.message.startswith(f"m.gguf: byte {caught.value.facts['offset']}: ")


@pytest.mark.parametrize("raw", cut_short(), ids=len)
def test_refuses_a_file_cut_short_anywhere(raw):
    with pytest.raises(Invalid):
        parse(Bytes(raw), "m.gguf")


@settings(max_examples=300)
@given(st.randoms(use_true_random=False))
def test_any_damage_is_refused_or_read_inside_the_file(rng):
    damaged = bytearray(gguf(PAIRS[:16], TENSORS, bytes(482)))
    for _ in range(rng.randint(1, 4)):
        damaged[rng.randrange(4, len(damaged) - 482)] = rng.choice([0, 1, 8, 9, 0x7F, 0xFF, rng.randrange(256)])
    try:
        info = parse(Bytes(bytes(damaged)), "m.gguf")
    except Invalid:
        return
    ends = [0, *(r.end for r in info.regions)]
    assert all(end <= r.begin < r.end <= len(damaged) for end, r in zip(ends, info.regions, strict=False))


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_read(data):
    try:
        info = parse(Bytes(b"GGUF" + HEAD + data), "m.gguf")
    except Invalid:
        return
    assert info.format == "gguf"


def test_text_is_length_then_bytes():
    assert text("é") == b"\x02\0\0\0\0\0\0\0\xc3\xa9"
