"""Torch zips: storages found where they lie, dishonest zips refused, nothing unpickled"""

import io
import struct
import zipfile

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from artifactstore.core.errors import Invalid
from artifactstore.core.formats.torchzip import DIRECTORY_LIMIT, parse
from tests.core.formats.sources import Bytes


def saved(value):
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def zipped(members, compression=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name) if compression == zipfile.ZIP_STORED else name, data)
    return buffer.getvalue()


def storage_bytes(tensor):
    return tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes()


def test_regions_are_the_storages_of_torch_save():
    tensors = [torch.arange(1000.0), torch.arange(7, dtype=torch.uint8), torch.randn(300_000).to(torch.bfloat16)]
    raw = saved({"a": tensors[0], "b": torch.zeros(0), "c": tensors[1], "d": [tensors[2]], "tied": tensors[0]})
    info = parse(Bytes(raw), "m.pt")
    assert (info.format, info.tensors) == ("torch", ())
    assert [region.name for region in info.regions] == ["data/0", "data/2", "data/3"]
    assert [raw[r.begin : r.end] for r in info.regions] == [storage_bytes(t) for t in tensors]


def test_equal_storages_of_two_files_are_equal_regions(tmp_path):
    weights = torch.arange(5000.0)
    raws = []
    for name, value in (("first", {"w": weights}), ("second_with_a_longer_name", {"epoch": 3, "w": weights})):
        torch.save(value, tmp_path / f"{name}.pth")
        raws.append((tmp_path / f"{name}.pth").read_bytes())
    infos = [parse(Bytes(raw), "m.pth") for raw in raws]
    first, second = (raw[info.regions[0].begin : info.regions[0].end] for raw, info in zip(raws, infos, strict=True))
    assert first == second == storage_bytes(weights)


@pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")
def test_reads_torchscript_and_leaves_compressed_members():
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(30, 40)), buffer)
    info = parse(Bytes(buffer.getvalue()), "m.pt")
    assert {region.name: region.end - region.begin for region in info.regions} == {"data/0": 4800, "data/1": 160}


def test_reads_only_heads_of_the_file():
    source = Bytes(saved({f"{n}": torch.zeros(100_000) for n in range(20)}))
    assert len(parse(source, "m.pt").regions) == 20
    assert source.read_nbytes < source.size / 50


def test_other_large_members_are_regions_too():
    raw = zipped(
        [("m/data.pkl", b"p"), ("m/extra/big", bytes(2**20)), ("m/extra/small", bytes(2**20 - 1)), ("m/data/", b"")]
    )
    assert [r.name for r in parse(Bytes(raw), "m.pt").regions] == ["extra/big"]


def test_compressed_members_are_no_regions():
    raw = zipped([("m/data.pkl", b"p"), ("m/data/0", bytes(2**21))], zipfile.ZIP_DEFLATED)
    assert parse(Bytes(raw), "m.pt").regions == ()


def test_local_headers_say_where_data_begin():
    raw = zipped([("m/data.pkl", b"p"), ("m/data/0", b"abcd")])
    at = raw.index(b"PK\x03\x04", 1)
    extra = raw[: at + 28] + struct.pack("<H", 9) + raw[at + 30 : at + 38] + b"123456789" + raw[at + 38 :]
    moved = extra.replace(struct.pack("<I", raw.index(b"PK\x01\x02")), struct.pack("<I", raw.index(b"PK\x01\x02") + 9))
    (region,) = parse(Bytes(moved), "m.pt").regions
    assert moved[region.begin : region.end] == b"abcd"


def patched(raw, signature, offset, code, value, nth=0):
    """`raw` with a field of its nth local (PK34), central (PK12) or end (PK56) header changed"""
    at = -1
    for _ in range(nth + 1):
        at = raw.index(signature, at + 1)
    data = bytearray(raw)
    struct.pack_into(code, data, at + offset, value)
    return bytes(data)


LOCAL, CENTRAL, END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
PLAIN = zipped([("m/data.pkl", b"p"), ("m/data/0", b"abcd")])
SECOND = PLAIN.index(LOCAL, 1)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def duplicate():
    return zipped([("m/data.pkl", b"p"), ("m/data/0", b"a"), ("m/data/0", b"b")])


BAD = [
    ("not a zip", LOCAL + bytes(60), "zip"),
    ("empty file", b"", "zip"),
    ("empty zip", zipped([]), "torch"),
    ("no data.pkl", zipped([("m/data/0", b"a")]), "torch"),
    ("data.pkl at the top", zipped([("data.pkl", b"a")]), "torch"),
    ("data.pkl in upper case", zipped([("m/DATA.pkl", b"a")]), "torch"),
    ("two folders", zipped([("m/data.pkl", b"a"), ("n/data/0", b"a")]), "torch"),
    ("member that climbs", zipped([("m/data.pkl", b"p"), ("m/../../evil", b"a")]), "name"),
    ("member with backslash", zipped([("m/data.pkl", b"p"), ("m/a\\..\\b", b"a")]), "name"),
    ("member with NUL", zipped([("m/data.pkl", b"p"), ("m/data/0", b"a")]).replace(b"data/0", b"data/\0"), "name"),
    ("encrypted", patched(PLAIN, CENTRAL, 8, "<H", 1, 1), "encrypted"),
    ("encrypted in its local header", patched(PLAIN, LOCAL, 6, "<H", 1, 1), "local-header"),
    ("two sizes", patched(PLAIN, CENTRAL, 24, "<I", 3, 1), "size"),
    ("other method in its local header", patched(PLAIN, LOCAL, 8, "<H", 8, 1), "local-header"),
    ("other name in its local header", PLAIN.replace(b"m/data/0", b"m/data/1", 1), "local-header"),
    ("local header elsewhere", patched(PLAIN, CENTRAL, 42, "<I", SECOND + 1, 1), "local-header"),
    ("local header after the file", patched(PLAIN, CENTRAL, 42, "<I", 2**31, 1), "local-header"),
    ("long local header", patched(PLAIN, LOCAL, 28, "<H", 65535, 1), "local-header"),
    ("data that run into the next member", patched(patched(PLAIN, CENTRAL, 20, "<I", 9), CENTRAL, 24, "<I", 9), "overlap"),
    ("data that run into the directory", patched(patched(PLAIN, CENTRAL, 20, "<I", 9, 1), CENTRAL, 24, "<I", 9, 1), "short"),
    ("directory before the file", patched(PLAIN, END, 12, "<I", 2**31), "zip"),
    ("newer version", patched(PLAIN, CENTRAL, 6, "<H", 99), "zip"),
    ("cut short", PLAIN[:-30], "zip"),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "rule"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_refuses(raw, rule):
    with pytest.raises(Invalid) as caught:
        parse(Bytes(raw), "m.pt")
    assert (caught.value.facts["rule"], caught.value.facts["file"]) == (rule, "m.pt")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_refuses_duplicate_members():
    with pytest.raises(Invalid, match="duplicate member 'm/data/0'"):
        parse(Bytes(duplicate()), "m.pt")


def test_refuses_a_directory_that_would_fill_memory():
    with pytest.raises(Invalid, match="a directory of"):
        parse(Bytes(patched(bytes(DIRECTORY_LIMIT) + PLAIN, END, 12, "<I", DIRECTORY_LIMIT + 100)), "m.pt")


@settings(max_examples=300)
@given(st.randoms(use_true_random=False))
def test_any_damage_is_refused_or_read_inside_the_file(rng):
    damaged = bytearray(PLAIN)
    for _ in range(rng.randint(1, 4)):
        damaged[rng.randrange(len(damaged))] = rng.choice([0, 1, 0xFF, rng.randrange(256)])
    try:
        info = parse(Bytes(bytes(damaged)), "m.pt")
    except Invalid:
        return
    assert all(0 <= r.begin < r.end <= len(damaged) for r in info.regions)
