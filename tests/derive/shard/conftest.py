"""Stores and small models for the tests of shards"""

import numpy as np
import pytest
from safetensors.numpy import save_file

from artifactstore.store import Store


@pytest.fixture
def store(tmp_path):
    with Store.init(str(tmp_path / "store")) as store:
        yield store


@pytest.fixture
def tensors():
    """A model of twelve layers, its tensors of several widths"""
    random = np.random.default_rng(0)
    found = {"lm_head.weight": random.standard_normal((64, 48)).astype(np.float32)}
    for layer in range(12):
        found[f"model.layers.{layer}.mlp.weight"] = random.standard_normal((48, 64)).astype(np.float16)
        found[f"model.layers.{layer}.input_layernorm.weight"] = random.standard_normal(47).astype(np.float16)
        found[f"model.layers.{layer}.mask"] = random.integers(0, 2, 5) > 0
    found["model.norm.weight"] = random.standard_normal(48).astype(np.float64)
    found["model.embed_tokens.weight"] = random.standard_normal((64, 48)).astype(np.float32)
    return found


@pytest.fixture
def model(store, tensors, tmp_path):
    """It as model:1 in the store"""
    folder = tmp_path / "model"
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text('{"num_hidden_layers": 12}')
    store.add([folder], name="model")
    return folder
