"""Tensors in compressed-tensors form, which transformers and vLLM load

Format: https://github.com/vllm-project/compressed-tensors: a weight [out, in] becomes `weight_packed` (codes, densely
from the lowest bit of 32-bit words), `weight_scale` and `weight_shape`; in fp8 `weight` and `weight_scale`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from artifactstore.core.errors import Invalid
from artifactstore.derive.making import Made
from artifactstore.derive.quantize import rtn
from artifactstore.derive.quantize.levels import Level
from artifactstore.derive.quantize.matrix import FLOATS, Matrix, Tensors, copied
from artifactstore.tensors.dtypes import NAMES, TORCH, view_bytes

GROUPS = (128, 64, 32)
_BITS = {Level.INT8: 8, Level.Q8: 8, Level.Q4: 4, Level.Q3: 3, Level.Q2: 2}
_WEIGHT = ".weight"
# No linear layers, though their weights are matrices too.
_LOOKED_UP = re.compile(r"embed|(^|\.)(wte|wpe|shared|relative_attention_bias)$|norm", re.IGNORECASE)
# Linear layers that so few bits would hurt the most, or that choose among others.
_SPARED = re.compile(
    r"(^|\.)(lm_head(\.\w+)?|embed_out|score|classifier|qa_outputs|pooler\.dense|gate|router)$"
    r"|(^|\.)(cls|vocab_transform|generator_predictions)\b"
)
# GPT-2 and its kin keep matrices the other way round, in layers that readers do not take for linear ones.
_TRANSPOSED = frozenset({"gpt2", "openai-gpt", "imagegpt", "decision_transformer", "ctrl"})
# A head that shares the embeddings has no tensor, and is a linear layer all the same; beside what it is found.
_HEADS = (
    ("lm_head", ""),
    ("lm_head.decoder", "lm_head.dense"),
    ("cls.predictions.decoder", "cls.predictions."),
    ("vocab_projector", "vocab_layer_norm"),
    ("generator_lm_head", "generator_predictions."),
)


@dataclass(frozen=True, slots=True)
class Scheme:
    """What becomes of each tensor. groups: of the weights that are quantized, 0 for whole rows (fp8)

    spared: linear layers left alone; plain: the dtype of the rest; notes: what people should be told.
    """

    level: Level
    groups: Mapping[str, int]
    spared: tuple[str, ...]
    plain: Mapping[str, str]
    notes: tuple[str, ...] = ()

    @property
    def dtype(self) -> str | None:
        """Of what is no code, as configurations name it; None where there is none of it"""
        found = {dtype for dtype in self.plain.values() if dtype in FLOATS}
        return str(TORCH[found.pop()]).removeprefix("torch.") if len(found) == 1 else None


def choose(tensors: Mapping[str, Any], model_type: str, level: Level) -> Scheme:
    """By names and shapes alone; raise Invalid where no reader would understand it"""
    if level in {Level.FP16, Level.BF16}:
        dtype = "F16" if level is Level.FP16 else "BF16"
        return Scheme(
            level, {}, (), {name: dtype if one.dtype in FLOATS else one.dtype for name, one in tensors.items()}
        )
    if model_type in _TRANSPOSED:
        raise Invalid(
            f"Weights of {model_type} lie the other way round, and compressed-tensors cannot say so; use --level fp16 "
            "or bf16, or --target cpu",
            code="architecture",
        )
    groups: dict[str, int] = {}
    spared = [head for head, sign in _HEADS if any(name.startswith(sign) for name in tensors)]
    odd: list[str] = []
    for name, one in tensors.items():
        module = name.removesuffix(_WEIGHT)
        if not name.endswith(_WEIGHT) or len(one.shape) != 2 or one.dtype not in FLOATS or _LOOKED_UP.search(module):
            continue
        group = 0 if level is Level.FP8 else next((size for size in GROUPS if one.shape[1] % size == 0), None)
        if _SPARED.search(module) or group is None:
            spared.append(module)
            odd += [name] if group is None and not _SPARED.search(module) else []
        else:
            groups[name] = group
    if not groups:
        raise Invalid("There is no linear layer whose rows groups of 32 would fill; use --level fp16", code="shape")
    plain = {name: _plain(one.dtype) for name, one in tensors.items() if name not in groups}
    return Scheme(level, groups, tuple(spared), plain, tuple(_notes(tensors, groups, odd, level)))


def _plain(dtype: str) -> str:
    return "BF16" if dtype in {"F64", "F32"} else dtype


def _notes(tensors: Mapping[str, Any], groups: Mapping[str, int], odd: Sequence[str], level: Level) -> Iterator[str]:
    if odd:
        yield f"left alone, as no group of 32 fills their rows: {len(odd)}, such as {odd[0]}"
    smaller = [name for name, size in groups.items() if 0 < size < GROUPS[0]]
    if smaller:
        yield f"in groups of less than {GROUPS[0]}: {len(smaller)}, such as {smaller[0]} ({groups[smaller[0]]})"
    stacked = [name for name, one in tensors.items() if len(one.shape) > 2 and one.dtype in FLOATS]
    if stacked:
        yield f"left alone, as they are no matrices: {len(stacked)}, such as {stacked[0]}"
    if level is Level.Q2:
        yield "two bits cost much quality: measure it before it is used"
    if level is Level.Q3:
        yield "vLLM reads three bits by its Humming kernels, from SM75 on; transformers unpacks them"


def made(inputs: Tensors, scheme: Scheme, name: str) -> list[Made]:
    """What is stored for one tensor of the source"""
    if name not in scheme.groups:
        return [copied(inputs, name, scheme.plain[name])]
    weight = _Weight(inputs, name, scheme)
    return weight.fp8() if scheme.level is Level.FP8 else weight.packed()


def quantization_config(scheme: Scheme) -> dict[str, Any] | None:
    """For config.json, as readers of this form look for it; None where nothing is quantized"""
    if not scheme.groups:
        return None
    fp8 = scheme.level is Level.FP8
    sizes = sorted(set(scheme.groups.values()), reverse=True)
    usual = max(sizes, key=list(scheme.groups.values()).count)
    groups = {}
    # the first that fits counts, so names stand before the class
    for number, size in enumerate([*(size for size in sizes if size != usual), usual]):
        named = [name.removesuffix(_WEIGHT) for name, one in scheme.groups.items() if one == size]
        groups[f"group_{number}"] = {
            "targets": ["Linear"] if size == usual else named,
            "weights": _weights(8 if fp8 else _BITS[scheme.level], None if fp8 else size),
            "input_activations": None,
            "output_activations": None,
        }
    return {
        "quant_method": "compressed-tensors",
        "format": "float-quantized" if fp8 else "pack-quantized",
        "quantization_status": "compressed",
        "ignore": list(dict.fromkeys(scheme.spared)),
        "config_groups": groups,
    }


def _weights(bits: int, group: int | None) -> dict[str, Any]:
    return {
        "num_bits": bits,
        "type": "float" if group is None else "int",
        "symmetric": True,
        "strategy": "channel" if group is None else "group",
        "group_size": group,
        "dynamic": False,
    }


def pack(codes: torch.Tensor, bits: int) -> torch.Tensor:
    """[rows, columns] uint8, each below 2^bits, as uint8 [rows, 4 · words], from the lowest bit on; bits: 2, 3, 4, 8"""
    rows, columns = codes.shape
    words = -(-columns * bits // 32)
    if columns % 32:
        codes = torch.nn.functional.pad(codes, (0, -columns % 32))
    if bits == 4:
        two = codes.view(torch.int16)
        codes = ((two >> 4) | two).to(torch.uint8)
    elif bits == 2:
        four = codes.view(torch.int32)
        codes = ((four >> 18) | (four >> 12) | (four >> 6) | four).to(torch.uint8)
    elif bits == 3:
        eight = codes.view(torch.int64)
        eight = ((eight >> 5) | eight) & 0x003F003F003F003F
        eight = ((eight >> 10) | eight) & 0x00000FFF00000FFF
        eight = (eight >> 20) | eight
        codes = eight.view(-1).view(torch.uint8).view(-1, 8)[:, :3]
    return codes.reshape(rows, -1)[:, : 4 * words].contiguous()


class _Weight:
    """One weight. Its scales are calculated with its codes, and kept until their turn comes"""

    def __init__(self, inputs: Tensors, name: str, scheme: Scheme) -> None:
        self._matrix = Matrix(inputs, name)
        self._group = scheme.groups[name]
        self._level = scheme.level
        plain = _plain(inputs.tensors[name].dtype)
        self._scale_dtype = TORCH[plain]
        self._scales: list[torch.Tensor] | None = None

    def packed(self) -> list[Made]:
        """Codes, scales, shape"""
        bits, rows, columns = _BITS[self._level], self._matrix.rows, self._matrix.columns
        words, groups = -(-columns * bits // 32), columns // self._group

        def work(part: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            codes, scales = rtn.quantize(part.view(-1, self._group), bits, self._scale_dtype)
            return pack(codes.view(-1, columns), bits), scales

        shape = torch.tensor([rows, columns])
        return [
            self._first("weight_packed", "I32", (rows, words), rows * words * 4, work),
            self._second((rows, groups), work),
            Made(self._saved_as("weight_shape"), "I64", (2,), 16, None, lambda: iter([view_bytes(shape)])),
        ]

    def fp8(self) -> list[Made]:
        """Weights of eight bits, and a scale for each row"""
        rows, columns = self._matrix.rows, self._matrix.columns

        def work(part: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return rtn.quantize_fp8(part, self._scale_dtype)

        return [
            self._first("weight", "F8_E4M3", (rows, columns), rows * columns, work),
            self._second((rows, 1), work),
        ]

    def _saved_as(self, part: str) -> str:
        return self._matrix.name.removesuffix(_WEIGHT) + "." + part

    def _key(self, part: str) -> Any:
        return self._matrix.key("compressed-tensors", part, str(self._level), self._group, NAMES[self._scale_dtype])

    def _first(self, part: str, dtype: str, shape: tuple[int, ...], nbytes: int, work: Any) -> Made:
        def make() -> Iterator[memoryview]:
            found = []
            for codes, scales in self._matrix.each(work):
                yield view_bytes(codes)
                found.append(scales)
            self._scales = found

        return Made(self._saved_as(part), dtype, shape, nbytes, self._key(part), make)

    def _second(self, shape: tuple[int, ...], work: Any) -> Made:
        def make() -> Iterator[memoryview]:
            # codes that were known from an earlier run leave no scales behind
            found = self._scales if self._scales is not None else [scales for _, scales in self._matrix.each(work)]
            self._scales = None
            yield from map(view_bytes, found)

        nbytes = shape[0] * shape[1] * self._scale_dtype.itemsize
        dtype = NAMES[self._scale_dtype]
        return Made(self._saved_as("weight_scale"), dtype, shape, nbytes, self._key("weight_scale"), make)
