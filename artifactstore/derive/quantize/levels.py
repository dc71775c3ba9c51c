"""Levels: how few bits a weight gets, and what that comes to for each target"""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from types import MappingProxyType

from artifactstore.core.errors import Invalid


class Target(StrEnum):
    """Where a model is to run, which says in what form it is written"""

    WEB = "web"
    GPU = "gpu"
    CPU = "cpu"


class Level(StrEnum):
    """How much of a weight stays. q8 and int8 differ on the web only"""

    FP16 = "fp16"
    BF16 = "bf16"
    FP8 = "fp8"
    INT8 = "int8"
    Q8 = "q8"
    Q4 = "q4"
    Q3 = "q3"
    Q2 = "q2"


@dataclass(frozen=True, slots=True)
class Form:
    """A level as a target holds it. label: how people are told; lossy: such that its loss should be measured"""

    label: str
    bits: int
    lossy: bool = False


_FORMS: Mapping[Target, Mapping[Level, Form]] = MappingProxyType(
    {
        Target.WEB: MappingProxyType(
            {
                Level.FP16: Form("ONNX fp16", 16),
                Level.INT8: Form("ONNX int8", 8),
                Level.Q8: Form("ONNX q8", 8),
                Level.Q4: Form("ONNX q4", 4),
                Level.Q3: Form("ONNX q3-mixed, 4 and 2 bits", 3, lossy=True),
                Level.Q2: Form("ONNX q2", 2, lossy=True),
            }
        ),
        Target.GPU: MappingProxyType(
            {
                Level.FP16: Form("safetensors F16", 16),
                Level.BF16: Form("safetensors BF16", 16),
                Level.FP8: Form("compressed-tensors fp8", 8),
                Level.INT8: Form("compressed-tensors 8 bits", 8),
                Level.Q8: Form("compressed-tensors 8 bits", 8),
                Level.Q4: Form("compressed-tensors 4 bits", 4),
                Level.Q3: Form("compressed-tensors 3 bits", 3, lossy=True),
                Level.Q2: Form("compressed-tensors 2 bits", 2, lossy=True),
            }
        ),
        Target.CPU: MappingProxyType(
            {
                Level.FP16: Form("GGUF F16", 16),
                Level.BF16: Form("GGUF BF16", 16),
                Level.INT8: Form("GGUF Q8_0", 8),
                Level.Q8: Form("GGUF Q8_0", 8),
                Level.Q4: Form("GGUF Q4_K", 4),
                Level.Q3: Form("GGUF Q3_K", 3, lossy=True),
                Level.Q2: Form("GGUF Q2_K", 2, lossy=True),
            }
        ),
    }
)


def parse_level(text: str) -> Level:
    """From its name, in any case; raise Invalid with those there are"""
    return Level(_one_of(text, [str(level) for level in Level], "level"))


def parse_target(text: str) -> Target:
    """From its name, in any case; raise Invalid with those there are"""
    return Target(_one_of(text, [str(target) for target in Target], "target"))


def form(level: Level, target: Target) -> Form:
    """What a level comes to there; raise Invalid with the targets that can hold it, and the levels this one can"""
    held = _FORMS[target]
    if level in held:
        return held[level]
    others = [str(other) for other in Target if level in _FORMS[other]]
    raise Invalid(
        f"Target {target} cannot hold {level}: choose --target {' or '.join(others)}, or one of its levels: "
        f"{', '.join(held)}",
        code="level",
        level=str(level),
        target=str(target),
        targets=others,
        levels=[str(one) for one in held],
    )


def _one_of(text: str, known: list[str], what: str) -> str:
    folded = text.strip().lower()
    if folded in known:
        return folded
    near = get_close_matches(folded, known, 1)
    hint = f"; did you mean {near[0]}" if near else ""
    raise Invalid(f"Unknown {what} {text!r:.40} (known: {', '.join(known)}){hint}", code=what)
