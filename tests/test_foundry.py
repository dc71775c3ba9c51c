"""The verbs of the foundry on a store"""

import json

import pytest
import torch
import transformers
import yaml
from safetensors.torch import load_file

from artifactstore.core.errors import Invalid, NotFound
from artifactstore.store import Store
from tests.derive.evaluate.tiny import trained


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    root = tmp_path_factory.mktemp("foundry")
    config = transformers.LlamaConfig(
        vocab_size=512, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4
    )
    with Store.init(str(root / "store")) as store:
        for number in range(2):
            folder = trained(transformers.LlamaForCausalLM, config, root / f"m{number}", steps=2 + number)
            store.add([folder], name=f"org/m{number}")
        yield store


@pytest.fixture
def recipe(tmp_path):
    models = [{"model": f"org/m{number}", "parameters": {"weight": 0.5}} for number in range(2)]
    (tmp_path / "r.yml").write_text(yaml.safe_dump({"merge_method": "linear", "models": models, "dtype": "float32"}))
    return tmp_path / "r.yml"


def test_merge_quantize_shard_and_load(store, recipe, tmp_path):
    merged = store.merge(recipe, name="merged").committed.version
    half = store.load("merged")
    both = [store.load(f"org/m{number}") for number in range(2)]
    assert all(torch.allclose(half[key], (both[0][key] + both[1][key]) / 2, atol=1e-6) for key in half)
    small = store.quantize("merged", "int8")
    assert str(small.artifact) == "merged-int8-gpu"
    [parent] = store.show(small.ref)["parents"]
    assert (parent["relation"], parent["id"]) == ("quantize", str(merged.id))
    report = store.shard("merged", tmp_path / "shards", 200_000)
    assert len(report.files) > 2
    weights = {}
    for path in sorted((tmp_path / "shards").glob("*.safetensors")):
        assert path.stat().st_size <= 200_000
        weights |= load_file(path)
    assert all(torch.equal(weights[key], half[key]) for key in half)
    loaded = store.load_quantized("merged", "int8")
    assert loaded.level == "int8"


def test_evaluate_notes_metrics(store):
    [found] = store.evaluate(["org/m0"], ["perplexity"])
    assert store.show("org/m0")["metrics"]["perplexity"] == pytest.approx(found.metrics["perplexity"])


def test_build_lists_what_it_made(store, recipe, tmp_path):
    from artifactstore.derive.build.plan import Wanted  # as users do

    [built] = store.build([recipe], Wanted(out=tmp_path / "models" / "both"))
    assert json.loads((tmp_path / "models" / "models.json").read_bytes())["both"]["size_mb"] > 0
    assert built.product is not None


def test_what_is_not_there_or_cannot_be(store):
    with pytest.raises(NotFound):
        store.quantize("none", "q4")
    with pytest.raises(Invalid, match="gpu"):
        store.quantize("org/m0", "fp8", "cpu")
