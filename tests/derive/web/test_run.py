"""A version in, a version for the web out"""

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save_file

from artifactstore.core.errors import Invalid, NoSpace, NotFound
from artifactstore.derive.web import plan as plans
from artifactstore.derive.web.convert import convert
from artifactstore.derive.web.levels import LEVELS
from artifactstore.derive.web.run import run
from artifactstore.store import Store
from tests.derive.web.graphs import generated


@pytest.fixture
def held(store, qwen):
    store.add([qwen], name="qwen", license="MIT")
    return store.resolve("qwen")


def test_a_version_becomes_one_for_the_web(store, held, exported, tmp_path):
    plan = plans.plan(store, "qwen", "q4", "qwen-web")
    assert plan.to_json()["parents"] == [
        {"relation": "quantize", "ref": "qwen:1", "id": str(held.id), "params": {"level": "q4", "target": "web"}}
    ]
    # who remembers a version that is gone makes it anew
    store.depot.catalog.memos.put({plan.key: b"0" * 64})
    report = run(store.depot, plan, inline=0)
    shown = store.show("qwen-web")
    assert [(one["relation"], one["ref"]) for one in shown["parents"]] == [("quantize", "qwen:1")]
    assert shown["license"] == "MIT"
    files = {file["path"]: file["size"] for file in shown["files"]}
    size = files["onnx/model_q4.onnx"] + files["onnx/model_q4.onnx_data"]
    said = shown["metadata"]["quantize"]
    assert said == {"level": "q4", "target": "web", "bits_per_weight": round(8 * size / plan.weights, 4)}
    assert files.keys() >= {"config.json", "tokenizer.json", "tokenizer_config.json"}
    assert not any(path.endswith(".safetensors") for path in files)
    store.checkout("qwen-web", tmp_path / "out")
    said = json.loads((tmp_path / "out/config.json").read_text())["transformers.js_config"]
    assert said == {"dtype": "q4", "use_external_data_format": {"model_q4.onnx": 1}}
    assert len(generated(tmp_path / "out", tmp_path / "out/onnx/model_q4.onnx", "hello", 8)) > 5
    again = run(store.depot, plans.plan(store, "qwen", "q4", "qwen-web"))
    assert (again.committed.version.id, again.committed.existed) == (report.committed.version.id, True)
    # exported twice it is the same bytes
    for path in convert(exported["qwen"], LEVELS["q4"], tmp_path, inline=0):
        assert path.read_bytes() == (tmp_path / "out/onnx" / path.name).read_bytes()


def test_bad_input_is_refused_and_leaves_nothing(store, held, tmp_path):
    with pytest.raises(Invalid, match="The web holds no fp8"):
        plans.plan(store, "qwen", "fp8", "qwen-web")
    with pytest.raises(NotFound, match="nothing is neither in the store nor a folder here"):
        plans.plan(store, "nothing", "q4", "qwen-web")
    with pytest.raises(Invalid, match="qwen is the model itself"):
        plans.plan(store, "qwen", "q4", "qwen")
    (tmp_path / "t5").mkdir()
    save_file({"w": np.zeros(3, np.float32)}, tmp_path / "t5/model.safetensors")
    (tmp_path / "t5/config.json").write_text('{"architectures": ["T5Model"], "is_encoder_decoder": true}')
    with pytest.raises(Invalid, match="T5Model has an encoder and a decoder"):
        plans.plan(store, str(tmp_path / "t5"), "q4", "t5-web")
    assert [str(version.artifact) for version in store.ls()] == ["qwen"]


def test_a_full_store_is_told_before_the_work(mounted, qwen):
    with Store.init(str(mounted("size=1m") / "store")) as store:
        plan = plans.plan(store, str(qwen), "q4", "qwen-web")
        # which nothing could export
        with pytest.raises(NoSpace, match=r"to add, .* are free at"):
            run(store.depot, replace(plan, architecture="NoSuchModel"))


@pytest.mark.parametrize(("level", "word"), [("q3", "4 and 2 bits"), ("q2", "2 bits lose much")])
def test_what_people_should_know_is_said(store, held, level, word):
    assert any(word in note for note in plans.plan(store, "qwen", level, "qwen-web").notes)
