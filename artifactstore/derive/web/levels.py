"""Levels: what a level is on the web, and the names by which transformers.js finds its files

Names and suffixes: transformers.js 4, `src/utils/dtypes.js`. It knows no 3-bit level, and onnxruntime has no such
kernel: q3 is a file of 4 and 2 bits, to be loaded with `{model_file_name: "model_q3mix", dtype: "fp32"}`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from artifactstore.core.errors import Invalid

FOLDER = "onnx"
BLOCK = 32
_HEAD_BITS = 4
# what bears two bits best, measured: foundry notes, q3mix
_ROBUST = re.compile(r"(?:^|[./])(?:q_proj|k_proj|gate_proj|up_proj|gate_up_proj|query|key|q_lin|k_lin|intermediate)\b")
_HEAD = re.compile(r"lm_head|predictions|(?:^|[./])(?:classifier|score|pooler|qa_outputs)\b")


@dataclass(frozen=True, slots=True)
class WebLevel:
    """A level. dtype: what transformers.js calls it; bits: of matrices, 32 and 16 for floats

    robust: bits of matrices that lose least, heads: of the last one and of the table of embeddings; dynamic: eight bits
    whose activations are quantized as the model runs; half: what is no matrix is float16 too.
    """

    name: str
    file: str
    dtype: str
    bits: int
    robust: int = 0
    heads: int = 0
    dynamic: bool = False
    half: bool = False

    @property
    def path(self) -> str:
        """Of its graph in a version"""
        return f"{FOLDER}/{self.file}"

    @property
    def label(self) -> str:
        """For people: its name, and what it is where that is not what it says"""
        return f"{self.name}-mixed, {self.bits} and {self.robust} bits" if self.robust else self.name

    def bits_of(self, node: str) -> int:
        """Of the matrix of a node, by its name"""
        if _HEAD.search(node):
            return self.heads
        return self.robust if self.robust and _ROBUST.search(node) else self.bits


LEVELS: Mapping[str, WebLevel] = MappingProxyType(
    {
        level.name: level
        for level in (
            WebLevel("fp32", "model.onnx", "fp32", 32),
            WebLevel("fp16", "model_fp16.onnx", "fp16", 16, half=True),
            WebLevel("q8", "model_quantized.onnx", "q8", 8, dynamic=True),
            WebLevel("int8", "model_int8.onnx", "int8", 8, dynamic=True),
            WebLevel("uint8", "model_uint8.onnx", "uint8", 8, dynamic=True),
            WebLevel("q4", "model_q4.onnx", "q4", 4, heads=_HEAD_BITS),
            WebLevel("q4f16", "model_q4f16.onnx", "q4f16", 4, heads=_HEAD_BITS, half=True),
            WebLevel("q3", "model_q3mix.onnx", "fp32", 4, robust=2, heads=_HEAD_BITS),
            WebLevel("q2", "model_q2.onnx", "q2", 2, heads=_HEAD_BITS),
            WebLevel("q2f16", "model_q2f16.onnx", "q2f16", 2, heads=_HEAD_BITS, half=True),
        )
    }
)


def web_level(name: str) -> WebLevel:
    """Raise Invalid naming those there are"""
    if name not in LEVELS:
        raise Invalid(f"The web holds no {name[:40]}; use one of {', '.join(LEVELS)}", code="level", level=name[:40])
    return LEVELS[name]
