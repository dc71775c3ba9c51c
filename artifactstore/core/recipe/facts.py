"""Facts: what is known of a model from its headers and its configuration, before any weight is read"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Any

Shape = tuple[int, ...]

# by the names of transformers' models, the input embeddings, and what is laid out by token behind the layers
_EMBEDDING = re.compile(r"(?:.+\.)?(?:embed_tokens|word_embeddings|wte|embed_in|tok_embeddings|shared)\.weight")
_HEAD = re.compile(r"(?:.+\.)?(?:lm_head|lm_head\.decoder|embed_out|cls\.predictions\.decoder)\.weight")
_HEAD_BIAS = re.compile(r"(?:.+\.)?(?:lm_head|lm_head\.decoder|embed_out|cls\.predictions(?:\.decoder)?)\.bias")
# what follows from the configuration, and is in some files and not in others
_BUFFER = re.compile(r"(?:.+\.)?(?:position_ids|token_type_ids|inv_freq|masked_bias|attn\.bias)")
# models of many experts have tens of thousands of tensors
_KEPT = 1 << 16
# what configurations of different models call the same
_KEYS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "hidden_size": ("hidden_size", "n_embd", "d_model", "dim"),
        "layers": ("num_hidden_layers", "n_layer", "num_layers", "n_layers"),
        "attention heads": ("num_attention_heads", "n_head", "num_heads", "n_heads"),
        "key/value heads": ("num_key_value_heads", "multi_query_group_num"),
        "head_dim": ("head_dim",),
        "intermediate_size": ("intermediate_size", "n_inner", "d_ff", "ffn_dim", "hidden_dim"),
        "vocab_size": ("vocab_size",),
        "rope_theta": ("rope_theta",),
        "tied embeddings": ("tie_word_embeddings",),
    }
)
LAYERS = "layers"
VOCABULARY = "vocab_size"


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A model as a recipe names it. tensors: (dtype as safetensors names it, shape) by name, in the order of its files

    config: its config.json, empty where it has none.
    """

    ref: str
    tensors: Mapping[str, tuple[str, Shape]]
    config: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def architecture(self) -> str | None:
        """The class that reads it, else its family; None where nothing says"""
        named = self.config.get("architectures")
        if isinstance(named, Sequence) and not isinstance(named, str) and named:
            return str(named[0])
        family = self.config.get("model_type")
        return str(family) if family else None

    @property
    def quantization(self) -> str | None:
        """The method its weights are quantized by"""
        found = self.config.get("quantization_config") or self.config.get("compression_config")
        if not isinstance(found, Mapping):
            return None
        return str(found.get("quant_method") or found.get("format") or "some method")

    @property
    def embedding(self) -> str | None:
        """The tensor of its input embeddings"""
        return next((name for name in self.tensors if _EMBEDDING.fullmatch(name)), None)

    @property
    def tied(self) -> bool:
        """Whether its head is the input embeddings: the configuration says so, or it has embeddings and no head"""
        said = self.value("tied embeddings")
        if isinstance(said, bool) and (said or any(map(is_head, self.tensors))):
            return said
        return self.embedding is not None and not any(map(is_head, self.tensors))

    def key(self, what: str) -> str | None:
        """Where its configuration has what `value` gives, as a path with dots"""
        for prefix, section in _sections(self.config):
            for name in _KEYS[what]:
                if section.get(name) is not None:
                    return prefix + name
        return None

    def value(self, what: str) -> Any:
        """A value of its configuration by the name that is used here (`layers`, `attention heads`), None if absent"""
        found = next(
            (section[name] for _, section in _sections(self.config) for name in _KEYS[what] if name in section), None
        )
        if found is None and what == "rope_theta":
            nested = [section.get("rope_parameters") for _, section in _sections(self.config)]
            return next((each.get(what) for each in nested if isinstance(each, Mapping)), None)
        if found is None and what == "head_dim":
            size, heads = self.value("hidden_size"), self.value("attention heads")
            return size // heads if isinstance(size, int) and isinstance(heads, int) and heads > 0 else None
        if found is None and what == "key/value heads":
            return self.value("attention heads")
        return found


COMPARED = tuple(_KEYS)


@lru_cache(_KEPT)
def is_head(name: str) -> bool:
    """Whether it maps to tokens, and may be the input embeddings once more"""
    return _HEAD.fullmatch(name) is not None


@lru_cache(_KEPT)
def is_by_token(name: str) -> bool:
    """Whether its rows are the tokens of the vocabulary"""
    return any(kind.fullmatch(name) for kind in (_EMBEDDING, _HEAD, _HEAD_BIAS))


@lru_cache(_KEPT)
def is_buffer(name: str) -> bool:
    """Whether it follows from the configuration, so that a file may well be without it"""
    return _BUFFER.fullmatch(name) is not None


def _sections(config: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """The configuration, and that of the language model inside one of several parts"""
    inner = config.get("text_config")
    return [("", config), *([("text_config.", inner)] if isinstance(inner, Mapping) else [])]
