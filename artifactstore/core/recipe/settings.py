"""Settings: parameters as recipes give them, and what they come to for one tensor"""

from collections.abc import Callable, Iterable
from types import MappingProxyType

from artifactstore.core.recipe.document import Value, hint
from artifactstore.core.recipe.methods import PARAMETERS, Method, Parameter, Scope
from artifactstore.core.recipe.recipe import Choice, Number, Setting, Settings

_EVERYTHING = "*"


def parse_settings(
    found: Value | None, method: Method, tell: Callable[[str], None], *, of_source: bool = False
) -> Settings:
    """The `parameters` of a recipe, a slice or a source; raise Invalid

    What another method takes is told of and left out, since recipes are often made by changing the method.
    """
    if found is None or found.found is None:
        return MappingProxyType({})
    settings = {}
    for name, value in found.mapping("parameters").items():
        parameter = method.parameter(name)
        if parameter is None:
            _pass_over(name, value, method, tell)
        elif of_source and parameter.scope is Scope.TENSOR:
            raise value.refuse(f"{name} is of the merge, not of one model; write it in the recipe's own parameters")
        else:
            settings[name] = _setting(parameter, value)
    return MappingProxyType(settings)


def evaluate(settings: Iterable[Settings], name: str, tensor: str, t: float) -> Number | None:
    """The value of a parameter by the first of `settings` that has one for the tensor; None where none has

    t: where between the first layer (0) and the last (1) the tensor stands.
    """
    for each in settings:
        for choice in each.get(name, ()):
            if choice.part is None or choice.part in tensor:
                return _along(choice.values, t)
    return None


def _along(values: tuple[Number, ...], t: float) -> Number:
    place = t * (len(values) - 1)
    before = int(place)
    if isinstance(values[0], bool):
        return values[before]
    after, share = min(before + 1, len(values) - 1), place - before
    return (1 - share) * values[before] + share * values[after]


def _pass_over(name: str, value: Value, method: Method, tell: Callable[[str], None]) -> None:
    known = [parameter.name for parameter in method.parameters]
    if name not in PARAMETERS:
        raise value.refuse(f"{method.name} has no parameter {name!r}{hint(name, known)}")
    tell(f"line {value.line}: {name} has no effect in {method.name}")


def _setting(parameter: Parameter, value: Value) -> Setting:
    if isinstance(value.found, tuple):
        items = value.items(parameter.name)
        if all(_is_choice(item) for item in items):
            return tuple(_choice(parameter, item) for item in items)
        return (Choice(_values(parameter, value)),)
    if _is_choice(value):
        return (_choice(parameter, value),)
    return (Choice(_values(parameter, value)),)


def _is_choice(value: Value) -> bool:
    return not isinstance(value.found, str | int | float | tuple | None)


def _choice(parameter: Parameter, value: Value) -> Choice:
    found = value.mapping(f"a choice of {parameter.name}", ("filter", "value"))
    if "value" not in found:
        raise value.refuse(f"a choice of {parameter.name} should have a value")
    part = found.get("filter")
    text = None if part is None or part.found is None else part.text("filter")
    return Choice(_values(parameter, found["value"]), None if text == _EVERYTHING else text)


def _values(parameter: Parameter, value: Value) -> tuple[Number, ...]:
    items = value.items(parameter.name) if isinstance(value.found, tuple) else (value,)
    return tuple(_value(parameter, item) for item in items)


def _value(parameter: Parameter, value: Value) -> Number:
    if parameter.flag:
        return value.flag(parameter.name)
    number = value.number(parameter.name)
    if parameter.within is not None and not parameter.within[0] <= number <= parameter.within[1]:
        low, high = parameter.within
        raise value.refuse(f"{parameter.name} should be from {low:g} to {high:g}, found {number:g}")
    return number
