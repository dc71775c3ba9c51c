"""Shelf: tensors of a device by the stored content they have, for all of a process

It holds no memory: what nobody else holds is forgotten. What was written to since is not taken for what it was.
"""

import os
import threading
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch

from artifactstore.core.reading import Content
from artifactstore.tensors.save import changes


class Key(NamedTuple):
    """What a tensor of the table is: stored content, and the dtype it was brought to"""

    content: Content
    dtype: str


@dataclass(frozen=True, slots=True)
class _Kept:
    tensor: "weakref.ref[torch.Tensor]"
    changes: int


class Shelf:
    """The tensors of a device by their content, for all threads"""

    def __init__(self) -> None:
        self._kept: dict[Key, _Kept] = {}
        self._lock = threading.Lock()

    def find(self, key: Key) -> torch.Tensor | None:
        """A tensor that is still what it was"""
        with self._lock:
            kept = self._kept.get(key)
            tensor = None if kept is None else kept.tensor()
            if kept is not None and (tensor is None or tensor.requires_grad or changes(tensor) != kept.changes):
                del self._kept[key]
                return None
            return tensor

    def note(self, key: Key, tensor: torch.Tensor) -> None:
        """A tensor that has just come; one made in inference mode does not tell who writes to it"""
        if not tensor.is_inference():
            with self._lock:
                self._kept[key] = _Kept(weakref.ref(tensor), changes(tensor))

    def all(self) -> Iterator[tuple[Key, torch.Tensor]]:
        """What is there now"""
        with self._lock:
            keys = list(self._kept)
        yield from ((key, tensor) for key in keys if (tensor := self.find(key)) is not None)


_SHELVES: dict[torch.device, Shelf] = {}


def shelf_of(device: torch.device) -> Shelf:
    """That of this process"""
    return _SHELVES.setdefault(device, Shelf())


# A child may see the memory of its parent's GPU no more, and shares none on the CPU.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_SHELVES.clear)
