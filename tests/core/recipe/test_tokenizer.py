"""Tokenizer: whose tokens a product has, and where single ones come from"""

import pytest

from artifactstore.core.errors import Invalid
from artifactstore.core.recipe.parse import parse
from artifactstore.core.recipe.recipe import ModelRef, TokenizerRule, TokenRule

RECIPE = "merge_method: linear\nmodels: [{model: a}, {model: b@v1}]\n"


def parsed(text):
    return parse(RECIPE + text, "r.yml").tokenizer


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", None),
        ("tokenizer_source: union", TokenizerRule("union")),
        ("tokenizer_source: b@v1", TokenizerRule(ModelRef("b", "v1"))),
        ("tokenizer: {source: base, pad_to_multiple_of: 64}", TokenizerRule("base", {}, 64)),
        ("tokenizer: {}", TokenizerRule("union")),
        ("tokenizer: {source: ~, tokens: ~, pad_to_multiple_of: ~}", TokenizerRule("union")),
        (
            "tokenizer: {tokens: {x: {source: a, force: yes}}}",
            TokenizerRule("union", {"x": TokenRule(ModelRef("a"), None, True)}),
        ),
        ("tokenizer: {tokens: {x: {source: {kind: zero}}}}", TokenizerRule("union", {"x": TokenRule(None)})),
        (
            "tokenizer: {tokens: {x: {source: {kind: model_token, model: a, token: y}}}}",
            TokenizerRule("union", {"x": TokenRule(ModelRef("a"), "y")}),
        ),
        (
            "tokenizer: {tokens: {x: {source: {kind: model_token, model: {model: {path: b, revision: v1}}, token_id: 3}}}}",
            TokenizerRule("union", {"x": TokenRule(ModelRef("b", "v1"), 3)}),
        ),
    ],
)
def test_what_a_recipe_says(text, rule):
    assert parsed(text) == rule


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tokenizer_source: base\ntokenizer: {}", "line 4: a recipe should have either tokenizer or tokenizer_source"),
        ("tokenizer_source: c", "line 3: the tokenizer's source, c, should be one of the recipe's models: a, b@v1"),
        ("tokenizer: {sourec: base}", "line 3: tokenizer has no key 'sourec'; did you mean 'source'?"),
        ("tokenizer: {pad_to_multiple_of: 0}", "line 3: pad_to_multiple_of should be a whole number from 1"),
        ("tokenizer: {tokens: {x: {}}}", "line 3: a token should have a source"),
        ("tokenizer: {tokens: {x: {source: c}}}", "line 3: the token's source, c, should be one of"),
        ("tokenizer: {tokens: {x: {source: {kind: one}}}}", "line 3: kind should be zero or model_token, found 'one'"),
        ("tokenizer: {tokens: {x: {source: {kind: zero, model: a}}}}", "line 3: a source of zeros has no key 'model'"),
        (
            "tokenizer: {tokens: {x: {source: {kind: model_token, model: a}}}}",
            "line 3: a model_token should have a model",
        ),
        (
            "tokenizer: {tokens: {x: {source: {kind: model_token, model: a, token: x, token_id: 1}}}}",
            "line 3: a model_token should have a model, and either token or token_id",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text, message):
    with pytest.raises(Invalid) as refusal:
        parsed(text)
    assert message in refusal.value.message
