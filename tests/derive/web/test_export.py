"""Graphs of models: what they calculate, and what is refused before it is read"""

import subprocess
import sys

import numpy as np
import pytest

from artifactstore.core.errors import Invalid
from artifactstore.derive.web.export import check, export
from artifactstore.derive.web.graph import Graph
from tests.derive.web.graphs import distance, expected, run, session

IDS = np.array([[5, 9, 200, 31, 7, 66, 12], [8, 8, 4, 100, 263, 50, 6]], np.int64)


@pytest.mark.parametrize("name", ["qwen", "llama", "bert"])
def test_a_graph_calculates_what_the_model_does(request, exported, name):
    right = expected(request.getfixturevalue(name), IDS)
    found, _ = run(exported[name], IDS)
    assert found.shape == right.shape
    assert distance(found, right) < 1e-5
    one, _ = run(exported[name], IDS[:1, :3])
    assert distance(one, expected(request.getfixturevalue(name), IDS[:1, :3])) < 1e-5


def test_a_language_model_goes_on_from_its_cache(exported, qwen):
    _, cache = run(exported["qwen"], IDS[:1, :5])
    found, _ = run(exported["qwen"], IDS[:1, 5:], cache)
    assert distance(found, expected(qwen, IDS)[:1, 5:]) < 1e-5


def test_names_are_those_that_transformers_js_knows(exported):
    inputs = {one.name: one.shape for one in session(exported["qwen"]).get_inputs()}
    assert inputs["past_key_values.1.value"] == ["batch_size", 2, "past_sequence_length", 16]
    assert {"input_ids", "attention_mask"} < inputs.keys()
    bert = session(exported["bert"])
    assert [one.name for one in bert.get_inputs()] == ["input_ids", "attention_mask", "token_type_ids"]
    assert [one.name for one in bert.get_outputs()] == ["last_hidden_state"]


def test_matrices_are_named_by_where_they_stand(exported):
    names = {node.name for node in Graph(exported["bert"]).model.graph.node if node.op_type == "MatMul"}
    assert {"/encoder/layer/1/attention/self/query/MatMul", "/encoder/layer/0/output/dense/MatMul"} < names


def test_nobody_hears_the_libraries(bert, tmp_path):
    call = f"export(Path({str(bert)!r}), 'BertModel', Path({str(tmp_path)!r}))"
    code = f"from pathlib import Path; from artifactstore.derive.web.export import export; {call}"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (ran.stdout, ran.stderr) == ("", "")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, r"config.json of model:1 names no architecture"),
        ({"architectures": ["T5Model"], "is_encoder_decoder": True}, "T5Model has an encoder and a decoder"),
        ({"architectures": ["LlamaForCausalLM"], "quantization_config": {}}, "model:1 is quantized already"),
        ({"architectures": ["OwnModel"], "auto_map": {"AutoModel": "own.py"}}, "brings code of its own"),
    ],
)
def test_what_cannot_be_exported_is_refused(config, message):
    with pytest.raises(Invalid, match=message):
        check(config, "model:1")


def test_what_the_libraries_do_not_know_is_refused(bert, tmp_path):
    with pytest.raises(Invalid, match="knows no NoSuchModel"):
        export(bert, "NoSuchModel", tmp_path / "a")
    with pytest.raises(Invalid, match="ViTModel reads no text"):
        export(bert, "ViTModel", tmp_path / "b")


def test_the_builder_says_why_it_failed(bert, tmp_path):
    with pytest.raises(Invalid, match="onnxruntime-genai could not export bert: NotImplementedError"):
        export(bert, "BertForCausalLM", tmp_path / "a")
