"""Tensors in the order of their first use, told by names"""

import random

import pytest

from artifactstore.derive.shard.order import first_use

LLAMA = [
    "model.embed_tokens.weight",
    "model.layers.2.input_layernorm.weight",
    "model.layers.2.self_attn.q_proj.weight",
    "model.layers.2.mlp.down_proj.weight",
    "model.layers.2.post_attention_layernorm.weight",
    "model.layers.10.self_attn.q_proj.weight",
    "model.norm.weight",
    "lm_head.weight",
]
BERT = [
    "embeddings.LayerNorm.bias",
    "embeddings.word_embeddings.weight",
    "encoder.layer.0.attention.output.dense.weight",
    "encoder.layer.0.attention.self.key.weight",
    "encoder.layer.0.intermediate.dense.weight",
    "encoder.layer.0.output.dense.weight",
    "encoder.layer.1.attention.self.key.weight",
    "pooler.dense.weight",
]
GGUF = ["token_embd.weight", "blk.0.attn_norm.weight", "blk.0.attn_q.weight", "blk.0.ffn_up.weight"]
GGUF += ["blk.11.attn_q.weight", "output_norm.weight", "output.weight"]
T5 = ["shared.embed.weight", "encoder.block.9.layer.0.k.weight", "decoder.block.0.layer.1.encoder_attn.k.weight"]


@pytest.mark.parametrize("names", [LLAMA, BERT, GGUF, T5])
def test_names_of_known_models(names):
    mixed = random.Random(1).sample(names, len(names))
    assert sorted(mixed, key=first_use) == names
