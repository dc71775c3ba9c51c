"""Types of GGUF tensors, and what encodes rows in them

Q8_0 and Q4_0 give the bytes that the reference encoders of llama.cpp's gguf package give.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch

from artifactstore.core.formats.gguf import TENSOR_TYPES
from artifactstore.derive.quantize.kquants import K_QUANTS, SUPER, Encoder
from artifactstore.derive.quantize.matrix import narrowed
from artifactstore.derive.quantize.rtn import checked, inverse

_SMALL = 32


@dataclass(frozen=True, slots=True)
class Type:
    """A type of tensor. block: elements that are coded together, all of one row; nbytes: of a block

    encode: rows of whole blocks, float32 [n, columns], as bytes in their order; raise Invalid for what it cannot hold.
    """

    name: str
    number: int
    block: int
    nbytes: int
    encode: Callable[[torch.Tensor], torch.Tensor]


def encode_q8_0(blocks: torch.Tensor) -> torch.Tensor:
    """[n, 32] float32 as [n, 34] uint8: scale, then codes -127..127, halves rounded away from zero"""
    x = blocks.t().contiguous()  # blocks side by side, so that every step runs over contiguous memory
    unit = checked(torch.maximum(x.amax(0), -x.amin(0)).abs_()) / 127  # of zeros the largest may be -0
    x *= inverse(unit)
    amount = x.abs()
    codes = amount.floor()
    codes += amount.sub_(codes).mul_(2).floor_()
    codes.copysign_(x)
    return torch.cat([_bytes(unit.unsqueeze(1)).t(), codes.to(torch.int8).view(torch.uint8)]).t().contiguous()


def encode_q4_0(blocks: torch.Tensor) -> torch.Tensor:
    """[n, 32] float32 as [n, 18] uint8: scale of either sign, then codes 0..15, the first half in the low nibbles"""
    amount = blocks.abs()
    checked(amount.amax(1))
    unit = blocks.gather(1, amount.argmax(1, keepdim=True)) / -8
    codes = (blocks * inverse(unit) + 8.5).clamp_(0, 15).to(torch.uint8)
    return torch.cat([_bytes(unit), codes[:, :16] | (codes[:, 16:] << 4)], 1)


def _bytes(unit: torch.Tensor) -> torch.Tensor:
    return narrowed(unit, torch.float16).view(torch.uint8)


def _blocks(size: int, encode: Encoder) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda rows: encode(rows.view(-1, size))


def _plain(dtype: torch.dtype) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda rows: narrowed(rows, dtype)


_ENCODERS: Mapping[str, Callable[[torch.Tensor], torch.Tensor]] = MappingProxyType(
    {
        "F32": _plain(torch.float32),
        "F16": _plain(torch.float16),
        "BF16": _plain(torch.bfloat16),
        "Q8_0": _blocks(_SMALL, encode_q8_0),
        "Q4_0": _blocks(_SMALL, encode_q4_0),
        **{name: _blocks(SUPER, encode) for name, encode in K_QUANTS.items()},
    }
)
TYPES: Mapping[str, Type] = MappingProxyType(
    {
        name: Type(name, number, block, nbytes, _ENCODERS[name])
        for number, (name, block, nbytes) in TENSOR_TYPES.items()
        if name in _ENCODERS
    }
)
