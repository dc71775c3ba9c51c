"""Settings: what a parameter is for one tensor, by filters, gradients and the order of scopes"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.core.recipe.document import read
from artifactstore.core.recipe.methods import METHODS
from artifactstore.core.recipe.settings import evaluate, parse_settings


def parsed(text, method="ties"):
    return parse_settings(read(text, "r"), METHODS[method], lambda note: None)


def test_the_innermost_scope_that_has_a_value_counts():
    outer, inner = parsed("{weight: 1, density: 0.5}"), parsed("{weight: [{filter: mlp, value: 2}]}")
    assert evaluate((inner, outer), "weight", "a.mlp.b", 0) == 2
    assert evaluate((inner, outer), "weight", "a.attn.b", 0) == 1
    assert evaluate((inner, outer), "density", "a.mlp.b", 0) == 0.5
    assert evaluate((inner, outer), "lambda", "a.mlp.b", 0) is None


def test_the_first_filter_that_fits_counts():
    settings = parsed("{weight: [{filter: a, value: 1}, {filter: ab, value: 2}, {filter: '*', value: 3}]}")
    assert [evaluate((settings,), "weight", name, 0) for name in ("ab", "b")] == [1, 3]


def test_one_choice_may_stand_without_a_list():
    assert evaluate((parsed("{weight: {value: 2}}"),), "weight", "x", 0) == 2
    assert evaluate((parsed("{weight: {value: 2, filter: ~}}"),), "weight", "x", 0) == 2


@pytest.mark.parametrize(("t", "weight"), [(0, 0), (0.25, 0.5), (0.5, 1), (0.75, 0.5), (1, 0)])
def test_a_gradient_runs_along_the_layers(t, weight):
    assert evaluate((parsed("{weight: [0, 1, 0]}"),), "weight", "x", t) == weight


def test_a_gradient_of_flags_is_not_between_them():
    flags = parsed("{normalize: [true, false, true]}")
    assert [evaluate((flags,), "normalize", "x", t) for t in (0, 0.49, 0.5, 0.99, 1)] == [
        True,
        True,
        False,
        False,
        True,
    ]


VALUES = st.floats(-10, 10) | st.integers(-10, 10)
GRADIENTS = VALUES | st.lists(VALUES, min_size=1, max_size=5)
CHOICES = st.fixed_dictionaries({"value": GRADIENTS}, optional={"filter": st.sampled_from(["a", "mlp", "*"])})


@given(GRADIENTS | st.lists(CHOICES, min_size=1, max_size=4), st.sampled_from(["a.mlp", "a.b", "c"]), st.floats(0, 1))
def test_every_setting_is_what_mergekit_makes_of_it(setting, tensor, t):
    config = pytest.importorskip("mergekit.config")
    pydantic = pytest.importorskip("pydantic")
    import yaml

    theirs = pydantic.TypeAdapter(config.ParameterSetting).validate_python(setting)
    ours = parsed(yaml.safe_dump({"weight": setting}))
    expected = config.evaluate_setting(tensor, theirs, t, validate=float)
    assert evaluate((ours,), "weight", tensor, t) == expected
