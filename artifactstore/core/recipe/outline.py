"""Outline: a blueprint in few lines, tensors that differ only in their layer told of together"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from artifactstore.core.recipe.blueprint import Blueprint, Number, Output
from artifactstore.core.recipe.methods import METHODS

_NUMBER = re.compile(r"(?<=\.)[0-9]+(?=\.)")


@dataclass(frozen=True, slots=True)
class Group:
    """Outputs of one method whose names differ only in numbers, `*` in `name`. params: in words, as `t 0.3 to 0.7`

    outputs: which of the blueprint's they are, by their place in it.
    """

    name: str
    method: str
    params: str
    outputs: tuple[int, ...]


def outline(blueprint: Blueprint) -> tuple[Group, ...]:
    """The outputs in groups, in the order of the first of each"""
    found: dict[tuple[str, str, tuple[int, ...]], list[int]] = {}
    for number, output in enumerate(blueprint.outputs):
        models = tuple(source.model for source in output.sources)
        found.setdefault((_NUMBER.sub("*", output.name), output.method, models), []).append(number)
    return tuple(
        Group(name, method, ", ".join(_params(blueprint, [blueprint.outputs[n] for n in numbers])), tuple(numbers))
        for (name, method, _), numbers in found.items()
    )


def _params(blueprint: Blueprint, outputs: Sequence[Output]) -> Iterator[str]:
    """What is not as the method has it by default; of several sources, in their order"""
    first = outputs[0]
    if first.method == "passthrough":
        yield f"of {blueprint.models[first.sources[0].model]}"
    for name in first.params:
        yield from _told(first.method, name, [[output.params[name] for output in outputs]])
    for name in dict.fromkeys(name for source in first.sources for name in source.params):
        columns = zip(*(output.sources for output in outputs), strict=True)
        yield from _told(
            first.method, name, [[one.params[name] for one in each if name in one.params] for each in columns]
        )


def _told(method: str, name: str, columns: Sequence[Sequence[Number]]) -> Iterator[str]:
    parameter = METHODS[method].parameter(name)
    default = None if parameter is None else parameter.default
    if any(value != default for column in columns for value in column):
        yield f"{name} {' and '.join(_range(column) for column in columns if column)}"


def _range(values: Sequence[Number]) -> str:
    low, high = min(values), max(values)
    if isinstance(low, bool):
        return "in part" if low != high else "on" if low else "off"
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"
