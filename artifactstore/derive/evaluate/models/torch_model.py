"""Torch: models that transformers opens, from safetensors, compressed-tensors or GGUF"""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch

from artifactstore.core.errors import Invalid
from artifactstore.derive.evaluate.models.config import Config
from artifactstore.derive.evaluate.models.files import variant_of
from artifactstore.derive.evaluate.models.quiet import opening, quiet
from artifactstore.derive.evaluate.models.tokens import FolderTokens, open_tokens
from artifactstore.derive.extras import need
from artifactstore.tensors.engine import parse_device

# Texts whose vectors are made at once.
_TEXTS = 32
_HOW = ("_scale", "_shape", "_zero_point", "_g_idx")
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, slots=True)
class Use:
    """What a model is opened with. dtype: what it calculates in; device: where it lies"""

    dtype: torch.dtype = torch.float32
    device: str = "cpu"

    @classmethod
    def parse(cls, device: str, dtype: str) -> Self:
        """As people write it; raise Invalid, Unavailable for a device that is not to be had"""
        if dtype not in _DTYPES:
            raise Invalid(f"Cannot calculate in {dtype!r:.40}; use one of {', '.join(_DTYPES)}", code="dtype")
        return cls(_DTYPES[dtype], str(parse_device(device)))


class TorchLanguageModel:
    """A causal model of transformers"""

    def __init__(self, module: Any, tokens: FolderTokens, context: int, params: int | None = None) -> None:
        self.tokens, self.context, self._module = tokens, context, module
        self.vocabulary = int(module.get_output_embeddings().weight.shape[0])
        self.params = params
        self.cuts = "logits_to_keep" in inspect.signature(module.forward).parameters

    @torch.inference_mode()
    def logits(self, ids: torch.Tensor, keep: int) -> torch.Tensor:
        """Without a mask: what is padded at the end is seen by nothing before it"""
        options = {"logits_to_keep": keep} if self.cuts else {}
        found: torch.Tensor = self._module(input_ids=ids.to(self._module.device), use_cache=False, **options).logits
        return found[:, -keep:]

    @torch.inference_mode()
    def advance(self, ids: Sequence[int], past: Any = None) -> tuple[torch.Tensor, Any]:
        """By the model's own cache"""
        row = torch.tensor([list(ids)], device=self._module.device)
        options = {"logits_to_keep": 1} if self.cuts else {}
        found = self._module(input_ids=row, past_key_values=past, use_cache=True, **options)
        if getattr(found, "past_key_values", None) is None:
            raise Invalid("This architecture keeps no past that can be gone on from", code="architecture")
        return found.logits[0, -1].float().cpu(), found.past_key_values

    def ends(self) -> frozenset[int]:
        """As its configuration of generation says, and its tokenizer"""
        said = self._module.generation_config.eos_token_id
        ids = said if isinstance(said, list) else [said]
        return frozenset(one for one in (*ids, self.tokens.tokenizer.eos_token_id) if one is not None)


class TorchEncoder:
    """A model of transformers without a head"""

    def __init__(self, module: Any, tokens: FolderTokens, context: int, params: int | None = None) -> None:
        self.tokens, self.context, self._module = tokens, context, module
        self.vocabulary = int(module.get_input_embeddings().weight.shape[0])
        self.width = int(module.config.hidden_size)
        self.params = params

    @torch.inference_mode()
    def embed(self, texts: Sequence[str]) -> torch.Tensor:
        """The mean over the last hidden states"""
        parts = []
        for at in range(0, len(texts), _TEXTS):
            batch = self.tokens.batch(texts[at : at + _TEXTS], self.context).to(self._module.device)
            states = self._module(**batch).last_hidden_state
            parts.append(pooled(states, batch["attention_mask"]))
        return torch.cat(parts).float().cpu()


def pooled(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The mean over tokens [texts, width] of states [texts, tokens, width]"""
    weights = mask[..., None].to(states.dtype)
    return (states * weights).sum(1) / weights.sum(1)


def open_safetensors(folder: Path, path: str, config: Config, use: Use) -> TorchLanguageModel | TorchEncoder:
    """A model whose every weight is in its files; raise Invalid naming what is missing or has another shape"""
    tokens = open_tokens(folder)
    variant = variant_of(path)
    module = open_module(folder, use, causal=config.is_causal, use_safetensors=True, variant=variant)
    shell = TorchLanguageModel if config.is_causal else TorchEncoder
    return shell(module, tokens, config.context(tokens.longest), weights_of(module))


def open_module(folder: Path, use: Use, *, causal: bool, **options: Any) -> Any:
    """What transformers makes of a folder, with no code of the folder's own"""
    library = need("transformers")
    kind = library.AutoModelForCausalLM if causal else library.AutoModel
    with quiet(), opening("model"):
        module, loading = kind.from_pretrained(
            folder,
            dtype=use.dtype,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            **options,
        )
        _refuse_gaps(loading, module)
        module = module.eval().to(use.device)
        if getattr(module, "hf_quantizer", None) is not None:
            # compressed-tensors unpacks when a model is first used
            with torch.inference_mode():
                module(input_ids=torch.zeros(1, 1, dtype=torch.long, device=use.device))
        return module


def weights_of(module: Any) -> int:
    """How many weights a module has, without what says how others were quantized"""
    return sum(one.numel() for name, one in module.named_parameters() if not name.endswith(_HOW))


def _refuse_gaps(loading: Any, module: Any) -> None:
    """Weights that were not found are random: nothing that they say would mean anything"""
    missing = [name for name in loading["missing_keys"] if not name.startswith("pooler.")]
    shapes = [str(one[0]) for one in loading.get("mismatched_keys", ())]
    for what, names in (("lacks", missing), ("has another shape for", shapes)):
        if names:
            raise Invalid(
                f"{type(module).__name__} {what} {len(names)} tensors, such as {min(names)}",
                code="tensors",
                tensors=sorted(names),
            )
