"""Lora: low-rank adapters added to what is read of their base, part by part"""

from collections.abc import Callable, Mapping
from functools import partial
from math import prod
from typing import Any

import torch

from artifactstore.core.errors import Invalid
from artifactstore.core.recipe.adapter import LowRank, Whole, changes, parse_adapter
from artifactstore.derive.inputs import Inputs
from artifactstore.tensors.dtypes import TORCH

# Elements [begin, end) of a tensor, 1-D.
Read = Callable[[int, int], torch.Tensor]


class Adapter:
    """What an adapter makes of the tensors of its base

    raw: its adapter_config.json, None where it has none; base: shapes of the base's tensors. Raise Invalid, naming what
    does not fit, for what is no LoRA.
    """

    def __init__(self, inputs: Inputs, raw: bytes | None, base: Mapping[str, tuple[int, ...]], ref: str) -> None:
        if raw is None:
            raise Invalid(f"{ref} has no adapter_config.json, so it is no adapter", code="adapter", adapter=ref)
        shapes = {name: tensor.shape for name, tensor in inputs.tensors.items()}
        self._inputs, self._base = inputs, base
        self._changes = changes(parse_adapter(raw, ref), shapes, base, ref)

    @property
    def tensors(self) -> frozenset[str]:
        """Which tensors of the base it changes"""
        return frozenset(self._changes)

    def key(self, tensor: str) -> Any:
        """What it makes of one of them, as JSON"""
        change = self._changes[tensor]
        if isinstance(change, Whole):
            return self._inputs.key(change.tensor)
        halves = [self._inputs.key(each) for each in (change.left, change.right)]
        onto = None if change.onto is None else self._inputs.key(change.onto)
        return ["lora", *halves, repr(change.scale), change.turned, onto]

    def read(self, tensor: str, base: Read) -> Read:
        """A tensor of the base as it is with the adapter; base: as it is without. In the base's dtype

        The product is made and added in single precision, and rounded once.
        """
        change = self._changes[tensor]
        if isinstance(change, Whole):
            return partial(self._inputs.read, change.tensor)
        onto = base if change.onto is None else partial(self._inputs.read, change.onto)
        return partial(self._added, tensor, change, onto)

    def _added(self, tensor: str, change: LowRank, base: Read, begin: int, end: int) -> torch.Tensor:
        if begin == end:
            return base(begin, end)
        width = prod(self._base[tensor][1:])
        first, last = begin // width, -(-end // width)
        left, right = self._half(change.left), self._half(change.right)
        rows = left.T[first:last] @ right.T if change.turned else left[first:last] @ right
        weights = base(begin, end)
        wide = torch.promote_types(weights.dtype, torch.float32)
        product = rows.view(-1)[begin - first * width : end - first * width]
        return weights.to(wide).add_(product.to(wide), alpha=change.scale).to(weights.dtype)

    def _half(self, name: str) -> torch.Tensor:
        stored = self._inputs.tensors[name]
        if not TORCH[stored.dtype].is_floating_point:
            raise Invalid(f"Tensor {name!r:.120} is {stored.dtype}, no half of an adapter", code="dtype", tensor=name)
        return self._inputs.read(name).to(torch.float32).view(stored.shape[0], -1)
