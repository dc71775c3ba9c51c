"""Ladder: a model loaded in as few bits as it bears, one level after another until one works"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from artifactstore.core.errors import Invalid
from artifactstore.derive.evaluate.models.config import Config, read_config
from artifactstore.derive.evaluate.models.files import Format, variant_of
from artifactstore.derive.evaluate.models.torch_model import Use, open_module
from artifactstore.derive.evaluate.subject import find
from artifactstore.derive.quantize.rtn import quantize
from artifactstore.finding import Finds

# What each is calculated in; weights of int8 are widened to it as they are used.
_WORK: Mapping[str, torch.dtype] = MappingProxyType(
    {
        "float16": torch.float16,
        "bfloat16": torch.bfloat16,
        "int8": torch.bfloat16,
        "float32": torch.float32,
    }
)
# Halves reach 65504; what overflows there may do in the same bytes with fewer digits.
_AFTER = {"float16": "bfloat16"}
_LAST = "float32"
_PROBED = 16


@dataclass(frozen=True, slots=True)
class Loaded:
    """A module of transformers. level: what it was loaded in; failed: levels before it, and why each would not do"""

    module: Any
    level: str
    failed: Mapping[str, str]

    @property
    def nbytes(self) -> int:
        """Of its weights as they lie in memory"""
        return sum(one.nbytes for one in (*self.module.parameters(), *self.module.buffers()))


def load_quantized(store: Finds, ref: str, levels: str = "float16|int8", *, device: str = "cpu") -> Loaded:
    """The model of a version or folder at the first of these levels that works, then bfloat16 after float16, float32

    levels: of float16, bfloat16, int8, float32, with | between them. Each is tried by one pass over a few tokens, whose
    results must all be finite. Raise NotFound; Invalid for another level, a model that is not safetensors or quantized
    already, and one that works at none.
    """
    rungs = parse_levels(levels)
    subject = find(store, ref)
    if subject.chosen.format is not Format.SAFETENSORS:
        raise Invalid(f"{ref} is {subject.chosen.format}; what is loaded in fewer bits is safetensors", code="format")
    failed: dict[str, str] = {}
    with subject.laid() as folder:
        home = folder / Path(subject.chosen.path).parent
        config = read_config(home)
        if config.document.get("quantization_config") is not None:
            raise Invalid(f"{ref} is quantized already; open it as it is", code="quantized", ref=ref)
        for level in rungs:
            try:
                module = _opened(home, subject.chosen.path, config, level, device)
                probe(module, config)
            # whatever a library raises at one level says that it is not to be had at this one
            except Exception as e:  # noqa: BLE001
                failed[level] = (str(e).splitlines() or [type(e).__name__])[0]
                continue
            return Loaded(module, level, MappingProxyType(failed))
    why = "; ".join(f"{level}: {said}" for level, said in failed.items())
    raise Invalid(f"{ref} works at no level ({why})", code="levels", ref=ref, failed=failed)


def parse_levels(text: str) -> Sequence[str]:
    """In the order in which they are tried; raise Invalid"""
    asked = [part.strip().lower() for part in text.split("|")]
    for one in asked:
        if one not in _WORK:
            near = get_close_matches(one, _WORK, 1)
            hint = f"; did you mean {near[0]}" if near else ""
            raise Invalid(f"Unknown level {one!r:.40} (known: {', '.join(_WORK)}){hint}", code="level")
    return list(dict.fromkeys([*asked, *(_AFTER[one] for one in asked if one in _AFTER), _LAST]))


def _opened(home: Path, path: str, config: Config, level: str, device: str) -> Any:
    use = Use(_WORK[level], "cpu" if level == "int8" else device)
    module = open_module(home, use, causal=config.is_causal, use_safetensors=True, variant=variant_of(path))
    return shrink(module).to(device) if level == "int8" else module


def probe(module: Any, config: Config) -> None:
    """One pass over a few tokens; raise Invalid unless all that it gives is finite"""
    count = int(config.text.get("vocab_size", _PROBED))
    ids = (torch.arange(1, _PROBED + 1) % count)[None].to(module.device)
    with torch.inference_mode():
        found = module(input_ids=ids)
    result = found.logits if hasattr(found, "logits") else found.last_hidden_state
    if not bool(torch.isfinite(result).all()):
        raise Invalid("what it gives is infinite or not a number", code="not-finite")


class Int8Linear(nn.Module):
    """A linear layer whose weights are eight bits, each row with a scale of its own"""

    weight: torch.Tensor
    scale: torch.Tensor

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        codes, scale = quantize(linear.weight.detach().to(torch.float32), 8, linear.weight.dtype)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.register_buffer("weight", (codes.to(torch.int16) - 128).to(torch.int8))
        self.register_buffer("scale", scale)
        self.bias = linear.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As a linear layer of the dtype of x"""
        result = nn.functional.linear(x, self.weight.to(x.dtype)) * self.scale
        return result if self.bias is None else result + self.bias


def shrink(module: Any) -> Any:
    """A model with its linear layers in eight bits, one after another; a head that shares its weights stays"""
    shared = {id(one.weight) for one in module.modules() if isinstance(one, nn.Embedding)}
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear and id(child.weight) not in shared:
                setattr(parent, name, Int8Linear(child))
    return module
