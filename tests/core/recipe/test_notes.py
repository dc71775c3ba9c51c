"""Notes: what people are told of a merge before it is made"""

from artifactstore.core.recipe.parse import parse
from artifactstore.core.recipe.resolve import resolve
from tests.core.recipe.shelf import llama

LINEAR = "merge_method: linear\nmodels: [{model: a}, {model: b}]\nparameters: {weight: WEIGHT}\n"


def told(weight="1", *models):
    models = models or (llama("a"), llama("b"))
    return resolve(parse(LINEAR.replace("WEIGHT", weight), "r.yml"), models).notes


def test_there_is_nothing_to_say_of_a_plain_merge():
    assert told() == ()


def test_positions_that_are_not_alike():
    found = told("1", llama("a"), llama("b", rope_theta=1e6))
    assert found == ("rope_theta differs (10000 in a, 1e+06 in b); the product has the first",)


def test_filters_that_fit_nothing():
    found = told("[{filter: self_atn, value: 2}, {filter: mlp, value: 3}, {value: 1}]")
    assert found == ("The filter 'self_atn' fits no tensor",)


def test_gradients_outside_of_the_layers():
    (found,) = told("[1, 2]", *(llama(ref, extra={"model.extra.weight": ("F32", (2,))}) for ref in "ab"))
    assert found.endswith("as in mergekit: model.embed_tokens.weight, lm_head.weight, model.extra.weight")


def test_gradients_that_are_only_inside_of_the_layers_are_as_they_seem():
    assert told("[{filter: mlp, value: [1, 2]}, {value: 1}, {value: [3, 4]}]") == ()
