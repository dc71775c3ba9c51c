"""Copies: outputs that are a tensor as it is, so that nothing has to be calculated or even read

What a method would give is the same number for number. Of two things bits may differ, to the good: a zero keeps its
sign, and an infinity or NaN in a tensor of weight 0 does not spread.
"""

from collections.abc import Callable
from dataclasses import replace
from types import MappingProxyType

from artifactstore.core.recipe.blueprint import Blueprint, Output, Taken

COPY = "passthrough"
_SCALE = "scale"
# those that drop parts of the differences by their density
_SPARSE = frozenset(("ties", "dare_ties", "dare_linear", "breadcrumbs", "breadcrumbs_ties", "della", "della_linear"))


def by_params(output: Output) -> Output:
    """The output, as a copy where its parameters make it one"""
    if output.method == COPY:
        (only,) = output.sources
        return copy(output, only) if only.params.get(_SCALE, 1.0) == 1.0 else output
    if output.method == "linear":
        taken = [source for source in output.sources if source.params["weight"] != 0]
        return copy(output, taken[0]) if len(taken) == 1 and taken[0].params["weight"] == 1.0 else output
    if output.method == "slerp" and output.params["t"] in (0.0, 1.0) and output.base is not None:
        other = next(source for source in output.sources if source.model != output.base.model)
        return copy(output, output.base if output.params["t"] == 0 else other)
    if "lambda" in output.params and output.base is not None:
        silent = output.params["lambda"] == 0 or all(_is_silent(output.method, source) for source in output.sources)
        return copy(output, output.base) if silent else output
    return output


def by_content(blueprint: Blueprint, same: Callable[[Taken, Taken], bool]) -> Blueprint:
    """The blueprint, with a copy wherever all that goes into an output is the same tensor

    same: whether two tensors are known to hold the same bytes, of the same dtype and shape.
    """
    return replace(blueprint, outputs=tuple(_settled(output, same) for output in blueprint.outputs))


def copy(output: Output, taken: Taken) -> Output:
    """The output as a copy of one tensor"""
    plain = MappingProxyType[str, float | int | bool]({})
    return replace(output, method=COPY, sources=(replace(taken, params=plain),), base=None, params=plain)


def _settled(output: Output, same: Callable[[Taken, Taken], bool]) -> Output:
    first = output.base or output.sources[0]
    if output.method == COPY or output.rows or not all(same(first, source) for source in output.sources):
        return output
    if output.method != "linear" or output.params["normalize"] or _sum(output) == 1.0:
        return copy(output, first)
    return output


def _sum(output: Output) -> float:
    return sum(float(source.params["weight"]) for source in output.sources)


def _is_silent(method: str, source: Taken) -> bool:
    """Whether nothing of its difference from the base is left"""
    return source.params["weight"] == 0 or (method in _SPARSE and source.params["density"] == 0)
