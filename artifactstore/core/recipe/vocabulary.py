"""Vocabulary: which rows of the models' embeddings the rows of the product come from"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class VocabMap:
    """How the rows of all models are laid out anew, so that one row is one token in all of them

    size: rows of the product; tokens: how many of them are tokens. Those after are padding, the mean of the rows of
    that model before them. own: for each model, the row of its own that each of the first `tokens` rows is, -1 where
    `given` says: the rows (model, row) whose mean it is, in order, added up one by one and divided; () for zeros.
    """

    size: int
    tokens: int
    own: tuple[Sequence[int], ...]
    given: Mapping[int, tuple[tuple[int, int], ...]]
