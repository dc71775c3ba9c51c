"""What must hold of a model that works, and what fails when it is broken by hand"""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from artifactstore.core.lineage import Relation
from artifactstore.derive.evaluate.gates import Beside, of_files, of_model
from artifactstore.derive.evaluate.models.config import read_config
from artifactstore.derive.evaluate.models.opening import look, open_model


def gates(folder, source=None, relation=Relation.QUANTIZE):
    chosen, config = look(folder), read_config(folder)
    found = list(of_files(folder, chosen, config))
    beside = None
    if source is not None:
        beside = Beside("source:1", open_model(source, look(source)), read_config(source), relation)
    found += of_model(open_model(folder, chosen), beside, config)
    return {gate.name: gate for gate in found}


def failed(found):
    return sorted(name for name, gate in found.items() if gate.passed is False)


@pytest.fixture
def broken(tmp_path):
    """A copy of a model with its tensors, configuration or tokenizer changed"""

    def make(folder, change=None, tokens=None, **config):
        copy = shutil.copytree(folder, tmp_path / "broken")
        if change is not None:
            tensors = load_file(copy / "model.safetensors")
            change(tensors)
            save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
        said = json.loads((copy / "config.json").read_text())
        (copy / "config.json").write_text(json.dumps({**said, **config}))
        if tokens is not None:
            tokens(copy / "tokenizer.json")
        return copy

    return make


def test_a_model_that_works_passes(llama, qwen):
    for folder in (llama, qwen):
        found = gates(folder, source=folder)
        assert failed(found) == []
        assert found["kl"].value == 0
        assert found["perplexity"].value < 10
        assert {"finite", "zeros", "tokenizer", "positions", "perplexity", "writes", "kl"} <= set(found)


def test_an_encoder_that_works_passes(minilm):
    found = gates(minilm, source=minilm)
    assert failed(found) == []
    assert found["cosine"].value == pytest.approx(1)
    assert found["vectors"].value < 0.5


def test_without_a_source_nothing_is_said_of_it(llama):
    found = gates(llama)
    assert found["kl"].passed is None
    assert failed(found) == []


def test_a_number_that_is_none(llama, broken):
    def change(tensors):
        tensors["model.layers.1.mlp.up_proj.weight"][3, 4] = torch.nan

    found = list(of_files(folder := broken(llama, change), look(folder), read_config(folder)))
    assert [gate.name for gate in found if not gate.passed] == ["finite"]
    assert found[0].says == "not finite: model.layers.1.mlp.up_proj.weight"


def test_zeros(llama, broken):
    def change(tensors):
        for tensor in tensors.values():
            tensor.zero_()

    found = gates(broken(llama, change))
    assert failed(found) == ["perplexity", "writes", "zeros"]
    assert "nothing but zeros: lm_head.weight" in found["zeros"].says
    assert "and 18 more" in found["zeros"].says


def test_noise_is_no_text(llama, broken):
    def change(tensors):
        torch.manual_seed(1)
        for tensor in tensors.values():
            tensor.normal_(0, 0.5)

    found = gates(broken(llama, change), source=llama)
    assert failed(found) == ["kl", "perplexity"]


def test_a_tie_that_is_none(qwen, broken):
    def change(tensors):
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"] + 1

    folder = broken(qwen, change)
    tied = {gate.name: gate for gate in of_files(folder, look(folder), read_config(folder))}["tied"]
    assert tied.passed is False


def test_a_tie_that_is_stored_twice(qwen, broken):
    folder = broken(qwen, lambda tensors: tensors.update({"lm_head.weight": tensors["model.embed_tokens.weight"] + 0}))
    assert {gate.name: gate.passed for gate in of_files(folder, look(folder), read_config(folder))}["tied"]


def test_another_rope(llama, broken):
    found = gates(broken(llama, rope_parameters={"rope_theta": 500.0, "rope_type": "default"}), source=llama)
    assert "positions" in failed(found)
    assert found["positions"].says == "rope_theta is 500, that of source:1 10000"


def test_more_tokens_than_the_model_has(llama, broken):
    def tokens(path):
        said = json.loads(path.read_text())
        at = len(said["model"]["vocab"])
        said["added_tokens"] += [
            {**said["added_tokens"][0], "id": at + number, "content": f"<{number}>"} for number in range(40)
        ]
        path.write_text(json.dumps(said))

    found = gates(broken(llama, tokens=tokens))
    assert failed(found) == ["tokenizer"]
    assert found["tokenizer"].says == "it has 540 tokens, the model 512"


def test_one_and_the_same_token(llama, broken):
    def change(tensors):
        tensors["lm_head.weight"].zero_()
        tensors["lm_head.weight"][7] = 1e-3

    found = gates(broken(llama, change))
    assert "writes" in failed(found)
    assert "repeats itself" in found["writes"].says


def test_a_source_of_another_kind_is_told_of(llama, minilm):
    assert gates(llama, source=minilm)["kl"].says == "source:1 is no language model"
    assert gates(minilm, source=llama)["cosine"].passed is None


def test_what_is_mixed_may_be_farther_away(llama, broken):
    def change(tensors):
        torch.manual_seed(0)
        for tensor in tensors.values():
            tensor.add_(torch.randn_like(tensor) * 0.035)

    folder = broken(llama, change)
    assert gates(folder, source=llama, relation=Relation.MERGE)["kl"].passed
    assert not gates(folder, source=llama, relation=Relation.QUANTIZE)["kl"].passed
