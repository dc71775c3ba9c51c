"""Adapter: a LoRA as peft stores it, and which tensors of its base it changes how"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from artifactstore.core.errors import Invalid

Shape = tuple[int, ...]
_PREFIX = "base_model.model."
_LOW_RANK = re.compile(r"(?P<module>.+)\.lora_(?:embedding_)?(?P<half>[AB])(?:\.weight)?")
# what else a file may hold, and what its tensor is called in the base
_WRAPPED = re.compile(r"\.(?:modules_to_save|base_layer|original_module)(?=\.)")
# A module as patterns of peft name it; other expressions are none that people write.
_MODULE = re.compile(r"\^?[\w.\-]+\$?")
# Variants whose mathematics is another one.
_OTHERS = (
    "use_dora",
    "use_qalora",
    "use_bdlora",
    "lora_bias",
    "layer_replication",
    "target_parameters",
    "trainable_token_indices",
    "alora_invocation_tokens",
    "arrow_config",
    "kasa_config",
    "monteclora_config",
    "velora_config",
)


@dataclass(frozen=True, slots=True)
class AdapterConfig:
    """What adapter_config.json says. alphas: of modules whose names end so, instead of `alpha`

    transposed: the base keeps its matrices as (in, out).
    """

    alpha: float
    rank_stabilized: bool
    transposed: bool
    alphas: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    def scale(self, module: str, rank: int) -> float:
        """What the product of the two halves is multiplied by: alpha / r, or alpha / √r (rsLoRA)"""
        named = [alpha for name, alpha in self.alphas.items() if module == name or module.endswith(f".{name}")]
        alpha = named[0] if named else self.alpha
        return alpha / (math.sqrt(rank) if self.rank_stabilized else rank)


@dataclass(frozen=True, slots=True)
class LowRank:
    """A tensor of the base becomes W + scale · left @ right, seen as a matrix of its first dimension

    left, right: tensors of the adapter; turned: they are taken as they are transposed, A for left, B for right.
    onto: the tensor of the adapter that it is added to instead.
    """

    left: str
    right: str
    scale: float
    turned: bool
    onto: str | None = None


@dataclass(frozen=True, slots=True)
class Whole:
    """A tensor of the base is replaced by this one of the adapter"""

    tensor: str


def parse_adapter(raw: bytes, ref: str) -> AdapterConfig:
    """What the bytes of an adapter_config.json say; raise Invalid where it is none, or no LoRA that can be merged"""
    try:
        found = json.loads(raw)
        kind = found.get("peft_type")
        others = [name for name in _OTHERS if found.get(name)]
        alphas = {_module(name): float(alpha) for name, alpha in (found.get("alpha_pattern") or {}).items()}
        config = AdapterConfig(
            float(found.get("lora_alpha", 8)),
            bool(found.get("use_rslora")),
            bool(found.get("fan_in_fan_out")),
            MappingProxyType(alphas),
        )
    except (ValueError, TypeError, AttributeError, RecursionError) as e:
        raise _refused(ref, f"its adapter_config.json cannot be read: {e}"[:200]) from e
    if kind != "LORA":
        raise _refused(ref, f"it is {str(kind or 'nothing known')[:40]}, and only LORA can be merged")
    if others:
        raise _refused(ref, f"{', '.join(others)} cannot be merged; merge it with peft first")
    if not all(map(math.isfinite, (config.alpha, *alphas.values()))):
        raise _refused(ref, "its alpha is no finite number")
    return config


def changes(
    config: AdapterConfig, adapter: Mapping[str, Shape], base: Mapping[str, Shape], ref: str
) -> Mapping[str, LowRank | Whole]:
    """What becomes of the tensors of the base, by the shapes of both; raise Invalid naming what does not fit"""
    halves: dict[str, dict[str, str]] = {}
    found: dict[str, LowRank | Whole] = {}
    for name, shape in adapter.items():
        inner = _WRAPPED.sub("", name.removeprefix(_PREFIX))
        half = _LOW_RANK.fullmatch(inner)
        if half is not None:
            halves.setdefault(half["module"], {})[half["half"]] = name
        elif "lora_" in inner:
            raise _refused(ref, f"tensor {name!r:.120} is of a variant that cannot be merged; merge it with peft first")
        else:
            _fits(base, inner, shape, ref, name)
            found[inner] = Whole(name)
    for module, pair in halves.items():
        target = f"{module}.weight"
        change = _low_rank(config, module, pair, adapter, ref)
        _fits(base, target, _product(change, adapter), ref, pair["B"])
        saved = found.get(target)
        found[target] = replace(change, onto=saved.tensor) if isinstance(saved, Whole) else change
    return MappingProxyType(found)


def _low_rank(
    config: AdapterConfig, module: str, pair: Mapping[str, str], adapter: Mapping[str, Shape], ref: str
) -> LowRank:
    if len(pair) < 2:
        raise _refused(ref, f"{module!r:.120} has only lora_{next(iter(pair))}, and both halves are needed")
    first, second = adapter[pair["A"]], adapter[pair["B"]]
    if len(first) < 2 or len(second) < 2 or first[0] != second[1] or first[0] == 0 or math.prod(second[2:]) != 1:
        raise _refused(ref, f"the halves of {module!r:.120} do not fit: {list(first)} and {list(second)}")
    turned = config.transposed or "lora_embedding_" in pair["A"]
    return LowRank(pair["A" if turned else "B"], pair["B" if turned else "A"], config.scale(module, first[0]), turned)


def _product(change: LowRank, adapter: Mapping[str, Shape]) -> Shape:
    left, right = adapter[change.left], adapter[change.right]
    return (math.prod(left[1:]), right[0]) if change.turned else (left[0], *right[1:])


def _fits(base: Mapping[str, Shape], target: str, shape: Shape, ref: str, name: str) -> None:
    if target not in base:
        raise _refused(ref, f"the base has no tensor {target!r:.120}, which {name!r:.120} is for")
    if base[target] != shape:
        raise _refused(ref, f"{target!r:.120} is {list(base[target])} in the base and {list(shape)} in the adapter")


def _module(pattern: str) -> str:
    if not _MODULE.fullmatch(pattern):
        raise ValueError(f"pattern {pattern!r:.60} is no name of a module")
    return pattern.removeprefix("^").removesuffix("$")


def _refused(ref: str, why: str) -> Invalid:
    return Invalid(f"The adapter {ref} cannot be used: {why}", code="adapter", adapter=ref)
