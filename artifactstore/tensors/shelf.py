"""Shelf: tensors of a process by the stored content they have, and where

It holds no memory: what nobody else holds is forgotten. A tensor that was written to since is not taken for what it
was, as far as torch was told: nobody tells of writes through `.data`, a NumPy view or a fused optimizer, or by another
process that has the same memory. What is shared is not to be written to.
"""

import os
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch

from artifactstore.core.reading import Content
from artifactstore.tensors.save import changes


class Key(NamedTuple):
    """What a tensor of the table is: stored content, the dtype it was brought to, and the place where it is"""

    content: Content
    dtype: str
    place: str


@dataclass(frozen=True, slots=True)
class _Kept:
    tensor: "weakref.ref[torch.Tensor]"
    changes: int


class Shelf:
    """Tensors by their content, for all threads

    Each step on its dict is one for all threads, so there is no lock, which a collection of garbage or a fork might
    find taken. Who comes between two steps of another finds a tensor less.
    """

    def __init__(self) -> None:
        self._kept: dict[Key, _Kept] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, key: Key) -> torch.Tensor | None:
        """A tensor that is still what it was, as far as torch knows"""
        kept = self._kept.get(key)
        tensor = None if kept is None else kept.tensor()
        if kept is None or tensor is None:
            return None
        if tensor.requires_grad or changes(tensor) != kept.changes:
            self._kept.pop(key, None)
            return None
        return tensor

    def note(self, key: Key, tensor: torch.Tensor) -> None:
        """A tensor that has just come; one made in inference mode does not tell who writes to it"""
        if not tensor.is_inference():
            self._kept[key] = _Kept(weakref.ref(tensor, lambda _: self._kept.pop(key, None)), changes(tensor))

    def all(self) -> Iterator[tuple[Key, torch.Tensor]]:
        """What is there now"""
        yield from ((key, tensor) for key in list(self._kept) if (tensor := self.find(key)) is not None)

    def forget(self) -> None:
        """All of it"""
        self._kept = {}


def place_of(device: torch.device) -> str:
    """The same for two processes where both mean the same memory by the same name: GPUs may be numbered otherwise"""
    known = device.type == "cuda" and torch.cuda.is_available()
    return f"{device} {getattr(torch.cuda.get_device_properties(device), 'uuid', '')}" if known else str(device)


SHELF = Shelf()  # that of this process


# A child may see the memory of its parent's GPU no more, and shares none on the CPU.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=SHELF.forget)
