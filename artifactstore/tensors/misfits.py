"""Misfits: tensors to be filled, held against those stored; all that does not fit is told at once"""

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, Self

import torch

from artifactstore.core.errors import Invalid
from artifactstore.core.reading import Stored
from artifactstore.tensors.dtypes import TORCH, counted

_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Targets:
    """Tensors to fill, by their name in the store, and the module or mapping that has them"""

    into: Any
    tensors: Mapping[str, torch.Tensor]
    names: Mapping[str, str]

    @classmethod
    def of(cls, into: Any, names: Mapping[str, str]) -> Self:
        """Of a module, or of a mapping of names to tensors; names: name here → name in the store"""
        if isinstance(into, torch.nn.Module):
            found = into.state_dict()
        elif isinstance(into, Mapping) and all(isinstance(value, torch.Tensor) for value in into.values()):
            found = dict(into)
        else:
            raise Invalid(f"A module or a mapping of tensors can be filled, not a {type(into).__name__}", code="into")
        return cls(into, {names.get(name, name): tensor for name, tensor in found.items()}, names)

    def check(self, stored: Mapping[str, Stored], *, strict: bool) -> None:
        """Raise Invalid with every tensor that is missing on either side, if strict, and every one of another shape"""
        faults = [
            fault
            for name, tensor in self.tensors.items()
            if name in stored
            for fault in _differences(name, tensor, stored[name])
        ]
        if strict:
            faults += [f"{name} is missing in the store" for name in self._missing(stored)]
            faults += [f"{name} of the store is unexpected" for name in stored if name not in self.tensors]
        if faults:
            more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
            raise Invalid(f"It does not fit: {'; '.join(faults[:_SHOWN])}{more}", code="into", faults=faults)

    def _missing(self, stored: Mapping[str, Stored]) -> list[str]:
        """Those that are not stored, nor tied to one that is"""
        missing = [name for name in self.tensors if name not in stored]
        if not missing:
            return []
        tied = {_memory(tensor) for name, tensor in self.tensors.items() if name in stored and not tensor.is_meta}
        return [name for name in missing if _memory(self.tensors[name]) not in tied]

    def split(self, stored: Mapping[str, Stored]) -> tuple[dict[str, torch.Tensor], list[str]]:
        """Those whose memory can take the stored bytes as they are, and the names of the others"""
        known = {name: tensor for name, tensor in self.tensors.items() if name in stored}
        direct = {name: tensor for name, tensor in known.items() if is_plain(tensor)}
        return direct, [name for name in known if name not in direct]

    def copy(self, loaded: Mapping[str, torch.Tensor]) -> None:
        """Put in loaded tensors: by assignment where there is no memory yet"""
        with torch.no_grad():
            for name, tensor in self.tensors.items():
                if name in loaded and not tensor.is_meta:
                    tensor.copy_(loaded[name])
        own = {there: here for here, there in self.names.items()}
        fresh = {
            own.get(name, name): loaded[name]
            for name, tensor in self.tensors.items()
            if name in loaded and tensor.is_meta
        }
        if isinstance(self.into, torch.nn.Module):
            self.into.load_state_dict(fresh, strict=False, assign=True)
        elif isinstance(self.into, MutableMapping):
            self.into.update(fresh)


def _memory(tensor: torch.Tensor) -> tuple[Any, ...]:
    return tensor.device, tensor.data_ptr(), tensor.shape


def is_plain(tensor: torch.Tensor) -> bool:
    """Whether its memory is its content, in order"""
    there = not tensor.is_meta and tensor.layout == torch.strided
    return there and tensor.is_contiguous() and not tensor.is_conj() and not tensor.is_neg()


def _differences(name: str, tensor: torch.Tensor, stored: Stored) -> list[str]:
    faults = []
    shape = counted(stored.dtype, stored.shape)
    if tuple(tensor.shape) != shape:
        faults.append(f"{name} has shape {list(tensor.shape)}, stored is {list(shape)}")
    if tensor.dtype != TORCH.get(stored.dtype):
        faults.append(f"{name} is {str(tensor.dtype).removeprefix('torch.')}, stored is {stored.dtype}")
    return faults
