"""Copies: outputs that are a tensor as it is are found, and no others"""

from dataclasses import replace

import pytest

from artifactstore.core.recipe.blueprint import Blueprint, Output, Taken
from artifactstore.core.recipe.copies import by_content, by_params
from artifactstore.core.recipe.methods import METHODS

ARITHMETIC = [name for name, method in METHODS.items() if method.parameter("lambda")]


def output(method, *sources, base=None, **params):
    taken = tuple(Taken(number, "w", each) for number, each in enumerate(sources))
    return Output("w", "F32", (2,), method, "F32", taken, None if base is None else Taken(base, "w"), params)


def copied(found):
    """Which model it is a copy of, None if it is none"""
    if found.method != "passthrough":
        return None
    (only,) = found.sources
    assert (dict(only.params), dict(found.params), found.base) == ({}, {}, None)
    return only.model


def settled(one, *equal):
    blueprint = Blueprint(("a", "b", "c"), (one,), 0, 0)
    (found,) = by_content(blueprint, lambda a, b: a.model == b.model or {a.model, b.model} <= set(equal)).outputs
    return found


def test_linear_of_one_weight():
    assert copied(by_params(output("linear", {"weight": 0}, {"weight": 1.0}, normalize=True))) == 1
    assert copied(by_params(output("linear", {"weight": 0}, {"weight": 2.0}, normalize=True))) is None
    assert copied(by_params(output("linear", {"weight": 1.0}, {"weight": 1.0}, normalize=True))) is None
    assert copied(by_params(output("linear", {"weight": 0}, {"weight": 0}, normalize=False))) is None


def test_slerp_at_its_ends():
    assert [copied(by_params(output("slerp", {}, {}, base=1, t=t))) for t in (0.0, 0.5, 1.0)] == [1, None, 0]


@pytest.mark.parametrize("method", ARITHMETIC)
def test_differences_of_no_weight_leave_the_base(method):
    silent, loud = {"weight": 0, "density": 0.5}, {"weight": 0.5, "density": 0.5}
    assert copied(by_params(output(method, silent, silent, base=2, **{"lambda": 1.0}))) == 2
    assert copied(by_params(output(method, loud, base=2, **{"lambda": 0}))) == 2
    assert copied(by_params(output(method, silent, loud, base=2, **{"lambda": 1.0}))) is None
    empty = copied(by_params(output(method, {"weight": 1.0, "density": 0}, base=2, **{"lambda": 1.0})))
    assert empty == (None if method == "task_arithmetic" else 2)


def test_passthrough_with_a_scale_is_none():
    assert copied(by_params(output("passthrough", {"scale": 1.0}))) == 0
    scaled = output("passthrough", {"scale": 0.5})
    assert by_params(scaled) == scaled


def test_what_is_the_same_in_all_models_is_copied():
    weights = {"weight": 0.25}, {"weight": 0.5}
    assert copied(settled(output("linear", *weights, normalize=True), 0, 1)) == 0
    assert copied(settled(output("linear", *weights, normalize=False), 0, 1)) is None
    assert copied(settled(output("linear", {"weight": 0.5}, {"weight": 0.5}, normalize=False), 0, 1)) == 0
    assert copied(settled(output("slerp", {}, {}, base=1, t=0.3), 0, 1)) == 1
    assert copied(settled(output("ties", {}, {}, base=2), 0, 1, 2)) == 2
    assert copied(settled(output("ties", {}, {}, base=2), 0, 2)) is None
    rows = replace(output("slerp", {}, {}, base=1, t=0.3), rows=True)
    assert settled(rows, 0, 1) == rows
    scaled = output("passthrough", {"scale": 0.5})
    assert settled(scaled, 0) == scaled
