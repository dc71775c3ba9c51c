"""ONNX with its weights in files beside the graph, run by onnxruntime"""

import contextlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.core.errors import Invalid, Refused
from artifactstore.core.names import SafePath
from artifactstore.derive.shard import onnx_split, proto
from artifactstore.derive.shard.plan import plan
from artifactstore.derive.shard.proto import Message
from artifactstore.derive.shard.run import run
from tests.derive.shard.test_safetensors_split import InMemory
from tests.ops.trees import contents

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

X = np.random.default_rng(1).standard_normal((2, 40)).astype(np.float32)


def graph(layers=6):
    """A chain of matrices, a small weight among them, and one whose numbers are no raw bytes"""
    make, random = onnx.helper, np.random.default_rng(0)
    weights, nodes = [], []
    for n in range(layers):
        matrix = random.standard_normal((40, 40)).astype(np.float32) / 6
        weights.append(onnx.numpy_helper.from_array(matrix, f"w{n}"))
        nodes.append(make.make_node("MatMul", [f"x{n}", f"w{n}"], [f"x{n + 1}"]))
    weights.append(onnx.numpy_helper.from_array(random.standard_normal(40).astype(np.float32), "bias"))
    weights.append(make.make_tensor("listed", onnx.TensorProto.FLOAT, [40], random.standard_normal(40)))
    nodes.append(make.make_node("Add", [f"x{layers}", "bias"], ["a"]))
    nodes.append(make.make_node("Add", ["a", "listed"], ["y"]))
    ends = [make.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2, 40]) for name in ("x0", "y")]
    # the file has them in another order than they are used
    made = make.make_graph(nodes, "g", [ends[0]], [ends[1]], list(reversed(weights)))
    return make.make_model(made, ir_version=10, opset_imports=[make.make_opsetid("", 20)])


@pytest.fixture
def model(store, tmp_path):
    """It as model:1, its weights inside"""
    (tmp_path / "model" / "onnx").mkdir(parents=True)
    onnx.save_model(graph(), tmp_path / "model/onnx/model_q4.onnx")
    (tmp_path / "model/config.json").write_text('{"model_type": "x"}')
    store.add([tmp_path / "model"], name="model")
    return tmp_path / "model/onnx/model_q4.onnx"


def calculated(path):
    return onnxruntime.InferenceSession(str(path)).run(None, {"x0": X})[0]


def divided(store, ref, dest, ceiling):
    return run(store.depot, plan(store.depot, store.resolve(ref), dest, ceiling))


def test_data_of_another_division_is_refused_or_goes(store, model, tmp_path):
    dest = tmp_path / "out"
    divided(store, "model", dest, 9_000)
    version = store.resolve("model")
    with pytest.raises(Refused, match=r"onnx_data_\d is of another division|is there with other content"):
        plan(store.depot, version, dest, 15_000)
    run(store.depot, plan(store.depot, version, dest, 15_000, force=True))
    divided(store, "model", tmp_path / "fresh", 15_000)
    assert contents(dest) == contents(tmp_path / "fresh")


def test_weights_lie_in_files_that_transformers_js_finds(store, model, tmp_path):
    report = divided(store, "model", tmp_path / "out", 14_000)
    sizes = {str(file.path): file.size for file in report.files}
    names = [f"onnx/model_q4.onnx_data{suffix}" for suffix in ("", "_1", "_2")]
    assert sizes.keys() == {"config.json", "onnx/model_q4.onnx", *names}
    assert max(sizes.values()) <= 14_000
    assert report.reassembled == 1
    told = json.loads((tmp_path / "out/config.json").read_text())
    assert told["transformers.js_config"] == {"use_external_data_format": {"model_q4.onnx": 3}}
    assert np.array_equal(calculated(tmp_path / "out/onnx/model_q4.onnx"), calculated(model))
    found = onnx.load(tmp_path / "out/onnx/model_q4.onnx", load_external_data=False)
    where = {one.name: {row.key: row.value for row in one.external_data} for one in found.graph.initializer}
    assert where["w0"] == {"location": "model_q4.onnx_data", "offset": "0", "length": "6400"}
    assert where["w5"]["location"] == "model_q4.onnx_data_2"
    assert (where["bias"], where["listed"]) == ({}, {})
    onnx.checker.check_model(str(tmp_path / "out/onnx/model_q4.onnx"))


def test_weights_that_lie_beside_already_are_divided_anew(store, tmp_path):
    (tmp_path / "m").mkdir()
    onnx.save_model(graph(), tmp_path / "m/model.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    store.add([tmp_path / "m"], name="beside")
    report = divided(store, "beside", tmp_path / "out", 20_000)
    assert {str(file.path) for file in report.files} == {"model.onnx", "model.onnx_data", "model.onnx_data_1"}
    assert report.reassembled == 2
    assert np.array_equal(calculated(tmp_path / "out/model.onnx"), calculated(tmp_path / "m/model.onnx"))


def test_what_fits_is_copied(store, model, tmp_path):
    divided(store, "model", tmp_path / "out", 10**6)
    assert (tmp_path / "out/onnx/model_q4.onnx").read_bytes() == model.read_bytes()
    assert (tmp_path / "out/config.json").read_text() == '{"model_type": "x"}'


def test_bad_input(store, model, tmp_path):
    with pytest.raises(Invalid, match=r"Tensor 'w\d' alone takes 6.4 kB"):
        divided(store, "model", tmp_path / "out", 6_000)
    (tmp_path / "bad.onnx").write_bytes(b"\x3a\xff\xff\xff" * 5000)
    store.add([tmp_path / "bad.onnx"], name="bad")
    with pytest.raises(Invalid, match=r"bad.onnx: byte \d+: .*; it is no ONNX file, or damaged"):
        divided(store, "bad", tmp_path / "out", 6_000)
    (tmp_path / "m").mkdir()
    onnx.save_model(graph(), tmp_path / "m/model.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    store.add([tmp_path / "m/model.onnx", tmp_path / "model/onnx/model_q4.onnx"], name="alone")
    with pytest.raises(Invalid, match=r"model.onnx: weights lie in w.bin, which is not there"):
        divided(store, "alone", tmp_path / "out", 14_000)
    assert not (tmp_path / "out").exists()


def test_a_place_outside_of_the_version_is_refused(store, tmp_path):
    found = graph()
    weight = found.graph.initializer[-1]
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="../../etc/passwd")
    (tmp_path / "m.onnx").write_bytes(found.SerializeToString())
    store.add([tmp_path / "m.onnx"], name="bad")
    with pytest.raises(Invalid, match=r"etc/passwd"):
        divided(store, "bad", tmp_path / "out", 14_000)


@given(st.binary(max_size=200))
def test_no_bytes_make_the_reader_fail_otherwise(raw):
    path = SafePath("m.onnx")
    with contextlib.suppress(Invalid):
        onnx_split.read(Message(InMemory(raw), path), path, lambda _: None)


@given(st.integers(0, 2**63 - 1))
def test_numbers_come_back(value):
    raw = proto.number(3, value)
    (found,) = Message(InMemory(raw), "m").fields(0, len(raw))
    assert (found.id, found.number, found.end) == (3, value, len(raw))
