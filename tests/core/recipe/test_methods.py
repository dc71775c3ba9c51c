"""Methods: the table is mergekit's, but for what only it holds in memory"""

import pytest

from artifactstore.core.recipe.methods import ELSEWHERE, METHODS, SYNONYMS, WITHOUT_EFFECT, Base, Scope

SCOPES = {Scope.TENSOR: "shared", Scope.SOURCES: "non_base", Scope.ALL: "input"}


@pytest.fixture(scope="module")
def registered():
    mergekit = pytest.importorskip("mergekit.merge_methods")
    return {method.spec.name: method.spec for method in mergekit.registered_methods()}


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_parameters_and_defaults_are_mergekits(method, registered):
    theirs = {
        one.name: (one.scope.value, "needed" if one.required else one.default)
        for one in registered[method.name].parameters
        if one.name not in WITHOUT_EFFECT
    }
    ours = {one.name: (SCOPES[one.scope], "needed" if one.needed else one.default) for one in method.parameters}
    assert ours == theirs
    base = registered[method.name].contract.base.value
    assert base == {Base.NEEDED: "required", Base.OPTIONAL: "optional", Base.PLAIN: "ignored"}[method.base]


def test_no_method_of_mergekit_is_without_a_word(registered):
    assert set(registered) == {*METHODS, *ELSEWHERE}
    assert not set(SYNONYMS) & set(registered)
    assert set(SYNONYMS.values()) <= set(METHODS)


def test_a_parameter_is_found_by_its_name():
    assert METHODS["slerp"].parameter("t").within == (0, 1)
    assert METHODS["slerp"].parameter("weight") is None
    assert not METHODS["passthrough"].parameter("scale").needed
