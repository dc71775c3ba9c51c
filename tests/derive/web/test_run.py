"""A version in, a version for the web out"""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from artifactstore.core.errors import Invalid, NotFound
from artifactstore.derive.web import plan as plans
from artifactstore.derive.web.run import run
from tests.derive.web.graphs import distance, expected, generated
from tests.derive.web.graphs import run as run_graph

IDS = np.array([[5, 9, 200, 31, 7]], np.int64)


@pytest.fixture
def held(store, bert):
    store.add([bert], name="bert", license="MIT")
    return store.resolve("bert")


def test_a_version_becomes_one_for_the_web(store, held, bert, tmp_path):
    plan = plans.plan(store, "bert", "q8", "bert-web")
    assert plan.to_json()["parents"] == [
        {"relation": "quantize", "ref": "bert:1", "id": str(held.id), "params": {"level": "q8", "target": "web"}}
    ]
    report = run(store.depot, plan)
    shown = store.show("bert-web")
    assert [(one["relation"], one["ref"]) for one in shown["parents"]] == [("quantize", "bert:1")]
    assert shown["license"] == "MIT"
    size = next(file["size"] for file in shown["files"] if file["path"] == "onnx/model_quantized.onnx")
    said = shown["metadata"]["quantize"]
    assert said == {"level": "q8", "target": "web", "bits_per_weight": round(8 * size / plan.weights, 4)}
    assert {file["path"] for file in shown["files"]} >= {"config.json", "tokenizer.json", "tokenizer_config.json"}
    assert not any(file["path"].endswith(".safetensors") for file in shown["files"])
    store.checkout("bert-web", tmp_path / "out")
    assert json.loads((tmp_path / "out/config.json").read_text())["transformers.js_config"] == {"dtype": "q8"}
    found, _ = run_graph(tmp_path / "out/onnx/model_quantized.onnx", IDS)
    assert distance(found, expected(bert, IDS)) < 0.3
    again = run(store.depot, plans.plan(store, "bert", "q8", "bert-web"))
    assert (again.committed.version.id, again.committed.existed) == (report.committed.version.id, True)
    # who remembers a version that is gone makes it anew, to the same bytes
    store.depot.catalog.memos.put({plan.key: b"0" * 64})
    assert run(store.depot, plan).committed.version.id == report.committed.version.id


def test_weights_beside_the_graph_are_counted(store, qwen, tmp_path):
    report = run(store.depot, plans.plan(store, str(qwen), "q4", "qwen-web"), inline=0)
    store.checkout(str(report.committed.version.id), tmp_path / "out")
    said = json.loads((tmp_path / "out/config.json").read_text())["transformers.js_config"]
    assert said == {"dtype": "q4", "use_external_data_format": {"model_q4.onnx": 1}}
    tokens = generated(tmp_path / "out", tmp_path / "out/onnx/model_q4.onnx", "hello", 8)
    assert len(tokens) > 5


def test_bad_input_is_refused_and_leaves_nothing(store, held, tmp_path):
    with pytest.raises(Invalid, match="The web holds no fp8"):
        plans.plan(store, "bert", "fp8", "bert-web")
    with pytest.raises(NotFound, match="nothing is neither in the store nor a folder here"):
        plans.plan(store, "nothing", "q4", "bert-web")
    with pytest.raises(Invalid, match="bert is the model itself"):
        plans.plan(store, "bert", "q4", "bert")
    (tmp_path / "t5").mkdir()
    save_file({"w": np.zeros(3, np.float32)}, tmp_path / "t5/model.safetensors")
    (tmp_path / "t5/config.json").write_text('{"architectures": ["T5Model"], "is_encoder_decoder": true}')
    with pytest.raises(Invalid, match="T5Model has an encoder and a decoder"):
        plans.plan(store, str(tmp_path / "t5"), "q4", "t5-web")
    assert [str(version.artifact) for version in store.ls()] == ["bert"]


@pytest.mark.parametrize(("level", "word"), [("q3", "4 and 2 bits"), ("q2", "2 bits lose much")])
def test_what_people_should_know_is_said(store, held, level, word):
    assert any(word in note for note in plans.plan(store, "bert", level, "bert-web").notes)
