"""Tokenizer: what a recipe says of the product's tokenizer and of the embeddings of single tokens"""

from collections.abc import Mapping
from types import MappingProxyType

from artifactstore.core.recipe.document import Value
from artifactstore.core.recipe.recipe import ModelRef, Recipe, TokenizerRule, TokenRule
from artifactstore.core.recipe.refs import parse_ref

_ANY = ("base", "union")


def parse_tokenizer(found: Mapping[str, Value], recipe: Recipe) -> TokenizerRule | None:
    """What `tokenizer_source` or `tokenizer` says, None where there is neither; raise Invalid"""
    if "tokenizer_source" in found:
        if "tokenizer" in found:
            raise found["tokenizer"].refuse("a recipe should have either tokenizer or tokenizer_source")
        return TokenizerRule(_source(found["tokenizer_source"], recipe))
    if "tokenizer" not in found:
        return None
    keys = found["tokenizer"].mapping("tokenizer", ("pad_to_multiple_of", "source", "tokens"))
    tokens = keys["tokens"].mapping("tokens") if _has(keys, "tokens") else {}
    return TokenizerRule(
        source=_source(keys["source"], recipe) if _has(keys, "source") else "union",
        tokens=MappingProxyType({token: _rule(value, recipe) for token, value in tokens.items()}),
        pad=keys["pad_to_multiple_of"].integer("pad_to_multiple_of", 1) if _has(keys, "pad_to_multiple_of") else None,
    )


def _has(found: Mapping[str, Value], key: str) -> bool:
    return key in found and found[key].found is not None


def _source(value: Value, recipe: Recipe) -> str | ModelRef:
    if isinstance(value.found, str) and value.found in _ANY:
        return value.found
    return _model(value, "the tokenizer's source", recipe)


def _model(value: Value, what: str, recipe: Recipe) -> ModelRef:
    ref = parse_ref(value, what)
    if ref not in recipe.models:
        raise value.refuse(f"{what}, {ref}, should be one of the recipe's models: {', '.join(map(str, recipe.models))}")
    return ref


def _rule(value: Value, recipe: Recipe) -> TokenRule:
    found = value.mapping("a token", ("force", "source"))
    if not _has(found, "source"):
        raise value.refuse("a token should have a source")
    force = found["force"].flag("force") if _has(found, "force") else False
    source = found["source"]
    if not isinstance(source.found, Mapping) or "kind" not in source.found:
        return TokenRule(_model(source, "the token's source", recipe), None, force)
    keys = source.mapping("the token's source", ("kind", "model", "token", "token_id"))
    kind = keys["kind"].text("kind")
    if kind == "zero":
        source.mapping("a source of zeros", ("kind",))
        return TokenRule(None, None, force)
    if kind != "model_token":
        raise keys["kind"].refuse(f"kind should be zero or model_token, found {kind!r}")
    return TokenRule(*_token(source, keys, recipe), force)


def _token(source: Value, keys: Mapping[str, Value], recipe: Recipe) -> tuple[ModelRef, str | int]:
    if "model" not in keys or ("token" in keys) == ("token_id" in keys):
        raise source.refuse("a model_token should have a model, and either token or token_id")
    model = _model(keys["model"], "the token's model", recipe)
    return model, keys["token"].text("token") if "token" in keys else keys["token_id"].integer("token_id")
