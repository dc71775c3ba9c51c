"""Compare: what keeps two models from being merged, told before anything is read"""

import pytest

from artifactstore.core.errors import Invalid
from artifactstore.core.recipe.compare import check, compare, render
from tests.core.recipe.shelf import llama

GEMMA = {"architectures": ["GemmaForCausalLM"], "model_type": "gemma"}


def refused(*models, sliced=False, matched=False):
    with pytest.raises(Invalid) as refusal:
        check(models, sliced=sliced, matched=matched)
    assert refusal.value.message.isprintable()
    return refusal.value


def test_models_of_one_kind_and_size_can_be_merged():
    found = compare(llama("a"), llama("b"))
    assert (found.kind, found.rows, found.verdict, found.next) == (None, (), "a and b can be merged", ())
    check([llama("a"), llama("b"), llama("c", dtype="F32")], sliced=False, matched=False)


def test_another_architecture_is_refused_though_all_tensors_fit():
    error = refused(llama("a"), llama("b", **GEMMA))
    assert error.message == (
        "a and b differ in architecture (LlamaForCausalLM, GemmaForCausalLM): weights of one mean nothing in the other"
    )
    assert error.code == "invalid.merge-architecture"
    assert error.facts["table"] == [
        {"what": "architecture", "a": "LlamaForCausalLM", "b": "GemmaForCausalLM"},
        {"what": "model_type", "a": "llama", "b": "gemma"},
    ]
    assert error.facts["models"] == ["a", "b"]
    assert len(error.facts["next"]) == 2


def test_the_table_says_how_sizes_differ():
    error = refused(llama("a", layers=6, width=8, rows=20), llama("b", **GEMMA, rope_theta=1e6, head_dim=16))
    rows = {row["what"]: (row["a"], row["b"]) for row in error.facts["table"]}
    assert rows["hidden_size"] == ("8", "4")
    assert rows["layers"] == ("6", "3")
    assert rows["head_dim"] == ("4", "16")
    assert rows["vocab_size"] == ("20", "10")
    assert rows["rope_theta"] == ("10000.0", "1000000.0")
    assert rows["tensors"] == ("21", "12")
    assert rows["model.layers.3.input_layernorm.weight"] == ("there", None)
    assert rows["…"] == ("9 more", "9 more")
    lines = render(error.facts["models"], error.facts["table"])
    assert lines[0].split() == ["a", "b"]
    assert lines[1].split() == ["architecture", "LlamaForCausalLM", "GemmaForCausalLM"]
    assert len({line.rstrip().rfind(" ") >= 0 for line in lines}) == 1


def test_long_names_are_shortened_in_the_table():
    (_, row) = render(["a", "b"], [{"what": "model." * 20 + "weight", "a": None, "b": "there"}])
    assert row.endswith("weight  -  there")
    assert len(row) < 70


def test_a_tensor_that_only_one_has_is_named():
    bias = {"model.layers.0.self_attn.q_proj.bias": ("BF16", (4,))}
    error = refused(llama("a"), llama("b", extra=bias))
    assert error.message == "a has no tensor model.layers.0.self_attn.q_proj.bias, which b has"
    assert error.code == "invalid.merge-tensors"
    assert refused(llama("a", layers=5), llama("b")).message == (
        "b has no tensor model.layers.3.input_layernorm.weight and 5 more, which a has"
    )


def test_shapes_that_differ_are_named():
    error = refused(llama("a"), llama("b", width=6))
    assert error.message.startswith(
        "Tensor model.embed_tokens.weight is [10, 4] in a, [10, 6] in b; only models of one"
    )
    assert error.code == "invalid.merge-shape"


def test_another_vocabulary_may_be_matched():
    models = [llama("a"), llama("b", rows=12)]
    error = refused(*models)
    assert error.code == "invalid.merge-vocabulary"
    assert "add tokenizer: {source: base} to the recipe" in error.message
    check(models, sliced=False, matched=True)
    assert refused(llama("a"), llama("b", rows=12, width=6), matched=True).code == "invalid.merge-shape"


def test_slices_need_not_be_of_models_of_one_depth():
    check([llama("a"), llama("b", layers=7)], sliced=True, matched=False)
    assert refused(llama("a"), llama("b", layers=7, width=6), sliced=True).code == "invalid.merge-shape"
    odd = {"model.layers.0.self_attn.q_norm.weight": ("BF16", (4,))}
    error = refused(llama("a"), llama("b", extra=odd), sliced=True)
    assert error.message == "a has no tensor model.layers.*.self_attn.q_norm.weight, which b has"


def test_a_head_may_be_the_input_embeddings():
    check([llama("a", tied=True), llama("b"), llama("c", tied=True)], sliced=False, matched=False)


def test_only_a_few_of_many_are_listed():
    found = compare(llama("a"), llama("b", layers=9))
    shown = [row for row in found.rows if row.b == "there"]
    assert (len(shown), found.rows[-1].b) == (3, "15 more")


def test_without_configurations_tensors_decide():
    bare = [type(llama(ref))(ref, llama(ref).tensors) for ref in "ab"]
    check([*bare, llama("c")], sliced=False, matched=False)
