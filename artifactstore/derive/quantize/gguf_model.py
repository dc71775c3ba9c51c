"""A model as GGUF has it: its architecture, the names of its tensors, and how their rows lie

Keys: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Names are those of llama.cpp's gguf package.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from artifactstore.core.errors import Invalid
from artifactstore.derive.extras import need

# model_type of a configuration: the architecture of llama.cpp
_ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
_BUFFERS = re.compile(r"rotary_emb\.inv_freq$|\.attn\.(masked_)?bias$")
_ROTATED = re.compile(r"^blk\.\d+\.attn_([qk])\.(weight|bias)$")
_SCALINGS = {"linear": "linear", "yarn": "yarn"}


@dataclass(frozen=True, slots=True)
class Shape:
    """What a configuration says of a model. theta: the base of rotary positions, scaling: how they are stretched"""

    architecture: str
    layers: int
    hidden: int
    inner: int
    heads: int
    key_heads: int
    head: int
    context: int
    epsilon: float
    vocabulary: int
    theta: float
    scaling: Mapping[str, Any]
    tied: bool


def read_shape(config: Mapping[str, Any]) -> Shape:
    """From config.json; raise Invalid for architectures that are not written here, and for what is missing"""
    kind = config.get("model_type")
    if kind not in _ARCHITECTURES:
        known = ", ".join(_ARCHITECTURES)
        raise Invalid(
            f"GGUF of the architecture {kind!r:.40} is not written here (known: {known}); use --target gpu",
            code="architecture",
            found=kind,
        )
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    heads, hidden = _integer(config, "num_attention_heads"), _integer(config, "hidden_size")
    return Shape(
        architecture=_ARCHITECTURES[kind],
        layers=_integer(config, "num_hidden_layers"),
        hidden=hidden,
        inner=_integer(config, "intermediate_size"),
        heads=heads,
        key_heads=_integer(config, "num_key_value_heads", heads),
        head=_integer(config, "head_dim", hidden // max(heads, 1)),
        context=_integer(config, "max_position_embeddings"),
        epsilon=float(config.get("rms_norm_eps", 1e-6)),
        vocabulary=_integer(config, "vocab_size"),
        theta=float(rope.get("rope_theta") or config.get("rope_theta") or 10000.0),
        scaling=_scaling(rope),
        tied=bool(config.get("tie_word_embeddings", False)),
    )


def _integer(config: Mapping[str, Any], key: str, default: int | None = None) -> int:
    value = config.get(key)
    value = default if value is None else value
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise Invalid(f"config.json must say {key} as a positive integer, found {value!r:.40}", code="config", key=key)
    return value


def _scaling(rope: Mapping[str, Any]) -> Mapping[str, Any]:
    kind = rope.get("rope_type") or rope.get("type") or "default"
    if kind not in {"default", "llama3", *_SCALINGS}:
        raise Invalid(
            f"Positions scaled by {kind!r:.40} are not written to GGUF here (known: default, linear, yarn, llama3); "
            "use --target gpu",
            code="config",
            key="rope_type",
        )
    return {} if kind == "default" else {**rope, "rope_type": kind}


def names(shape: Shape, tensors: Mapping[str, Any]) -> dict[str, str]:
    """Names in the file by names of the source, in the source's order; raise Invalid for one that has none"""
    gguf = need("gguf")
    kind = next(number for number, name in gguf.MODEL_ARCH_NAMES.items() if name == shape.architecture)
    table = gguf.get_tensor_name_map(kind, shape.layers)
    found: dict[str, str] = {}
    for name in tensors:
        if _BUFFERS.search(name) or (shape.tied and name == "lm_head.weight"):
            continue
        known = table.get_name(name, try_suffixes=(".weight", ".bias"))
        if known is None:
            raise Invalid(
                f"Tensor {name!r:.80} has no place in a GGUF of {shape.architecture}; use --target gpu",
                code="names",
                tensor=name,
            )
        found[name] = known
    return found


def rotation(shape: Shape, name: str) -> Callable[[torch.Tensor], torch.Tensor] | None:
    """What brings whole heads of the rows of a tensor of the file into its order; None where they lie so already

    llama.cpp turns pairs of neighbours in Llama, transformers pairs half a head apart.
    """
    if shape.architecture != "llama" or not _ROTATED.match(name):
        return None
    half = shape.head // 2

    def turned(rows: torch.Tensor) -> torch.Tensor:
        heads = rows.view(-1, 2, half, rows.shape[-1]) if rows.shape[0] > 1 else rows.view(-1, 2, half, 1)
        return heads.transpose(1, 2).reshape(rows.shape)

    return turned


def factors(shape: Shape) -> torch.Tensor | None:
    """By which each frequency is divided where positions are scaled as in Llama 3; None elsewhere

    The formula of transformers' rotary embeddings for `llama3`.
    """
    said = shape.scaling
    if said.get("rope_type") != "llama3":
        return None
    factor, low, high = (float(said[key]) for key in ("factor", "low_freq_factor", "high_freq_factor"))
    context = float(said["original_max_position_embeddings"])
    found = []
    for place in range(0, shape.head, 2):
        turns = context / (2 * math.pi) * shape.theta ** (-place / shape.head)
        smooth = min(max((turns - low) / (high - low), 0.0), 1.0)
        found.append(1 / ((1 - smooth) / factor + smooth))
    return torch.tensor(found, dtype=torch.float32)
