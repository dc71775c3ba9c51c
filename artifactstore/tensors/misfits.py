"""Misfits: tensors to be filled, held against those stored; all that does not fit is told at once"""

from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import torch
from torch.nn.parameter import is_lazy

from artifactstore.core.errors import Invalid
from artifactstore.core.reading import Stored
from artifactstore.tensors.dtypes import TORCH, counted

_SHOWN = 20
_EXTRA = "_extra_state"  # https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html, get_extra_state


class Target(NamedTuple):
    """A tensor to fill, by its names here and those in the store: several of each where modules are tied"""

    tensor: torch.Tensor
    here: tuple[str, ...]
    there: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Targets:
    """Tensors to fill, each once, and the module or mapping that has them"""

    into: Any
    found: tuple[Target, ...]

    @classmethod
    def of(cls, into: Any, names: Mapping[str, str]) -> Self:
        """Of a module, or of a mapping of names to tensors; names: name here → name in the store

        The extra state of modules is left as it is.
        """
        tensors, tied = _tensors(into), defaultdict[Hashable, list[str]](list)
        for name, tensor in tensors.items():
            tied[_memory(tensor)].append(name)
        there = {name: names.get(name, name) for name in tensors}
        found = (Target(tensors[here[0]], tuple(here), tuple(there[name] for name in here)) for here in tied.values())
        return cls(into, tuple(found))

    def check(self, stored: Mapping[str, Stored], *, strict: bool) -> None:
        """Raise Invalid with all that cannot be filled with what is stored, and, if strict, is missing on a side"""
        faults = [
            fault
            for one in self.found
            for name in dict.fromkeys(one.there)
            if name in stored
            for fault in self._differences(name, one.tensor, stored[name])
        ]
        if strict:
            known = {name for one in self.found for name in one.there}
            missing = {name: None for one in self.found if stored.keys().isdisjoint(one.there) for name in one.there}
            faults += [f"{name} is missing in the store" for name in missing]
            faults += [f"{name} of the store is unexpected" for name in stored if name not in known]
        if faults:
            more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
            raise Invalid(f"It does not fit: {'; '.join(faults[:_SHOWN])}{more}", code="into", faults=faults)

    def _differences(self, name: str, tensor: torch.Tensor, stored: Stored) -> Iterator[str]:
        if is_lazy(tensor):
            yield f"{name} has no shape yet: call its module once"
            return
        if _is_wrapper(tensor):
            kind = type(tensor).__name__
            yield f"{name} is a {kind}, without memory of its own: use StoreReader, or fill its parts, as of to_local()"
        if tensor.is_meta and not isinstance(self.into, torch.nn.Module | MutableMapping):
            yield f"{name} is on meta, and nothing can be assigned to a {type(self.into).__name__}"
        shape = counted(stored.dtype, stored.shape)
        if tuple(tensor.shape) != shape:
            yield f"{name} has shape {list(tensor.shape)}, stored is {list(shape)}"
        if tensor.dtype != TORCH.get(stored.dtype):
            yield f"{name} is {str(tensor.dtype).removeprefix('torch.')}, stored is {stored.dtype}"

    def stored_as(self, stored: Mapping[str, Stored]) -> Iterator[tuple[str, Target]]:
        """Those that are stored; of several names the last one counts, as for `load_state_dict`"""
        for one in self.found:
            names = [name for name in one.there if name in stored]
            if names:
                yield names[-1], one

    def split(self, stored: Mapping[str, Stored]) -> tuple[dict[str, torch.Tensor], list[str]]:
        """One for each name whose memory can take the stored bytes as they are, and the names of the others"""
        direct: dict[str, torch.Tensor] = {}
        others: dict[str, None] = {}
        for name, one in self.stored_as(stored):
            if name not in direct and is_plain(one.tensor):
                direct[name] = one.tensor
            else:
                others[name] = None
        return direct, list(others)

    def copy(self, loaded: Mapping[str, torch.Tensor], stored: Mapping[str, Stored]) -> None:
        """Put in loaded ones of those stored: by assignment where there is no memory yet, one to all that are tied"""
        fresh: dict[str, torch.Tensor] = {}
        given: set[str] = set()
        for name, one in self.stored_as(stored):
            if name not in loaded:
                continue
            if not one.tensor.is_meta:
                with torch.no_grad():
                    one.tensor.copy_(loaded[name])
                continue
            value = loaded[name].clone() if name in given else loaded[name]
            given.add(name)
            if isinstance(one.tensor, torch.nn.Parameter):
                value = torch.nn.Parameter(value, requires_grad=one.tensor.requires_grad)
            fresh |= dict.fromkeys(one.here, value)
        if isinstance(self.into, torch.nn.Module):
            self.into.load_state_dict(fresh, strict=False, assign=True)
        elif isinstance(self.into, MutableMapping):
            self.into.update(fresh)


def _tensors(into: Any) -> dict[str, torch.Tensor]:
    if isinstance(into, torch.nn.Module):
        # the parameters themselves, as nothing else tells what is tied on meta
        state = into.state_dict(keep_vars=True)
        return {name: value for name, value in state.items() if isinstance(value, torch.Tensor) and not _is_extra(name)}
    if isinstance(into, Mapping):
        found = {name: value for name, value in into.items() if not _is_extra(name)}
        if all(isinstance(value, torch.Tensor) for value in found.values()):
            return found
    raise Invalid(f"A module or a mapping of tensors can be filled, not a {type(into).__name__}", code="into")


def _is_extra(name: str) -> bool:
    return str(name).rpartition(".")[2] == _EXTRA


def _memory(tensor: torch.Tensor) -> Hashable:
    """Equal for tensors of which one is filled with the other"""
    address = _address(tensor)
    return (tensor.device, address, tensor.dtype, tensor.shape, tensor.stride()) if address else id(tensor)


def _address(tensor: torch.Tensor) -> int:
    """Where its memory begins; 0 when it has none of its own"""
    return 0 if is_lazy(tensor) or tensor.is_meta or tensor.layout != torch.strided else tensor.data_ptr()


def _is_wrapper(tensor: torch.Tensor) -> bool:
    """Whether its content is in other tensors, as that of a DTensor or a quantized one"""
    if _is_torchs(tensor):
        return False
    there = not tensor.is_meta and tensor.layout == torch.strided and tensor.numel() > 0
    return hasattr(tensor, "__tensor_flatten__") or (there and not _address(tensor))


def _is_torchs(tensor: torch.Tensor) -> bool:
    return type(tensor) in {torch.Tensor, torch.nn.Parameter}


def is_plain(tensor: torch.Tensor) -> bool:
    """Whether its memory is its content, in order"""
    there = _is_torchs(tensor) and not tensor.is_meta and tensor.layout == torch.strided
    return there and tensor.is_contiguous() and not tensor.is_conj() and not tensor.is_neg()
