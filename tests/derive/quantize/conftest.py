"""Tiny models of the architectures that are quantized, made once, as transformers saves them"""

import pytest


@pytest.fixture(scope="session")
def torch_and_transformers():
    """Both, where they are"""
    return pytest.importorskip("torch"), pytest.importorskip("transformers")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory, torch_and_transformers):
    """Folders by name: llama (own head), qwen2 (tied), qwen3, full (llama in fp32, with rows of 96)"""
    torch, transformers = torch_and_transformers
    sizes = {
        "vocab_size": 384,
        "hidden_size": 256,
        "intermediate_size": 512,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
        "bos_token_id": None,
        "eos_token_id": None,
    }
    configs = {
        "llama": transformers.LlamaConfig(**sizes, rope_theta=50_000.0),
        "qwen2": transformers.Qwen2Config(**sizes, tie_word_embeddings=True),
        "qwen3": transformers.Qwen3Config(**sizes),
        "full": transformers.LlamaConfig(**sizes | {"hidden_size": 96, "num_attention_heads": 2}),
    }
    root = tmp_path_factory.mktemp("tiny")
    for number, (name, config) in enumerate(configs.items()):
        torch.manual_seed(number)
        model = transformers.AutoModelForCausalLM.from_config(config)
        for one in model.parameters():
            one.data += torch.randn_like(one) * 0.02  # no norm or bias is as it begins
        model.to(torch.float32 if name == "full" else torch.bfloat16).save_pretrained(root / name)
    return {name: root / name for name in configs}


@pytest.fixture(scope="session")
def logits(torch_and_transformers):
    """What a model gives for a text of its own tokens, in float32"""
    torch, transformers = torch_and_transformers
    tokens = torch.randint(0, 384, (2, 24), generator=torch.Generator().manual_seed(1))

    def of(folder, **how):
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, **how)
        with torch.no_grad():
            return model(tokens).logits.to(torch.float32)

    return of


@pytest.fixture(scope="session")
def likeness():
    """The cosine of two"""
    return lambda one, other: float((one * other).sum() / (one.norm() * other.norm()))
