"""Dtypes of safetensors as torch and NumPy know them, and tensors as bytes

https://github.com/huggingface/safetensors#format. Bytes are little-endian, as on every machine torch runs well on.
"""

import ctypes
from collections.abc import Mapping, Sequence
from math import prod
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from artifactstore.core.errors import Corrupt
from artifactstore.core.formats.safetensors import DTYPE_BITS

_MAX_DIMS = 32  # NumPy 1's limit is the smallest
_TORCH_NAMES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
    "C64": "complex64",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F8_E8M0": "float8_e8m0fnu",
    "F4": "float4_e2m1fn_x2",
}
# Older releases of torch lack the newest dtypes.
TORCH: Mapping[str, torch.dtype] = MappingProxyType(
    {name: getattr(torch, known) for name, known in _TORCH_NAMES.items() if hasattr(torch, known)}
)
NUMPY: Mapping[str, "np.dtype[Any]"] = MappingProxyType(
    {name: np.dtype(known) for name, known in _TORCH_NAMES.items() if known in np.sctypeDict}
)
NAMES: Mapping[torch.dtype, str] = MappingProxyType({dtype: name for name, dtype in TORCH.items()})
ARRAY_NAMES: Mapping["np.dtype[Any]", str] = MappingProxyType({dtype: name for name, dtype in NUMPY.items()})


def stored_shape(name: str, shape: Sequence[int]) -> tuple[int, ...]:
    """The shape in a file of a tensor of this shape: torch counts F4 in pairs, safetensors one by one"""
    return (*shape[:-1], shape[-1] * 2) if name == "F4" else tuple(shape)


def counted(name: str, shape: Sequence[int]) -> tuple[int, ...]:
    """The shape in torch of a tensor of a file"""
    return (*shape[:-1], shape[-1] // 2) if name == "F4" else tuple(shape)


def allocate(name: str, shape: Sequence[int], nbytes: int, device: torch.device) -> torch.Tensor:
    """An unfilled tensor for `nbytes` of a file; raise Corrupt when dtype, shape and size do not agree"""
    check_tensor(name, shape, nbytes)
    return torch.empty(counted(name, shape), dtype=TORCH[name], device=device)


def allocate_array(name: str, shape: Sequence[int], nbytes: int) -> "np.ndarray[Any, Any]":
    """As `allocate`, for a NumPy array"""
    _check(name, shape, nbytes, known=name in NUMPY)
    return np.empty(tuple(shape), dtype=NUMPY[name])


def check_tensor(name: str, shape: Sequence[int], nbytes: int) -> None:
    """Raise Corrupt when dtype, shape and size do not agree, or torch does not know the dtype"""
    _check(name, shape, nbytes, known=name in TORCH)


def _check(name: str, shape: Sequence[int], nbytes: int, *, known: bool) -> None:
    fits = known and len(shape) <= _MAX_DIMS and min(shape, default=0) >= 0
    if not fits or prod(shape) * DTYPE_BITS[name] != nbytes * 8 or (name == "F4" and (not shape or shape[-1] % 2)):
        raise Corrupt(f"{nbytes} bytes are no {name:.20} tensor of shape {list(shape)!s:.80}", code="tensor")


def as_bytes(tensor: torch.Tensor) -> torch.Tensor:
    """The memory of a contiguous tensor as uint8, without a copy"""
    return tensor.detach().reshape(-1).view(torch.uint8)


def view_bytes(tensor: torch.Tensor) -> memoryview:
    """The memory of a contiguous CPU tensor, without a copy"""
    memory: Any = (ctypes.c_uint8 * tensor.nbytes).from_address(tensor.data_ptr())
    memory.owner = tensor  # it lives as long as the view
    return memoryview(memory).cast("B")


def view_array(array: "np.ndarray[Any, Any]") -> memoryview:
    """The memory of a contiguous array, without a copy"""
    return array.reshape(-1).view(np.uint8).data
