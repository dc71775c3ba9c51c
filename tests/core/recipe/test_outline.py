"""Outline: what a plan says in a few lines"""

from artifactstore.core.recipe.outline import outline
from artifactstore.core.recipe.parse import parse
from artifactstore.core.recipe.resolve import resolve
from tests.core.recipe.shelf import llama

TIES = """\
merge_method: ties
base_model: base
models:
  - {model: a, parameters: {weight: [0.2, 0.6], density: 0.5}}
  - {model: b, parameters: {weight: 0.4}}
parameters: {normalize: [true, false], rescale: true, lambda: 0.9}
"""


def lines(text, *models):
    blueprint = resolve(parse(text, "r.yml"), models)
    groups = outline(blueprint)
    assert sorted(n for group in groups for n in group.outputs) == list(range(len(blueprint.outputs)))
    return [(group.name, group.method, len(group.outputs), group.params) for group in groups]


def test_layers_are_told_of_together():
    found = lines(TIES, llama("a"), llama("b"), llama("base"))
    assert len(found) == 6
    assert found[0] == (
        "model.embed_tokens.weight",
        "ties",
        1,
        "rescale on, lambda 0.9, weight 0.2 and 0.4, density 0.5 and 1",
    )
    assert found[1][:3] == ("model.layers.*.input_layernorm.weight", "ties", 3)
    assert found[1][3] == ("normalize in part, rescale on, lambda 0.9, weight 0.2 to 0.6 and 0.4, density 0.5 and 1")


def test_what_is_copied_says_of_what():
    text = "merge_method: slerp\nmodels: [{model: a}, {model: b}]\nparameters: {t: [0, 0.5, 1]}"
    found = [line for line in lines(text, llama("a"), llama("b")) if "up_proj" in line[0]]
    assert [line[1:] for line in found] == [
        ("passthrough", 1, "of a"),
        ("slerp", 1, "t 0.5"),
        ("passthrough", 1, "of b"),
    ]
    scaled = "merge_method: passthrough\nmodels: [{model: a, parameters: {scale: 0.5}}]"
    assert lines(scaled, llama("a"))[0][3] == "of a, scale 0.5"
