"""Dtypes: what weights are stored and calculated in, and what two of them come to together"""

from collections.abc import Iterable, Mapping
from functools import reduce
from types import MappingProxyType

# by the names that recipes and configurations have
BY_NAME: Mapping[str, str] = MappingProxyType(
    {"bfloat16": "BF16", "float16": "F16", "float32": "F32", "float64": "F64"}
)
NAMES: Mapping[str, str] = MappingProxyType({dtype: name for name, dtype in BY_NAME.items()})
_RANK = {"BF16": 0, "F16": 0, "F32": 1, "F64": 2}


def is_weight(dtype: str) -> bool:
    """Whether it holds weights that may be merged: no counts, flags, or quantized values"""
    return dtype in _RANK


def promote(dtypes: Iterable[str]) -> str:
    """The least that holds all values of all of them, as torch.promote_types has it"""
    return reduce(_both, dtypes)


def _both(a: str, b: str) -> str:
    if a == b:
        return a
    return "F32" if _RANK[a] == _RANK[b] else max(a, b, key=_RANK.__getitem__)
