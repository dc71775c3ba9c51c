"""Vocabulary: rows are matched by token, as mergekit lays embeddings out"""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifactstore.core.errors import Invalid
from artifactstore.core.recipe.parse import parse
from artifactstore.core.recipe.vocabulary import match, read_tokens

A, B = {"x": 0, "y": 1, "z": 2}, {"x": 0, "z": 1, "w": 2}


def recipe(tokenizer, models="ab", base="a"):
    listed = "".join(f"- model: {model}\n" for model in models)
    return parse(f"merge_method: linear\nbase_model: {base}\nmodels:\n{listed}tokenizer: {tokenizer}\n", "r.yml")


def laid(tokenizer, vocabularies, rows=None, **more):
    found = match(recipe(tokenizer, **more), vocabularies, rows or [len(each) for each in vocabularies])
    return found, found.lay(range(len(vocabularies)), 0)


def test_the_base_keeps_its_rows():
    found, rows = laid("{source: base}", [A, B])
    assert (rows.size, rows.tokens, dict(found.added)) == (3, 3, {})
    assert list(map(list, rows.own)) == [[0, 1, 2], [0, -1, 1]]
    assert dict(rows.given) == {1: ((0, 1),)}
    assert rows.stays(0, 3)
    assert not rows.stays(1, 3)
    assert not rows.stays(0, 4)


def test_a_union_adds_what_the_others_have():
    found, rows = laid("{source: union}", [A, B])
    assert (rows.size, dict(found.added)) == (4, {"w": 3})
    assert list(map(list, rows.own)) == [[0, 1, 2, -1], [0, -1, 1, 2]]
    assert dict(rows.given) == {1: ((0, 1),), 3: ((1, 2),)}


def test_a_model_may_give_the_tokens():
    found, rows = laid("{source: b}", [A, B])
    assert dict(found.added) == {}
    assert list(map(list, rows.own)) == [[0, 2, -1], [0, 1, 2]]
    assert dict(rows.given) == {2: ((1, 2),)}


def test_a_token_that_the_base_lacks_is_the_mean_of_those_that_have_it():
    _, rows = laid("{source: union}", [{"x": 0}, {"x": 0, "w": 1}, {"w": 0, "x": 1}], models="abc")
    assert dict(rows.given) == {1: ((1, 1), (2, 0))}
    only_two = match(recipe("{source: union}", models="abc"), [{"x": 0}, {"x": 0, "w": 1}, {"w": 0, "x": 1}], [1, 2, 2])
    assert dict(only_two.lay([0, 2], 0).given) == {1: ((2, 0),)}
    assert list(only_two.lay([0, 2], 0).own[1]) == []


def test_rows_are_padded():
    _, rows = laid("{source: base, pad_to_multiple_of: 8}", [A, B])
    assert (rows.size, rows.tokens) == (8, 3)
    assert not rows.stays(0, 3)
    assert laid("{source: base, pad_to_multiple_of: 3}", [A, B])[1].size == 3


def test_tokens_beyond_the_embeddings_are_not_there():
    _, rows = laid("{source: base}", [A, B], [2, 3])
    assert (rows.size, list(map(list, rows.own))) == (2, [[0, 1], [0, -1]])
    assert laid("{source: union}", [A, B], [2, 3])[0].added == {"z": 2, "w": 3}


def test_rows_that_are_no_token_stay_where_they_are():
    _, rows = laid("{source: base}", [{"x": 0, "y": 3}, {"x": 1, "y": 0}], [4, 2])
    assert (rows.size, list(map(list, rows.own))) == (4, [[0, 1, 2, 3], [1, -1, -1, 0]])
    assert dict(rows.given) == {1: ((0, 1),), 2: ((0, 2),)}


@pytest.mark.parametrize(
    ("rule", "own", "given"),
    [
        ("{source: {kind: zero}}", [[0, 1, 2], [0, -1, 1]], {1: ()}),
        ("{source: {kind: zero}, force: true}", [[0, -1, 2], [0, -1, 1]], {1: ()}),
        ("{source: b}", None, None),
        ("{source: {kind: model_token, model: b, token: w}, force: yes}", [[0, -1, 2], [0, -1, 1]], {1: ((1, 2),)}),
        ("{source: {kind: model_token, model: b, token_id: 0}}", [[0, 1, 2], [0, -1, 1]], {1: ((1, 0),)}),
    ],
)
def test_what_a_recipe_says_of_one_token_counts(rule, own, given):
    text = f"{{source: base, tokens: {{y: {rule}}}}}"
    if own is None:
        with pytest.raises(Invalid, match=r"r\.yml: b has no token 'y'"):
            laid(text, [A, B])
        return
    _, rows = laid(text, [A, B])
    assert (list(map(list, rows.own)), dict(rows.given)) == (own, given)


def test_a_token_that_nobody_has_is_added():
    found, rows = laid("{source: base, tokens: {<n>: {source: {kind: model_token, model: a, token: x}}}}", [A, B])
    assert (dict(found.added), rows.given[3]) == ({"<n>": 3}, ((0, 0),))


def test_rows_that_no_model_has_are_refused():
    with pytest.raises(Invalid, match="b has no token 'q'"):
        laid("{source: base, tokens: {x: {source: {kind: model_token, model: b, token: q}}}}", [A, B])
    with pytest.raises(Invalid, match="b has no token 3"):
        laid("{source: base, tokens: {x: {source: {kind: model_token, model: b, token_id: 3}}}}", [A, B])
    with pytest.raises(Invalid, match="has no tokenizer to match"):
        match(parse("merge_method: linear\nmodels: [{model: a}]", "r.yml"), [A], [3])


def test_a_model_without_a_tokenizer_has_the_bases():
    found, rows = laid("{source: union}", [A, None], [3, 2])
    assert (dict(found.added), list(map(list, rows.own))) == ({}, [[0, 1, 2], [0, 1, -1]])
    with pytest.raises(Invalid, match="a has no tokenizer to match rows by"):
        laid("{source: union}", [None, A], [3, 3])


def test_tokenizers_of_all_kinds_are_read():
    bpe = {"model": {"type": "BPE", "vocab": {"a": 0}}, "added_tokens": [{"id": 1, "content": "<s>"}]}
    assert read_tokens({"tokenizer.json": json.dumps(bpe).encode(), "vocab.json": b"{}"}, "m") == {"a": 0, "<s>": 1}
    unigram = {"model": {"type": "Unigram", "vocab": [["<unk>", 0.0], ["a", -1.5]]}}
    assert read_tokens({"tokenizer.json": json.dumps(unigram).encode()}, "m") == {"<unk>": 0, "a": 1}
    files = {"vocab.json": b'{"a": 0}', "added_tokens.json": b'{"<x>": 1}', "merges.txt": b""}
    assert read_tokens(files, "m") == {"a": 0, "<x>": 1}
    assert read_tokens({"vocab.txt": "[PAD]\r\né\n".encode()}, "m") == {"[PAD]": 0, "é": 1}
    assert read_tokens({"tokenizer.model": b""}, "m") is None


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"{}",
        b'{"model": {"vocab": 3}}',
        b'{"model": {"vocab": {"a": -1}}}',
        b'{"model": {"vocab": {"a": true}}}',
        b'{"model": {"vocab": {"a": 99999999999}}}',
        b'{"model": {"vocab": [[1, 2]]}}',
        b'{"model": {"vocab": {}}, "added_tokens": [{}]}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_tokenizer_is_refused(raw):
    with pytest.raises(Invalid, match="The tokenizer of m cannot be read") as refusal:
        read_tokens({"tokenizer.json": raw}, "m")
    assert refusal.value.message.isprintable()


VOCABULARIES = st.lists(
    st.lists(st.sampled_from("abcdefg"), min_size=1, unique=True).map(lambda each: {t: n for n, t in enumerate(each)}),
    min_size=1,
    max_size=3,
)


@settings(deadline=None, max_examples=50)
@given(VOCABULARIES, st.sampled_from(["base", "union"]), st.sampled_from([None, 4]))
def test_rows_are_those_that_mergekit_lays_out(vocabularies, source, pad):
    torch, theirs = pytest.importorskip("torch"), pytest.importorskip("mergekit.tokenizer.embed")
    models = "abc"[: len(vocabularies)]
    text = f"{{source: {source}{'' if pad is None else f', pad_to_multiple_of: {pad}'}}}"
    found = match(recipe(text, models=models), vocabularies, [len(each) for each in vocabularies])
    tokens = {**vocabularies[0], **found.added}
    weights = [torch.randn(len(each), 2) for each in vocabularies]
    expected = _mergekit(torch, theirs, tokens, vocabularies, weights, pad)
    rows = found.lay(range(len(weights)), 0)
    for model, weight in enumerate(weights):
        assert torch.equal(_laid(torch, rows, weights, model), expected[model]), (tokens, vocabularies)
        assert rows.stays(model, len(weight)) <= torch.equal(expected[model], weight)


def _laid(torch, rows, weights, model):
    product = torch.zeros(rows.size, 2)
    for row, own in enumerate(rows.own[model]):
        product[row] = weights[model][own] if own >= 0 else torch.zeros(2)
        if own < 0 and rows.given[row]:
            for other, place in rows.given[row]:
                product[row] += weights[other][place]
            product[row] /= len(rows.given[row])
    product[rows.tokens :] = product[: rows.tokens].mean(dim=0)
    return product


def _mergekit(torch, theirs, tokens, vocabularies, weights, pad):
    from types import SimpleNamespace

    from mergekit.common import ModelReference

    refs = [ModelReference.parse(f"m{number}") for number in range(len(weights))]
    permutations = {
        ref: {row: each.get(token, -1) for token, row in tokens.items()}
        for ref, each in zip(refs, vocabularies, strict=True)
    }
    task = theirs.PermutedVocabulary.model_construct(
        tokens=None, pad_to_multiple_of=pad, base_model=refs[0], vocabulary_axis=0
    )
    info = SimpleNamespace(tokenizer=SimpleNamespace(get_vocab=lambda: tokens), permutations=permutations)
    laid_out = task.execute(info, dict(zip(refs, weights, strict=True)))
    return [laid_out[ref] for ref in refs]
