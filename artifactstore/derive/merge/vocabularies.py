"""Vocabularies: the tokenizers of a merge's models, matched, and the one of the product"""

import json
from collections.abc import Iterator, Sequence

from artifactstore.core.errors import Invalid
from artifactstore.core.recipe.blueprint import Blueprint
from artifactstore.core.recipe.chat import choose_template
from artifactstore.core.recipe.config_patch import add_tokens, patch
from artifactstore.core.recipe.facts import ModelFacts
from artifactstore.core.recipe.recipe import Recipe
from artifactstore.core.recipe.vocabulary import Matched, match, read_tokens
from artifactstore.derive.models import Model

_READ = ("tokenizer.json", "vocab.json", "vocab.txt", "added_tokens.json")
_CONFIG, _TEMPLATE = "tokenizer_config.json", "chat_template.jinja"


def matched(recipe: Recipe, models: Sequence[Model], facts: Sequence[ModelFacts]) -> Matched | None:
    """How the vocabularies lie to each other, where a recipe asks; raise Invalid for tokenizers that cannot be read"""
    if recipe.tokenizer is None:
        return None
    found = []
    for model in models:
        files = {path: raw for path in _READ if (raw := model.read(path)) is not None}
        found.append(read_tokens(files, model.ref))
    return match(recipe, found, [_rows(one) for one in facts])


def _rows(facts: ModelFacts) -> int:
    if facts.embedding is None:
        raise Invalid(f"{facts.ref} has no input embeddings to match tokens by", code="tokenizer", model=facts.ref)
    return facts.tensors[facts.embedding][1][0]


def changed(
    recipe: Recipe, models: Sequence[Model], blueprint: Blueprint, known: Matched | None
) -> Iterator[tuple[str, bytes]]:
    """Files of the product's tokenizer that are not as its model has them"""
    owner = models[blueprint.donor if blueprint.tokenizer is None else blueprint.tokenizer]
    tokenizer = owner.read("tokenizer.json")
    if known is not None and known.added:
        if tokenizer is None:
            raise Invalid(f"{owner.ref} has no tokenizer.json that tokens could be added to", code="tokenizer")
        yield "tokenizer.json", add_tokens(tokenizer, known.added)
    template = choose_template(recipe.chat_template, [_template(model) for model in models])
    if template is not None:
        yield _TEMPLATE, template.encode()
        config = owner.read(_CONFIG)
        if config is not None:
            yield _CONFIG, patch(config, {"chat_template": None}, _CONFIG)


def _template(model: Model) -> str | None:
    """Of a model's tokenizer, where it is one text"""
    raw = model.read(_TEMPLATE)
    if raw is not None:
        return raw.decode(errors="replace")
    try:
        found = json.loads(model.read(_CONFIG) or b"{}").get("chat_template")
    except (ValueError, AttributeError) as e:
        raise Invalid(f"{_CONFIG} of {model.ref} is no JSON object: {e}", code="config", model=model.ref) from e
    return found if isinstance(found, str) else None
