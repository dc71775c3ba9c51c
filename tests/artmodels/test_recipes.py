"""Recipes: those that are shipped are read, say what they are for, and come to what they say"""

from importlib import resources

import pytest

from artifactstore.core.errors import Invalid
from artifactstore.core.recipe.facts import ModelFacts
from artifactstore.core.recipe.parse import parse
from artifactstore.core.recipe.resolve import resolve

SHIPPED = {file.name: file.read_text() for file in (resources.files("artmodels") / "recipes").iterdir()}


def outline(ref, family, layers, width, rows, *, biases, tied=True):
    tensors = {"model.embed_tokens.weight": ("BF16", (rows, width)), "model.norm.weight": ("BF16", (width,))}
    if not tied:
        tensors["lm_head.weight"] = ("BF16", (rows, width))
    for number in range(layers):
        tensors[f"model.layers.{number}.mlp.up_proj.weight"] = ("BF16", (4 * width, width))
        if biases:
            tensors[f"model.layers.{number}.self_attn.k_proj.bias"] = ("BF16", (256,))
    config = {"architectures": [f"{family}ForCausalLM"], "model_type": family.lower(), "hidden_size": width}
    return ModelFacts(ref, tensors, {**config, "num_hidden_layers": layers, "vocab_size": rows})


def qwen(ref):
    return outline(ref, "Qwen2", 28, 1536, 151936, biases=True)


def gemma(ref):
    return outline(ref, "Gemma", 18, 2048, 256000, biases=False)


def test_some_are_shipped():
    assert {"dev-polyglot-v1.yml", "dev-polyglot-v2.yml"} < set(SHIPPED)
    assert len(SHIPPED) >= 5


@pytest.mark.parametrize("name", SHIPPED)
def test_each_says_what_it_is_for_and_is_read_without_a_word(name):
    recipe = parse(SHIPPED[name], name)
    assert SHIPPED[name].startswith("# ")
    assert f"{recipe.name}.yml" == name
    assert recipe.notes == ()


def test_the_first_polyglot_is_refused_with_what_differs():
    recipe = parse(SHIPPED["dev-polyglot-v1.yml"], "v1")
    refs = list(map(str, recipe.models))
    assert refs == ["google/codegemma-2b", "Qwen/Qwen2-1.5B"]
    with pytest.raises(Invalid, match="differ in architecture") as refusal:
        resolve(recipe, [gemma(refs[0]), qwen(refs[1])])
    table = {row["what"]: (row["a"], row["b"]) for row in refusal.value.facts["table"]}
    assert table["architecture"] == ("GemmaForCausalLM", "Qwen2ForCausalLM")
    assert (table["hidden_size"], table["layers"], table["vocab_size"]) == (
        ("2048", "1536"),
        ("18", "28"),
        ("256000", "151936"),
    )


@pytest.mark.parametrize("name", ["dev-polyglot-v2.yml", "code-instruct-ties.yml", "code-instruct-dare.yml"])
def test_those_of_one_base_come_to_a_model(name):
    recipe = parse(SHIPPED[name], name)
    blueprint = resolve(recipe, [qwen(str(ref)) for ref in recipe.models])
    assert {output.method for output in blueprint.outputs} == {recipe.method.name}
    assert {output.dtype for output in blueprint.outputs} == {"BF16"}
    assert "lm_head.weight" not in {output.name for output in blueprint.outputs}


def test_the_deeper_one_takes_no_weight_twice():
    recipe = parse(SHIPPED["mistral-deeper.yml"], "deeper")
    model = outline("m", "Mistral", 32, 4096, 32768, biases=False, tied=False)
    blueprint = resolve(recipe, [model])
    assert {output.method for output in blueprint.outputs} == {"passthrough"}
    assert dict(blueprint.config) == {"num_hidden_layers": 48}
