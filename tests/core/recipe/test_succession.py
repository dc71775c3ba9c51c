"""Succession: what is merged of what others make comes after those"""

import pytest

from artifactstore.core.errors import Invalid
from artifactstore.core.recipe.parse import parse
from artifactstore.core.recipe.succession import in_order


def recipes(**taken):
    return {
        name.replace("_", "/"): parse(
            f"merge_method: linear\nmodels: [{', '.join(f'{{model: {m}}}' for m in models)}]", f"{name}.yml"
        )
        for name, models in taken.items()
    }


def test_what_others_make_comes_first():
    order = in_order(recipes(c=["b", "a"], b=["a", "base"], a=["base"]))
    assert list(order) == ["a", "b", "c"]
    assert order == {"a": frozenset(), "b": {"a"}, "c": {"a", "b"}}


def test_recipes_that_need_nothing_of_each_other_keep_their_order():
    assert list(in_order(recipes(z=["x"], a=["x"], m=["x"]))) == ["z", "a", "m"]


def test_an_older_version_of_what_another_makes_is_there_already():
    order = in_order(recipes(b=["a@prod"], c=["a:3"], d=["a@latest"], a=["base"]))
    assert order == {"b": frozenset(), "c": frozenset(), "a": frozenset(), "d": {"a"}}


def test_circles_are_refused():
    with pytest.raises(Invalid, match=r"^Recipes go round in a circle: [abc] of [abc] of [abc] of [abc]$") as refusal:
        in_order(recipes(a=["c"], b=["a"], c=["b"], d=["a"]))
    assert set(refusal.value.facts["names"]) == {"a", "b", "c"}
    with pytest.raises(Invalid, match=r"^a.yml: a would be made of itself"):
        in_order(recipes(a=["a", "b"]))
