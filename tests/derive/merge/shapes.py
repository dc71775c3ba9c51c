"""Small models of real architectures, fine-tuned from one base by chance"""

import torch
from transformers import BertConfig, BertForMaskedLM, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

_SMALL = {"hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 3, "num_attention_heads": 4}


def _llama():
    return LlamaForCausalLM(LlamaConfig(**_SMALL, num_key_value_heads=2, vocab_size=500))


def _qwen2():
    return Qwen2ForCausalLM(Qwen2Config(**_SMALL, num_key_value_heads=2, vocab_size=500, tie_word_embeddings=True))


def _bert():
    return BertForMaskedLM(BertConfig(**_SMALL, vocab_size=500, max_position_embeddings=64))


KINDS = {"llama": _llama, "qwen2": _qwen2, "bert": _bert}


def make(kind, folder, seed=0, base=None, dtype=torch.bfloat16):
    """A model in a folder; given a base, the base with noise"""
    torch.manual_seed(seed)
    model = KINDS[kind]().to(dtype)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if base is not None:
                parameter.copy_(base.get_parameter(name))
            parameter.add_(torch.randn_like(parameter) * 0.02)
    model.save_pretrained(folder)
    return model


def family(kind, folder, count=3, dtype=torch.bfloat16):
    """Folders m0, m1, …: a base, and models made from it"""
    base = make(kind, folder / "m0", 0, dtype=dtype)
    for number in range(1, count):
        make(kind, folder / f"m{number}", number, base, dtype)
    return [folder / f"m{number}" for number in range(count)]
