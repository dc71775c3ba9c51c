"""Shelf: small models as they are known before anything of them is read"""

from artifactstore.core.recipe.facts import ModelFacts


def llama(ref, *, layers=3, rows=10, width=4, tied=False, dtype="BF16", extra=None, **config):
    """A Llama in outline; a value of None takes a key out of its configuration"""
    tensors = {"model.embed_tokens.weight": (dtype, (rows, width))}
    if not tied:
        tensors["lm_head.weight"] = (dtype, (rows, width))
    for number in range(layers):
        shapes = {"input_layernorm": (width,), "mlp.up_proj": (2 * width, width), "self_attn.q_proj": (width, width)}
        tensors |= {f"model.layers.{number}.{name}.weight": (dtype, shape) for name, shape in shapes.items()}
    tensors["model.norm.weight"] = (dtype, (width,))
    found = {
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": width,
        "model_type": "llama",
        "num_attention_heads": 2,
        "num_hidden_layers": layers,
        "rope_theta": 10000.0,
        "tie_word_embeddings": tied,
        "torch_dtype": "bfloat16",
        "vocab_size": rows,
        **config,
    }
    return ModelFacts(ref, tensors | (extra or {}), {key: value for key, value in found.items() if value is not None})


def bert(ref, *, layers=2, rows=8, width=4, head=False, dtype="F32"):
    """A BERT in outline, with the buffer that older files have"""
    tensors = {
        "embeddings.position_ids": ("I64", (1, 16)),
        "embeddings.word_embeddings.weight": (dtype, (rows, width)),
        "embeddings.LayerNorm.weight": (dtype, (width,)),
        "pooler.dense.weight": (dtype, (width, width)),
    }
    for number in range(layers):
        tensors[f"encoder.layer.{number}.attention.self.query.weight"] = (dtype, (width, width))
        tensors[f"encoder.layer.{number}.output.LayerNorm.weight"] = (dtype, (width,))
    if head:
        tensors |= {"classifier.0.weight": (dtype, (2, width)), "classifier.1.weight": (dtype, (2, 2))}
    return ModelFacts(ref, tensors, {"architectures": ["BertModel"], "num_hidden_layers": layers, "vocab_size": rows})
