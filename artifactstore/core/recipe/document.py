"""Document: a text's values, each with the line it stands on, so that every refusal names it"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from math import isfinite
from types import MappingProxyType

import yaml

from artifactstore.core.errors import Invalid
from artifactstore.core.provenance.yaml_text import LOADER, compose_yaml

Scalar = str | int | float | bool | None
_MAX_SHOWN = 60
_TRUE, _FALSE = frozenset(("true", "yes", "on", "1")), frozenset(("false", "no", "off", "0"))


@dataclass(frozen=True, slots=True)
class Value:
    """A value of a document, in the file `path`, at `line`, which counts from 1; of a key it is the key's line"""

    found: "Scalar | tuple[Value, ...] | Mapping[str, Value]"
    line: int
    path: str

    def refuse(self, message: str) -> Invalid:
        """The error that says what is wrong here"""
        return refusal(self.path, self.line, message)

    def mapping(self, what: str, known: Collection[str] | None = None) -> "Mapping[str, Value]":
        """Its keys and values; raise Invalid where it holds anything else, or a key that is none of `known`"""
        if not isinstance(self.found, Mapping):
            raise self.refuse(f"{what} should be keys and values, found {self.shown}")
        for key, value in self.found.items():
            if known is not None and key not in known:
                raise value.refuse(f"{what} has no key {key!r}{hint(key, known)}")
        return self.found

    def items(self, what: str) -> "tuple[Value, ...]":
        """Its items; raise Invalid where it is no list, or an empty one"""
        if not isinstance(self.found, tuple) or not self.found:
            raise self.refuse(f"{what} should be a list, found {self.shown}")
        return self.found

    def text(self, what: str) -> str:
        """The text that it is, not empty; raise Invalid"""
        if not isinstance(self.found, str) or not self.found.strip():
            raise self.refuse(f"{what} should be a text, found {self.shown}")
        return self.found

    def number(self, what: str) -> float:
        """The finite number that it is, also one that YAML takes for a text, such as 1e-3; raise Invalid"""
        number = self.found
        if isinstance(number, str):
            number = _float(number)
        if isinstance(number, bool) or not isinstance(number, int | float) or not _is_finite(number):
            raise self.refuse(f"{what} should be a finite number, found {self.shown}")
        return float(number)

    def integer(self, what: str, least: int = 0) -> int:
        """The whole number that it is, from `least` to 2^53; raise Invalid"""
        if isinstance(self.found, bool) or not isinstance(self.found, int) or not least <= self.found < 1 << 53:
            raise self.refuse(f"{what} should be a whole number from {least}, found {self.shown}")
        return self.found

    def flag(self, what: str) -> bool:
        """True or false; raise Invalid"""
        word = str(self.found).lower() if isinstance(self.found, str | int) else ""
        if word not in _TRUE | _FALSE:
            raise self.refuse(f"{what} should be true or false, found {self.shown}")
        return word in _TRUE

    @property
    def shown(self) -> str:
        """What it is, in few words"""
        if isinstance(self.found, Mapping):
            return "keys and values"
        if isinstance(self.found, tuple):
            return f"a list of {len(self.found)}" if self.found else "an empty list"
        if isinstance(self.found, int) and not isinstance(self.found, bool) and self.found.bit_length() > 200:
            return f"an int of {self.found.bit_length()} bits"
        return "nothing" if self.found is None else repr(self.found)[:_MAX_SHOWN]


def read(text: str, path: str) -> Value:
    """The document of a YAML text; raise Invalid for what is odd (see `yaml_text`), and for a key that stands twice"""
    try:
        node = compose_yaml(text)
        if node is None:
            raise refusal(path, 1, "it is empty")
        return _value(node, path, node.start_mark.line + 1)
    except Invalid as e:
        if "path" in e.facts:
            raise
        line = e.facts.get("line") or 1
        raise refusal(path, line, e.message.removesuffix(f", line {line}")) from e


def refusal(path: str, line: int, message: str) -> Invalid:
    """The error of one line of a recipe"""
    return Invalid(f"{path}: line {line}: {message}", code="recipe", path=path, line=line)


def hint(name: str, known: Collection[str]) -> str:
    """What was meant, if it is near, else what there is"""
    close = get_close_matches(name, sorted(known), 1)
    return f"; did you mean {close[0]!r}?" if close else f"; it takes {', '.join(sorted(known))}"


def _value(node: yaml.Node, path: str, line: int) -> Value:
    if isinstance(node, yaml.MappingNode):
        return Value(MappingProxyType(_mapping(node, path)), line, path)
    if isinstance(node, yaml.SequenceNode):
        items = tuple(_value(item, path, item.start_mark.line + 1) for item in node.value)
        return Value(items, line, path)
    try:
        found = LOADER("").construct_object(node, deep=True)
    except (ValueError, yaml.YAMLError) as e:
        raise refusal(path, line, f"{node.value[:_MAX_SHOWN]!r} is no value that YAML has") from e
    # dates and the like are texts here
    return Value(found if found is None or isinstance(found, str | int | float) else str(node.value), line, path)


def _mapping(node: yaml.MappingNode, path: str) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise refusal(path, line, "a key should be one word, found a list or keys and values")
        if key.value in found:
            raise refusal(path, line, f"key {key.value!r} stands here and at line {found[key.value].line}")
        found[key.value] = _value(value, path, line)
    return found


def _float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _is_finite(number: float) -> bool:
    try:
        return isfinite(number)
    except OverflowError:
        return False
