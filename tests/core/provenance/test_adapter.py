"""Adapter configs: the model an adapter is for"""

import json

import pytest

from artifactstore.core.errors import Invalid
from artifactstore.core.provenance import adapter
from tests.core.provenance.versions import Told, brief

PEFT = {
    "alpha_pattern": {},
    "auto_mapping": None,
    "base_model_name_or_path": "meta-llama/Llama-3.1-8B-Instruct",
    "bias": "none",
    "inference_mode": True,
    "lora_alpha": 16,
    "lora_dropout": 0.05,
    "modules_to_save": None,
    "peft_type": "LORA",
    "r": 8,
    "revision": None,
    "target_modules": ["q_proj", "v_proj"],
    "task_type": "CAUSAL_LM",
}
ADAPTERS = {"architecture": None, "config": {}, "model_name": "bert-base-uncased", "name": "sst-2"}


def read(document):
    told = Told()
    return adapter.read(document, "adapter_config.json", told), told.lines


@pytest.mark.parametrize(
    ("changes", "ref"),
    [
        ({}, "hf://meta-llama/Llama-3.1-8B-Instruct"),
        ({"revision": "abc123"}, "hf://meta-llama/Llama-3.1-8B-Instruct@abc123"),
        ({"base_model_name_or_path": "/data/llama-8b"}, "file:llama-8b"),
        ({"base_model_name_or_path": "gpt2"}, "hf://gpt2"),
    ],
)
def test_a_config_of_peft(changes, ref):
    found, told = read(json.loads(json.dumps(PEFT | changes)))
    assert brief(found.parents) == [("adapter", ref)]
    assert dict(found.parents[0].params) == {"read": "adapter_config.json", "peft_type": "LORA"}
    assert (found.license, told) == (None, [])


def test_a_config_of_adapterhub():
    found, _ = read(ADAPTERS)
    assert brief(found.parents) == [("adapter", "hf://bert-base-uncased")]
    assert dict(found.parents[0].params) == {"read": "adapter_config.json"}


@pytest.mark.parametrize("document", [{}, {"base_model_name_or_path": None}, {"base_model_name_or_path": ""}])
def test_a_config_that_names_no_model(document):
    assert read(document) == (adapter.Provenance(), [])


@pytest.mark.parametrize("base", [7, ["a/b"], {"path": "a/b"}, "a\0b", "x" * 5000, True])
def test_what_names_no_model_is_told(base):
    found, (line,) = read({"base_model_name_or_path": base, "peft_type": 7})
    assert found == adapter.Provenance()
    assert "names no model" in line


@pytest.mark.parametrize("document", [None, [], "text", 7])
def test_what_is_no_object_is_refused(document):
    with pytest.raises(Invalid, match="not keys and values"):
        read(document)
