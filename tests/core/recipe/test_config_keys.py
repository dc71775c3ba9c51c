"""Config keys: what of the donor's configuration changes with the product"""

from artifactstore.core.recipe.facts import ModelFacts
from artifactstore.core.recipe.parse import parse
from artifactstore.core.recipe.resolve import resolve
from tests.core.recipe.shelf import llama

SLICES = """\
merge_method: passthrough
slices:
  - sources: [{model: a, layer_range: [0, 2]}]
  - sources: [{model: a, layer_range: [1, 3]}]
"""


def changed(text, *models):
    return dict(resolve(parse(text, "r.yml"), models).config)


def test_nothing_changes_where_nothing_differs():
    assert changed("merge_method: passthrough\nmodels: [{model: a}]", llama("a")) == {}
    assert changed(SLICES.replace("[1, 3]", "[2, 3]"), llama("a")) == {}


def test_lists_of_layers_follow_the_slices():
    found = changed(SLICES, llama("a", layer_types=["x", "y", "z"], other=[1, 2, 3], layer_few=[1]))
    assert found == {"num_hidden_layers": 4, "layer_types": ["x", "y", "y", "z"]}
    assert changed(SLICES.replace("[1, 3]", "[2, 3]"), llama("a", layer_types=["x", "y", "z"])) == {}


def test_lists_are_left_alone_where_another_model_is_deeper():
    deep = SLICES.replace("{model: a, layer_range: [1, 3]}", "{model: b, layer_range: [3, 5]}")
    assert changed(deep, llama("a", layer_types=["x", "y", "z"]), llama("b", layers=5)) == {"num_hidden_layers": 4}


def test_keys_are_changed_where_they_are():
    model = llama("a")
    inner = {**model.config, "dtype": "bfloat16"}
    inner["text_config"] = {key: inner.pop(key) for key in ("num_hidden_layers", "torch_dtype")}
    found = changed(SLICES + "out_dtype: float32", ModelFacts("a", model.tensors, inner))
    assert found == {"text_config.num_hidden_layers": 4, "text_config.torch_dtype": "float32", "dtype": "float32"}


def test_a_key_that_is_absent_is_added_only_where_it_has_to_be():
    assert changed(SLICES, llama("a", num_hidden_layers=None, torch_dtype=None)) == {"num_hidden_layers": 4}
    linear = "merge_method: linear\nmodels: [{model: a}, {model: b}]\nparameters: {weight: 1}"
    found = changed(linear, llama("a", tied=True, tie_word_embeddings=None), llama("b"))
    assert found == {"tie_word_embeddings": False}
