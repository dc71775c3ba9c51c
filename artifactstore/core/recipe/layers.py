"""Layers: which tensors of a model are in its stack of layers, which come before it and which after"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any

# the first number counts: in `model.layers.3.mlp.experts.7.w1.weight` it is the layer's
_NUMBERED = re.compile(r"(.+?)\.([0-9]{1,6})\.(.+)")
# asked again and again, and models of many experts have tens of thousands of tensors
_KEPT = 1 << 16
_BEFORE = re.compile(r"emb|wte|wpe")
_AFTER = re.compile(r"embed_out")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tensor stands in a stack: `{stack}.{number}.{rest}`"""

    stack: str
    number: int
    rest: str

    def at(self, number: int) -> str:
        """The tensor's name in another layer"""
        return f"{self.stack}.{number}.{self.rest}"


@dataclass(frozen=True, slots=True)
class Layout:
    """The stacks of a model with the number of their layers; main: the one with the most tensors, None without any"""

    stacks: Mapping[str, int]
    main: str | None

    def place(self, name: str) -> Place | None:
        """Where a tensor stands, None outside of the stacks"""
        place = _place(name)
        return place if place is not None and place.stack in self.stacks else None

    def depth(self, name: str) -> float | None:
        """How far down its stack, from 0 to 1; a single layer is at 1, as in mergekit. None outside of the stacks"""
        place = self.place(name)
        if place is None:
            return None
        return depth(place.number, self.stacks[place.stack])

    @property
    def layers(self) -> int:
        """Of the main stack"""
        return self.stacks[self.main] if self.main is not None else 0


def depth(number: int, count: int) -> float:
    """How far down `count` layers one is; where there is one, at their end"""
    return number / (count - 1) if count > 1 else 1.0


def layout(names: Iterable[str], config: Mapping[str, Any]) -> Layout:
    """The stacks among tensors' names

    The one with the most tensors is one in any case, the others if the configuration has a number of layers that is
    theirs, since the two modules of a classifier are numbered too.
    """
    places = [place for place in map(_place, names) if place is not None]
    sizes = Counter(place.stack for place in places)
    numbers: dict[str, set[int]] = {}
    for place in places:
        numbers.setdefault(place.stack, set()).add(place.number)
    whole = {stack: len(found) for stack, found in numbers.items() if found == set(range(len(found)))}
    main = max(whole, key=lambda stack: (sizes[stack], stack), default=None)
    counts = _counts(config)
    return Layout(
        MappingProxyType({stack: count for stack, count in whole.items() if stack == main or count in counts}), main
    )


def is_before(name: str) -> bool:
    """Whether a tensor outside of the stacks comes before them: embeddings do, norms and heads do not"""
    return _BEFORE.search(name) is not None and _AFTER.search(name) is None


@lru_cache(_KEPT)
def _place(name: str) -> Place | None:
    found = _NUMBERED.fullmatch(name)
    return Place(found[1], int(found[2]), found[3]) if found else None


def _counts(config: Mapping[str, Any]) -> set[int]:
    sections = [config, *(inner for inner in config.values() if isinstance(inner, Mapping))]
    return {
        value
        for section in sections
        for key, value in section.items()
        if ("layer" in key or "depth" in key) and isinstance(value, int) and value > 1
    }
