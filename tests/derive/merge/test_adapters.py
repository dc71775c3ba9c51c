"""Adapters merged on the fly, held against peft"""

import pytest
import torch
import yaml

from tests.derive.merge.mergekit import loaded
from tests.derive.merge.shapes import family


@pytest.fixture
def models(tmp_path):
    return family("llama", tmp_path, 2, torch.float32)


@pytest.fixture
def adapter(models, tmp_path):
    peft = pytest.importorskip("peft", reason="peft is the oracle here")
    from transformers import LlamaForCausalLM  # it takes seconds

    torch.manual_seed(5)
    config = peft.LoraConfig(r=4, lora_alpha=16, target_modules=["q_proj", "down_proj"])
    model = peft.get_peft_model(LlamaForCausalLM.from_pretrained(models[1]), config)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    model.save_pretrained(tmp_path / "lora")
    model.merge_and_unload().save_pretrained(tmp_path / "whole")
    return tmp_path / "lora"


def recipe_of(first, other):
    return {
        "merge_method": "linear",
        "models": [
            {"model": str(first), "parameters": {"weight": 0.4}},
            {"model": str(other), "parameters": {"weight": 0.6}},
        ],
        "dtype": "float32",
    }


def test_it_is_as_if_it_had_been_merged_before(store, tmp_path, models, adapter):
    found = {}
    for name, other in (("lazy", f"{models[1]}+{adapter}"), ("whole", tmp_path / "whole")):
        (tmp_path / f"{name}.yml").write_text(yaml.safe_dump(recipe_of(models[0], other)))
        store.merge(tmp_path / f"{name}.yml", name=name)
        store.checkout(name, tmp_path / f"{name}-out")
        found[name] = loaded(tmp_path / f"{name}-out")
    assert found["lazy"].keys() == found["whole"].keys()
    for key, tensor in found["whole"].items():
        assert torch.allclose(found["lazy"][key], tensor, rtol=1e-5, atol=1e-7), key
    assert not torch.equal(
        found["lazy"]["model.layers.0.mlp.down_proj.weight"], loaded(models[1])["model.layers.0.mlp.down_proj.weight"]
    )


def test_it_is_one_of_the_parents(store, tmp_path, models, adapter):
    for number, folder in enumerate(models):
        store.add([folder], name=f"org/m{number}")
    store.add([adapter], name="org/lora")
    (tmp_path / "r.yml").write_text(yaml.safe_dump(recipe_of("org/m0", "org/m1+org/lora")))
    store.merge(tmp_path / "r.yml", name="merged")
    parents = store.show("merged")["parents"]
    assert [(one["ref"], one["weight"]) for one in parents] == [
        ("org/m0:1", 0.4),
        ("org/m1:1", 0.6),
        ("org/lora:1", None),
    ]


def test_what_is_no_adapter_is_refused(store, tmp_path, models):
    (tmp_path / "r.yml").write_text(yaml.safe_dump(recipe_of(models[0], f"{models[1]}+{models[0]}")))
    with pytest.raises(Exception, match="adapter_config"):
        store.plan_merge(tmp_path / "r.yml", name="merged")
