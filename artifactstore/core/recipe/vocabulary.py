"""Vocabulary: which rows of the models' embeddings the rows of the product come from

The rules are mergekit 0.1.5's: a token that a model lacks is, in that model, the base's row if the base has it, else
the mean of those that have it; a token that no model has is zeros.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from artifactstore.core.errors import Invalid
from artifactstore.core.recipe.recipe import ModelRef, Recipe, TokenRule

Tokens = Mapping[str, int]
_MAX_ID = 1 << 24


@dataclass(frozen=True, slots=True)
class VocabMap:
    """How the rows of all models are laid out anew, so that one row is one token in all of them

    size: rows of the product; tokens: how many of them are tokens. Those after are padding, the mean of the rows of
    that model before them. own: for each model, the row of its own that each of the first `tokens` rows is, -1 where
    `given` says: the rows (model, row) whose mean it is, in order, added up one by one and divided; () for zeros.
    Empty for models that take no part.
    """

    size: int
    tokens: int
    own: tuple[Sequence[int], ...]
    given: Mapping[int, tuple[tuple[int, int], ...]]

    def stays(self, model: int, rows: int) -> bool:
        """Whether the rows of a model are those of the product, as they are"""
        return self.size == self.tokens == rows and list(self.own[model]) == list(range(rows))


@dataclass(frozen=True, slots=True)
class Matched:
    """For each model, the row of it that each token of the product is, -1 where it lacks the token

    size: rows of the product, padding included. added: tokens that its tokenizer is to be given, with their rows.
    rules: what the recipe says of single tokens, by row: rows (model, row) to take, and whether all models take them.
    """

    rows: tuple[tuple[int, ...], ...]
    size: int
    added: Tokens
    rules: Mapping[int, tuple[tuple[tuple[int, int], ...], bool]] = field(default_factory=lambda: MappingProxyType({}))

    def lay(self, models: Sequence[int], base: int | None) -> VocabMap:
        """How rows are laid out where these models take part, `base` the one whose rows are taken first"""
        count = len(self.rows[0])
        own: list[list[int]] = [list(rows) if number in models else [] for number, rows in enumerate(self.rows)]
        given: dict[int, tuple[tuple[int, int], ...]] = {}
        for row in range(count):
            rule, force = self.rules.get(row, (None, False))
            having = [model for model in models if own[model][row] >= 0]
            if force:
                for model in models:
                    own[model][row] = -1
            elif len(having) == len(models):
                continue
            given[row] = self._given(row, having, base) if rule is None else rule
        return VocabMap(self.size, count, tuple(own), MappingProxyType(given))

    def _given(self, row: int, having: Sequence[int], base: int | None) -> tuple[tuple[int, int], ...]:
        chosen = [base] if base in having else having
        return tuple((model, self.rows[model][row]) for model in chosen if model is not None)


def read_tokens(files: Mapping[str, bytes], model: str) -> Tokens | None:
    """The tokens of a tokenizer by its files' names: tokenizer.json, else vocab.json or vocab.txt; None without any

    added_tokens.json is added. Raises Invalid where they are not what those files hold.
    """
    try:
        if "tokenizer.json" in files:
            return _of_tokenizer(json.loads(files["tokenizer.json"]))
        found = _of_vocabulary(files)
        if found is not None and "added_tokens.json" in files:
            found |= json.loads(files["added_tokens.json"])
        return None if found is None else _checked(found)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as e:
        raise Invalid(f"The tokenizer of {model} cannot be read: {e}"[:200], code="tokenizer", model=model) from e


def match(recipe: Recipe, vocabularies: Sequence[Tokens | None], rows: Sequence[int]) -> Matched:
    """Match the vocabularies of all models, in the order of `recipe.models`, as the recipe's `tokenizer` says

    A model without a tokenizer (None) has the base's. rows: how many the input embeddings of each model have; tokens
    beyond them are not there. Raises Invalid for a recipe without a tokenizer, and for tokens that it names and no
    model has.
    """
    if recipe.tokenizer is None:
        raise Invalid(f"{recipe.path}: it has no tokenizer to match vocabularies by", code="tokenizer")
    numbers = {ref: number for number, ref in enumerate(recipe.models)}
    first = vocabularies[numbers[recipe.base] if recipe.base is not None else 0]
    if first is None:
        raise Invalid(f"{recipe.base or recipe.models[0]} has no tokenizer to match rows by", code="tokenizer")
    held = [
        {token: row for token, row in (first if each is None else each).items() if row < count}
        for each, count in zip(vocabularies, rows, strict=True)
    ]
    donor = _donor(recipe, numbers)
    kept = range(max(held[donor].values(), default=-1) + 1)
    added = {token: len(kept) + number for number, token in enumerate(_added(recipe, held, donor))}
    named = {row: token for token, row in (*held[donor].items(), *added.items())}
    order = [named.get(row) for row in range(len(kept) + len(added))]
    laid = tuple(
        tuple(_row(row, token, each, owner=number == donor) for row, token in enumerate(order))
        for number, each in enumerate(held)
    )
    place = {token: row for row, token in named.items()}
    rules = {}
    for token, rule in recipe.tokenizer.tokens.items():
        given = _given(recipe, token, rule, {ref: (held[n], rows[n]) for ref, n in numbers.items()})
        rules[place[token]] = tuple((numbers[ref], row) for ref, row in given), rule.force
    pad = recipe.tokenizer.pad or 1
    return Matched(laid, -(-len(order) // pad) * pad, MappingProxyType(added), MappingProxyType(rules))


def _row(row: int, token: str | None, held: Tokens, *, owner: bool) -> int:
    """Where a model has a token; a row that is none is the donor's alone"""
    if token is None:
        return row if owner else -1
    return held.get(token, -1)


def _donor(recipe: Recipe, numbers: Mapping[ModelRef, int]) -> int:
    """Whose tokens keep their rows"""
    source = recipe.tokenizer.source if recipe.tokenizer is not None else None
    if isinstance(source, ModelRef):
        return numbers[source]
    return numbers[recipe.base] if recipe.base is not None else 0


def _added(recipe: Recipe, held: Sequence[Tokens], donor: int) -> list[str]:
    """Tokens that the donor lacks: what the others have, where all of them count, then what the recipe names"""
    assert recipe.tokenizer is not None
    others = [each for number, each in enumerate(held) if number != donor and recipe.tokenizer.source == "union"]
    named = [token for each in others for token in sorted(each, key=each.__getitem__)]
    return [token for token in dict.fromkeys((*named, *recipe.tokenizer.tokens)) if token not in held[donor]]


def _given(
    recipe: Recipe, token: str, rule: TokenRule, held: Mapping[ModelRef, tuple[Tokens, int]]
) -> tuple[tuple[ModelRef, int], ...]:
    """The row that a rule names; held: the tokens and the rows of each model"""
    if rule.model is None:
        return ()
    tokens, rows = held[rule.model]
    wanted = token if rule.token is None else rule.token
    row = wanted if isinstance(wanted, int) else tokens.get(wanted, rows)
    if row >= rows:
        raise Invalid(f"{recipe.path}: {rule.model} has no token {wanted!r:.60}", code="token", token=str(wanted))
    return ((rule.model, row),)


def _of_tokenizer(found: Any) -> Tokens:
    vocabulary = found["model"]["vocab"]
    # Unigram lists its tokens with their scores
    tokens = (
        {entry[0]: row for row, entry in enumerate(vocabulary)} if isinstance(vocabulary, list) else dict(vocabulary)
    )
    for added in found.get("added_tokens") or ():
        tokens[added["content"]] = added["id"]
    return _checked(tokens)


def _of_vocabulary(files: Mapping[str, bytes]) -> dict[str, int] | None:
    if "vocab.json" in files:
        return dict(json.loads(files["vocab.json"]))
    if "vocab.txt" in files:
        lines = files["vocab.txt"].decode().removesuffix("\n").split("\n")
        return {token.rstrip("\r"): row for row, token in enumerate(lines)}
    return None


def _checked(tokens: Mapping[Any, Any]) -> Tokens:
    for token, row in tokens.items():
        if not isinstance(token, str) or isinstance(row, bool) or not isinstance(row, int) or not 0 <= row < _MAX_ID:
            raise ValueError(f"token {token!r:.40} has the number {row!r:.40}")
    return MappingProxyType(dict(tokens))
