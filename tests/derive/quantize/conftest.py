"""Tiny models of the architectures that are quantized, made once, as transformers saves them"""

import pytest

from artifactstore.derive.inputs import Inputs
from artifactstore.tensors.pieces import of_folder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Folders by name: llama (own head, bf16), qwen2 (tied, bf16), full (llama, fp32)"""
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    sizes = {
        "vocab_size": 384,
        "hidden_size": 256,
        "intermediate_size": 512,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
    }
    kinds = {
        "llama": (transformers.LlamaConfig(**sizes, rope_theta=50_000.0), torch.bfloat16),
        "qwen2": (transformers.Qwen2Config(**sizes, tie_word_embeddings=True), torch.bfloat16),
        "full": (transformers.LlamaConfig(**sizes | {"hidden_size": 96, "num_attention_heads": 2}), torch.float32),
    }
    folders = {}
    for name, (config, dtype) in kinds.items():
        torch.manual_seed(3)
        folders[name] = tmp_path_factory.mktemp("tiny") / name
        model = transformers.AutoModelForCausalLM.from_config(config).to(dtype)
        for one in model.parameters():
            one.data += torch.randn_like(one) * 0.02
        model.save_pretrained(folders[name])
    return folders


@pytest.fixture
def inputs(tiny):
    """The tensors of one of them"""
    return lambda name: Inputs(of_folder(tiny[name]))
