"""Rows: embeddings of models with different vocabularies, each laid out by the tokens of the product"""

import hashlib
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import torch

from artifactstore.core.errors import Invalid
from artifactstore.core.recipe.vocabulary import VocabMap

# Elements [begin, end) of a tensor, 1-D.
Read = Callable[[int, int], torch.Tensor]
# Of a model's rows, those within a span are read at once where one in so many of them is wanted.
_DENSE = 4
# Elements that are read at a time to find the mean of all rows.
_AT_ONCE = 1 << 22


@dataclass(slots=True)
class Rows:
    """The rows of one tensor in all models that take part, as `vocabulary` has them, all of the dtype `dtype`

    reads: the tensor of each model by its number; width: elements of a row. The rules and their roundings are
    mergekit 0.1.5's: sums of rows are made one by one in `dtype`. Raise Invalid for a token whose rows a model has
    that takes no part.
    """

    vocabulary: VocabMap
    reads: Mapping[int, Read]
    width: int
    dtype: torch.dtype
    _padding: dict[int, torch.Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for row, given in self.vocabulary.given.items():
            lacking = [model for model, _ in given if model not in self.reads]
            if lacking:
                raise Invalid(
                    f"Row {row} is to be taken from model {lacking[0]}, which has no such tensor", code="token", row=row
                )

    def key(self, model: int) -> Any:
        """How the rows of a model are laid out, as JSON; what is in the tensors is not told"""
        own = array("q", self.vocabulary.own[model])
        given = array("q", chain.from_iterable((row, -2, *chain(*each)) for row, each in self.vocabulary.given.items()))
        digest = hashlib.sha256(own.tobytes() + b"given" + given.tobytes()).hexdigest()
        return ["rows", digest, self.vocabulary.size, self.vocabulary.tokens, str(self.dtype)]

    def read(self, model: int) -> Read:
        """The tensor of a model as it is laid out"""
        return lambda begin, end: self._read(model, begin, end)

    def _read(self, model: int, begin: int, end: int) -> torch.Tensor:
        if begin == end:
            return torch.empty(0, dtype=self.dtype)
        first, last = begin // self.width, -(-end // self.width)
        tokens = min(last, self.vocabulary.tokens)
        laid = torch.empty(last - first, self.width, dtype=self.dtype)
        if first < tokens:
            self._lay(model, first, laid[: tokens - first])
        if last > tokens:
            laid[max(0, tokens - first) :] = self._mean(model)
        return laid.view(-1)[begin - first * self.width : end - first * self.width]

    def _lay(self, model: int, first: int, laid: torch.Tensor) -> None:
        """Rows of tokens from `first` on, into `laid`"""
        own = torch.tensor(self.vocabulary.own[model][first : first + len(laid)])
        held = own >= 0
        if held.any():
            laid[held] = self._picked(model, own[held])
        for number in (~held).nonzero().flatten().tolist():
            laid[number] = self._given(first + number)

    def _picked(self, model: int, rows: torch.Tensor) -> torch.Tensor:
        low, high = int(rows.min()), int(rows.max()) + 1
        if high - low <= _DENSE * len(rows):
            return self._of(model, low, high)[rows - low]
        return torch.cat([self._of(model, row, row + 1) for row in rows.tolist()])

    def _of(self, model: int, low: int, high: int) -> torch.Tensor:
        """Rows of a model as it has them"""
        return self.reads[model](low * self.width, high * self.width).view(-1, self.width).to(self.dtype)

    def _given(self, row: int) -> torch.Tensor:
        """The row of a token that a model lacks"""
        given = self.vocabulary.given.get(row, ())
        if len(given) == 1:
            return self._of(given[0][0], given[0][1], given[0][1] + 1)[0]
        total = torch.zeros(self.width, dtype=self.dtype)
        for model, own in given:
            total += self._of(model, own, own + 1)[0]
        return total / len(given) if given else total

    def _mean(self, model: int) -> torch.Tensor:
        """Of all rows of tokens, which padding is filled with"""
        if model not in self._padding:
            total = torch.zeros(self.width, dtype=torch.float64)
            step = max(1, _AT_ONCE // self.width)
            for first in range(0, self.vocabulary.tokens, step):
                laid = torch.empty(min(step, self.vocabulary.tokens - first), self.width, dtype=self.dtype)
                self._lay(model, first, laid)
                total += laid.sum(dim=0, dtype=torch.float64)
            self._padding[model] = (total / max(1, self.vocabulary.tokens)).to(self.dtype)
        return self._padding[model]


def promoted(dtypes: Sequence[torch.dtype]) -> torch.dtype:
    """The dtype that holds numbers of all of these"""
    found = dtypes[0]
    for dtype in dtypes[1:]:
        found = torch.promote_types(found, dtype)
    return found
