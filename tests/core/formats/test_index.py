"""Indexes of sharded models, held against their shards"""

import json

import pytest

from artifactstore.core.errors import Invalid
from artifactstore.core.formats.base import FileInfo, TensorInfo
from artifactstore.core.formats.index import check, is_index, parse

PATH = "unet/model.safetensors.index.json"
MAP = {"a": "model-1.safetensors", "b": "model-2.safetensors", "c": "model-2.safetensors"}


def document(weight_map=MAP, **metadata):
    return json.dumps({"metadata": {"total_size": 12, **metadata}, "weight_map": weight_map}).encode()


def shard(*names, kind="safetensors"):
    return FileInfo(kind, tuple(TensorInfo(name, "F32", (1,), 80 + 4 * n, 84 + 4 * n) for n, name in enumerate(names)))


SHARDS = {
    "unet/model-1.safetensors": shard("a"),
    "unet/model-2.safetensors": shard("b", "c"),
    "other": FileInfo("other"),
}


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("model.safetensors.index.json", True),
        ("unet/diffusion_pytorch_model.safetensors.index.fp16.json", True),
        ("pytorch_model.bin.index.json", True),
        ("any.index.json", True),
        ("index.json", False),
        ("a.index.json/config.json", False),
        ("model.safetensors", False),
    ],
)
def test_names(path, named):
    assert is_index(path) is named


def test_reads_an_index():
    index = parse(document(), PATH)
    assert (index.path, index.total_size) == (PATH, 12)
    assert index.weight_map == {name: f"unet/{shard}" for name, shard in MAP.items()}
    check(index, SHARDS)


@pytest.mark.parametrize(
    "metadata", [{}, {"metadata": {}}, {"metadata": {"total_size": None}}, {"metadata": {"total_size": 12.0}}]
)
def test_total_size_may_be_missing_or_a_whole_float(metadata):
    index = parse(json.dumps({"weight_map": MAP, **metadata}).encode(), PATH)
    assert index.total_size in {None, 12}
    check(index, SHARDS)


@pytest.mark.parametrize("path", [PATH, "any.index.json"])
@pytest.mark.parametrize("data", [b"{}", b"[]", b"null", b'{"a":1,"a":2}'])
def test_other_json_is_no_index(data, path):
    assert parse(data, path) is None


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 100_000, b"9" * 5000])
def test_broken_json_is_refused_where_the_name_is_sure(data):
    assert parse(data, "any.index.json") is None
    with pytest.raises(Invalid) as caught:
        parse(data, PATH)
    assert caught.value.facts == {"file": PATH, "rule": "json"}


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b'{"weight_map":{"a":"x.safetensors","a":"y.safetensors"}}', "duplicate-key"),
        (b'{"weight_map":{},"weight_map":{}}', "duplicate-key"),
        (b'{"weight_map":["a"]}', "weight-map"),
        (b'{"weight_map":null}', "weight-map"),
        (b'{"weight_map":{"a":1}}', "weight-map"),
        (b'{"weight_map":{"a":["x.safetensors"]}}', "weight-map"),
        (document({"a": "/etc/x.safetensors"}), "shard-path"),
        (document({"a": "../x.safetensors"}), "shard-path"),
        (document({"a": "b/../../x.safetensors"}), "shard-path"),
        (document({"a": "C:\\x.safetensors"}), "shard-path"),
        (document({"a": ""}), "shard-path"),
        (document({"a": "\ud800.safetensors"}), "shard-path"),
        (document(total_size="12"), "total-size"),
        (document(total_size=-1), "total-size"),
        (document(total_size=True), "total-size"),
        (document(total_size=1.5), "total-size"),
        (document(total_size=float("nan")), "total-size"),
        (b'{"metadata":{"total_size":1e999},"weight_map":{}}', "total-size"),
        (b'{"metadata":[],"weight_map":{}}', "metadata"),
    ],
)
def test_refuses_a_broken_index(data, rule):
    with pytest.raises(Invalid) as caught:
        parse(data, PATH)
    assert caught.value.facts == {"file": PATH, "rule": rule}
    assert caught.value.message.startswith(f"{PATH}: ")


@pytest.mark.parametrize(
    ("shards", "rule"),
    [
        ({"unet/model-2.safetensors": None}, "missing-shard"),
        ({"unet/model-1.safetensors": shard()}, "wrong-shard"),
        ({"unet/model-1.safetensors": shard("a", "b")}, "wrong-shard"),
        ({"unet/model-1.safetensors": shard("b"), "unet/model-2.safetensors": shard("a", "c")}, "wrong-shard"),
        ({"unet/model-2.safetensors": shard("b", "c", "d")}, "wrong-shard"),
    ],
)
def test_refuses_shards_that_do_not_fit(shards, rule):
    files = {path: info for path, info in (SHARDS | shards).items() if info}
    with pytest.raises(Invalid) as caught:
        check(parse(document(), PATH), files)
    assert caught.value.facts == {"file": PATH, "rule": rule}


def test_refuses_a_wrong_total_size():
    with pytest.raises(Invalid, match="total_size is 13, the shards hold 12 bytes"):
        check(parse(document(total_size=13), PATH), SHARDS)


def test_other_shards_need_only_be_there():
    index = parse(document({"a": "model-1.bin", "b": "model-2.bin"}, total_size=999), "pytorch_model.bin.index.json")
    check(index, {"model-1.bin": FileInfo("torch"), "model-2.bin": FileInfo("pickle")})
    with pytest.raises(Invalid, match=r"shard 'model-2\.bin' is missing"):
        check(index, {"model-1.bin": FileInfo("torch")})


def test_shards_are_sought_beside_the_index():
    with pytest.raises(Invalid, match="missing"):
        check(parse(document(), "model.safetensors.index.json"), SHARDS)
