"""Parse: mergekit's recipes are read as they are written, and what is wrong in them is named with its line"""

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from artifactstore.core.errors import Invalid
from artifactstore.core.recipe.methods import METHODS
from artifactstore.core.recipe.parse import parse
from artifactstore.core.recipe.recipe import Choice, ModelRef

TIES = """\
merge_method: ties
base_model: org/base
models:
  - model: org/a
    parameters:
      density: [1, 0.7, 0.1]
      weight: 1.0
  - model: org/b@main
    parameters:
      density: 0.33
      weight:
        - filter: mlp
          value: 1e-1
        - value: 0.5
parameters:
  normalize: true
dtype: torch.bfloat16
out_dtype: float32
name: mine
seed: 7
license: MIT
"""
SLICES = """\
merge_method: passthrough
slices:
  - sources:
      - model: org/a
        layer_range: [0, 16]
  - sources:
      - model: {model: {path: org/b, revision: v1}, lora: org/l@v2}
        layer_range: [8, 24]
        parameters: {scale: [{filter: o_proj, value: 0.5}, {filter: "*", value: 1.0}]}
    residual_weight: 0.5
"""


def refused(text):
    with pytest.raises(Invalid) as refusal:
        parse(text, "r.yml")
    assert refusal.value.message.isprintable()
    return refusal.value.message


def linear(parameters="{weight: 1}", more=""):
    return f"merge_method: linear\nmodels:\n  - model: a\n    parameters: {parameters}\n{more}"


def test_a_recipe_of_whole_models():
    recipe = parse(TIES, "r.yml")
    assert (recipe.method, recipe.whole, recipe.base) == (METHODS["ties"], True, ModelRef("org/base"))
    assert (recipe.dtype, recipe.out_dtype, recipe.name, recipe.seed, recipe.license) == (
        "BF16",
        "F32",
        "mine",
        7,
        "MIT",
    )
    (part,) = recipe.slices
    assert [(str(one.model), one.layers, one.line) for one in part.sources] == [
        ("org/a", None, 4),
        ("org/b@main", None, 8),
        ("org/base", None, 3),
    ]
    assert part.sources[0].settings == {"density": (Choice((1.0, 0.7, 0.1)),), "weight": (Choice((1.0,)),)}
    assert part.sources[1].settings["weight"] == (Choice((0.1,), "mlp"), Choice((0.5,)))
    assert recipe.settings == {"normalize": (Choice((True,)),)}
    assert list(map(str, recipe.models)) == ["org/a", "org/b@main", "org/base"]
    assert recipe.notes == ()


def test_a_recipe_of_slices():
    recipe = parse(SLICES, "r.yml")
    assert not recipe.whole
    assert [part.sources[0].layers for part in recipe.slices] == [(0, 16), (8, 24)]
    second = recipe.slices[1].sources[0]
    assert (second.model.model, second.model.adapter) == ("org/b@v1", "org/l@v2")
    assert second.settings["scale"] == (Choice((0.5,), "o_proj"), Choice((1.0,)))
    assert recipe.notes == ("line 10: residual_weight has no effect, nor has it in mergekit",)


def test_a_base_that_is_listed_stays_where_it_is():
    recipe = parse(TIES.replace("org/b@main", "org/base"), "r.yml")
    assert [str(one.model) for one in recipe.slices[0].sources] == ["org/a", "org/base"]


def test_dare_is_dare_ties_and_says_so():
    recipe = parse(TIES.replace("ties", "dare"), "r.yml")
    assert recipe.method.name == "dare_ties"
    assert recipe.notes == ("line 1: dare is taken as dare_ties",)


def test_slerp_without_a_base_starts_from_the_first_model_and_says_so():
    recipe = parse("merge_method: slerp\nmodels: [{model: a}, {model: b}]\nparameters: {t: 0.4}", "r.yml")
    assert (recipe.base, recipe.slices[0].base) == (ModelRef("a"), ModelRef("a"))
    assert recipe.notes == ("slerp without a base_model starts from the first model, a",)
    sliced = (
        "merge_method: slerp\nslices:\n- sources: [{model: a, layer_range: [0, 2]}, {model: b, layer_range: [0, 2]}]\n"
    )
    assert parse(sliced + "parameters: {t: 0.4}", "r.yml").base == ModelRef("a")
    own = parse(sliced + "  base_model: b\nparameters: {t: 0.4}", "r.yml")
    assert (own.base, own.slices[0].base, own.notes) == (None, ModelRef("b"), ())


def test_what_has_no_effect_is_told_of():
    recipe = parse(linear("{weight: 1, density: 0.5}", "parameters: {int8_mask: true, t: 2}"), "r.yml")
    assert recipe.notes == (
        "line 5: int8_mask has no effect in linear",
        "line 5: t has no effect in linear",
        "line 4: density has no effect in linear",
    )
    assert parse(TIES + "chat_template: auto\n", "r").chat_template == "auto"


def test_keys_without_a_value_are_as_if_absent():
    assert parse(linear(more="base_model:\nparameters:\nslices:\ntokenizer: ~\nmodules:"), "r.yml").base is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "line 1: a recipe should be keys and values, found an empty list"),
        ("models: []", "line 1: a recipe should have a merge_method, one of breadcrumbs, "),
        ("merge_method: [a]", "line 1: merge_method should be a text"),
        ("merge_method: slrep", "line 1: there is no merge_method 'slrep'; did you mean 'slerp'?"),
        ("merge_method: karcher", "line 1: merge_method karcher is not made here; there are breadcrumbs, "),
        ("merge_method: linear", "line 1: a recipe should have either models or slices, found neither"),
        ("merge_method: linear\nmodels: []", "line 2: models should be a list, found an empty list"),
        (linear(more="slices: []"), "line 5: a recipe should have either models or slices, found models and slices"),
        ("merge_method: linear\nmodules: {a: {}}", "line 2: modules, for models of several parts, are not read"),
        (linear(more="dytpe: float16"), "line 5: a recipe has no key 'dytpe'; did you mean 'dtype'?"),
        (
            linear(more="dtype: int8"),
            "line 5: dtype should be one of bfloat16, float16, float32, float64, found 'int8'",
        ),
        (linear(more="seed: -1"), "line 5: seed should be a whole number from 0, found -1"),
        (linear(more="name: 3"), "line 5: name should be a text, found 3"),
        (linear(more="chat_template: llama3"), "line 5: the chat_template llama3 is not held here"),
        (linear("{wieght: 1}"), "line 4: linear has no parameter 'wieght'; did you mean 'weight'?"),
        (linear("[1]"), "line 4: parameters should be keys and values, found a list of 1"),
        (linear("{weight: .nan}"), "line 4: weight should be a finite number, found nan"),
        (linear("{weight: 'a lot'}"), "line 4: weight should be a finite number, found 'a lot'"),
        (linear("{weight: []}"), "line 4: weight should be a list, found an empty list"),
        (linear("{weight: [1, {value: 2}]}"), "line 4: weight should be a finite number, found keys and values"),
        (linear("{weight: {filter: x}}"), "line 4: a choice of weight should have a value"),
        (linear("{weight: {value: 1, filtre: x}}"), "line 4: a choice of weight has no key 'filtre'; did you mean"),
        (linear("{weight: [{value: [1, .inf]}]}"), "line 4: weight should be a finite number, found inf"),
        (linear("{normalize: true}"), "line 4: normalize is of the merge, not of one model"),
        (linear(more="parameters: {normalize: 2}"), "line 5: normalize should be true or false, found 2"),
        (linear(more="- model: b"), "not YAML"),
        ("merge_method: linear\nmodels: [{modle: a}]", "line 2: a model has no key 'modle'; did you mean 'model'?"),
        ("merge_method: linear\nmodels: [{parameters: {}}]", "line 2: a model should have a key model"),
        ("merge_method: linear\nmodels:\n- model: a\n- model: a", "line 4: a stands here twice"),
        ("merge_method: linear\nmodels: [{model: a@b@c}]", "line 2: model should be a model such as org/name"),
        ("merge_method: linear\nmodels: [{model: a+b+c}]", "line 2: model should be a model and at most one adapter"),
        ("merge_method: linear\nmodels: [{model: {lora: a}}]", "line 2: model should have a key model"),
        ("merge_method: linear\nmodels: [{model: {model: {revision: a}}}]", "line 2: model should have a path"),
        (TIES.replace("0.33", "1.5"), "line 10: density should be from 0 to 1, found 1.5"),
        (TIES.replace("0.7,", "-0.1,"), "line 6: density should be from 0 to 1, found -0.1"),
        (TIES.replace("base_model: org/base", ""), "line 1: ties should have a base_model"),
        ("merge_method: slerp\nmodels: [{model: a}]", "line 2: slerp merges 2 models, found 1: a"),
        (
            "merge_method: slerp\nbase_model: c\nmodels: [{model: a}, {model: b}]",
            "line 3: slerp merges 2 models, found 3: a, b, c",
        ),
        (
            "merge_method: ties\nbase_model: a\nmodels: [{model: a}]",
            "line 3: ties merges 1 or more models beside the base, found none",
        ),
        (
            "merge_method: model_stock\nbase_model: c\nmodels: [{model: a}]",
            "line 3: model_stock merges 2 or more models beside the base, found 1: a",
        ),
        ("merge_method: passthrough\nmodels: [{model: a}, {model: b}]", "line 2: passthrough merges 1 model, found 2"),
        ("merge_method: passthrough\nslices: [{source: []}]", "line 2: a slice has no key 'source'; did you mean"),
        ("merge_method: passthrough\nslices: [{}]", "line 2: a slice should have sources"),
        (SLICES.replace("        layer_range: [0, 16]\n", ""), "line 4: a source should have a layer_range"),
        (SLICES.replace("[0, 16]", "[16, 0]"), "line 5: layer_range should be [first, end), end beyond first"),
        (SLICES.replace("[0, 16]", "[0, 8, 16]"), "line 5: layer_range should be [first, end)"),
        (SLICES.replace("[0, 16]", "[0, -1]"), "line 5: layer_range should be a whole number from 0, found -1"),
        (
            "merge_method: linear\nslices:\n- sources:\n  - {model: a, layer_range: [0, 2]}\n  - {model: b, layer_range: [0, 3]}",
            "line 3: all sources of a slice should have as many layers, found 2 and 3",
        ),
        (
            "merge_method: ties\nbase_model: c\nslices: [{sources: [{model: a, layer_range: [0, 2]}]}]",
            "line 3: base_model c is none of the sources here; add it with its layers",
        ),
        (
            "merge_method: linear\nmodels:\n" + "".join(f"- model: m{n}\n" for n in range(65)),
            "line 2: a recipe takes from at most 64 models",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text, message):
    found = refused(text)
    assert found.startswith("r.yml: line ")
    assert message in found


def test_a_model_that_is_longer_than_a_line_is_refused_in_one():
    assert len(refused(f"merge_method: linear\nmodels: [{{model: {'a@' * 5000}}}]")) < 300


MODELS = st.sampled_from(["a", "b", "org/c@main", "a+l", ""])
NUMBERS = st.sampled_from([0, 1, 0.5, -1, 2, "1e-3", True, None, float("nan")])
SETTINGS = (
    NUMBERS | st.lists(NUMBERS, max_size=3) | st.lists(st.fixed_dictionaries({"filter": MODELS, "value": NUMBERS}))
)
PARAMETERS = st.dictionaries(st.sampled_from(["weight", "density", "t", "normalize", "epsilon", "densty"]), SETTINGS)
RECIPES = st.fixed_dictionaries(
    {
        "merge_method": st.sampled_from([*METHODS, "dare", "other"]),
        "models": st.lists(st.fixed_dictionaries({"model": MODELS, "parameters": PARAMETERS}), max_size=3),
    },
    optional={"base_model": MODELS, "parameters": PARAMETERS, "dtype": st.sampled_from(["float16", "x"])},
)


@settings(deadline=None)
@given(RECIPES)
def test_any_recipe_is_refused_with_a_line_or_read_as_mergekit_reads_it(document):
    text = yaml.safe_dump(document)
    try:
        recipe = parse(text, "r.yml")
    except Invalid as e:
        assert e.message.startswith(f"r.yml: line {e.facts['line']}: ")
        return
    named = [one["model"] for one in document["models"]]
    assert [str(one.model) for one in recipe.slices[0].sources][: len(named)] == named
    assert recipe.base is None or recipe.base in recipe.models
