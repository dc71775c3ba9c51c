"""Filter: a condition on versions as people type it, such as `step >= 5000 and license = MIT`

    expression := every ("or" every)*
    every      := one ("and" one)*
    one        := "not" one | "(" expression ")" | "pinned" | KEY OPERATOR VALUE | KEY "in" "(" VALUE ("," VALUE)* ")"

Values are bare words or quoted, 'it''s' or "it's"; `~` takes a glob with `*`, `?`, `[a-z]` and `[!a-z]`. Keys:

* `= != in ~`  name, phase, license, request_id, alias, meta.KEY; ref (name:number); parent (a reference, an id or what
  the version says it came from); dtype and quantization, letters of any case
* `= != in`  id (its first 8 or more hex digits), format, relation
* `= != in < <= > >=`  number, step, files, tensors, epoch, metric.NAME, size (10GB, 1.5GiB), created (2026-01-31 is
  the whole day, 2026-01-31T14:05:00 that second, in UTC unless it says otherwise)
* `< <= > >=`  how long ago it was, 30d or 1y6mo: age (its creation), taken (its taking in), unused or loaded (its last
  load, else its taking in)
* `= !=`  pinned (true or false)

One alias, link, format or dtype that fits is enough. A bare `none` is what is absent, and what is absent fits nothing
else: so `KEY != VALUE`, which is `not KEY = VALUE`, holds for it, and so does `not step > 3`.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import NamedTuple, TypeVar

from artifactstore.core.errors import Invalid
from artifactstore.core.filter_keys import EQUAL, KEYS, NAMED, ORDER, OTHER_NAMES, Key, Value
from artifactstore.core.names import check_label

T = TypeVar("T")
MAX_LENGTH = 2000
MAX_VALUES = 100
# SQLite before 3.46 cannot read SQL nested deeper than some 20: "parser stack overflow"
MAX_DEPTH = 16

_NONE = "none"
_KEYWORDS = frozenset(("and", "or", "not", "in"))
_WORD = r"""(?:[^\s()'",=<>~!]|!(?!=))+"""
_TOKEN = re.compile(
    rf"""\s*(?:(?P<mark>[(),]|[<>!]=|[=<>~])|(?P<quoted>'(?:[^']|'')*+'|"(?:[^"]|"")*+")|(?P<word>{_WORD})"""
    r"|(?P<end>\Z)|(?P<stray>.))"
)


@dataclass(frozen=True, slots=True)
class Operand:
    """What stands on the right, as it was typed and as its key reads it: None for `none`"""

    text: str
    value: Value

    def __str__(self) -> str:
        return _NONE if self.value is None else _quoted(self.text)


@dataclass(frozen=True, slots=True)
class Comparison:
    """`key operator operand`; name: the NAME of metric.NAME and meta.KEY. Only `in` has several operands"""

    key: str
    name: str | None
    operator: str
    operands: tuple[Operand, ...]

    def __str__(self) -> str:
        key = self.key if self.name is None else f"{self.key}.{_quoted(self.name)}"
        values = ", ".join(map(str, self.operands))
        return f"{key} {self.operator} {f'({values})' if self.operator == 'in' else values}"


@dataclass(frozen=True, slots=True)
class Not:
    """Holds where `part` does not"""

    part: "Expression"

    def __str__(self) -> str:
        return f"not {_grouped(self.part, And, Or)}"


@dataclass(frozen=True, slots=True)
class And:
    """Two parts or more, none of them an And"""

    parts: tuple["Expression", ...]

    def __str__(self) -> str:
        return " and ".join(_grouped(part, Or) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Or:
    """Two parts or more, none of them an Or"""

    parts: tuple["Expression", ...]

    def __str__(self) -> str:
        return " or ".join(map(str, self.parts))


Expression = Comparison | Not | And | Or


def parse(text: str) -> Expression:
    """Read a filter; str() of it reads back as the same. Raises Invalid with the position, counted from 1"""
    if len(text) > MAX_LENGTH:
        raise Invalid(f"Filter of {len(text)} characters; {MAX_LENGTH} are allowed", code="filter")
    for at, char in enumerate(text):
        if not char.isprintable() and char not in "\t\n\r":
            raise _invalid(text, at, f"found the character {char!a}, which is not read here")
    return _Parser(text).whole()


def comparisons(expression: Expression) -> Iterator[Comparison]:
    """All of an expression, from left to right"""
    match expression:
        case Comparison():
            yield expression
        case Not(part=part):
            yield from comparisons(part)
        case And(parts=parts) | Or(parts=parts):
            for part in parts:
                yield from comparisons(part)


def _grouped(part: Expression, *kinds: type[And | Or]) -> str:
    return f"({part})" if isinstance(part, kinds) else str(part)


def _quoted(text: str) -> str:
    if re.fullmatch(_WORD, text) and text.lower() not in {*_KEYWORDS, _NONE}:
        return text
    return "'" + text.replace("'", "''") + "'"


def _invalid(text: str, at: int, message: str) -> Invalid:
    return Invalid(f"Filter, character {at + 1}: {message}", code="filter", expression=text, position=at + 1)


class _Token(NamedTuple):
    kind: str
    text: str
    at: int

    def is_keyword(self, word: str) -> bool:
        return self.kind == "word" and self.text.lower() == word

    def is_mark(self, *marks: str) -> bool:
        return self.kind == "mark" and self.text in marks

    def is_free(self) -> bool:
        """May be a key or value"""
        return self.kind == "quoted" or (self.kind == "word" and self.text.lower() not in _KEYWORDS)

    def __str__(self) -> str:
        return "the end" if self.kind == "end" else repr(self.text[:40])


def _tokens(text: str) -> Iterator[_Token]:
    for found in _TOKEN.finditer(text):
        kind = str(found.lastgroup)
        value = found[kind]
        if kind == "stray":
            raise _invalid(text, found.start(kind), f"no second {value} closes the text that begins here")
        if kind == "quoted":
            value = value[1:-1].replace(value[0] * 2, value[0])
        yield _Token(kind, value, found.start(kind))


def _choice(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"


class _Parser:
    """Recursive descent: a method for each rule of the grammar"""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(_tokens(text))
        self._at = 0
        self._depth = 0
        self._values = 0

    def whole(self) -> Expression:
        if self._next.kind == "end":
            raise self._unexpected("a condition such as step >= 5000")
        found = self._any()
        if self._next.kind != "end":
            quote = "; put a value that has spaces in quotes" if self._next.kind == "word" else ""
            raise self._unexpected(f"'and', 'or' or the end{quote}")
        return found

    def _any(self) -> Expression:
        return self._joined("or", self._every, Or)

    def _every(self) -> Expression:
        return self._joined("and", self._one, And)

    def _joined(self, word: str, part: Callable[[], Expression], kind: type[And | Or]) -> Expression:
        parts = [part()]
        while self._next.is_keyword(word):
            self._take()
            parts.append(part())
        flat = [inner for each in parts for inner in (each.parts if isinstance(each, kind) else (each,))]
        return kind(tuple(flat)) if len(flat) > 1 else flat[0]

    def _one(self) -> Expression:
        if not (self._next.is_keyword("not") or self._next.is_mark("(")):
            return self._comparison()
        opening = self._take()
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _invalid(self._text, opening.at, f"nested deeper than {MAX_DEPTH}; write it as several filters")
        found = Not(self._one()) if opening.kind == "word" else self._closed(opening, self._any(), "'and', 'or' or ')'")
        self._depth -= 1
        return found

    def _comparison(self) -> Comparison:
        key, name, known = self._key()
        if key == "pinned" and not self._next.is_mark(*EQUAL, *ORDER, "~"):
            return Comparison(key, None, "=", (Operand("true", True),))
        operator = self._operator(key, known)
        if operator != "in":
            return Comparison(key, name, operator, (self._operand(key, known, operator),))
        opening = self._take_mark("(", "'(', as in step in (1000, 2000)")
        operands = [self._operand(key, known, operator)]
        while self._next.is_mark(","):
            self._take()
            operands.append(self._operand(key, known, operator))
        return Comparison(key, name, operator, self._closed(opening, tuple(operands), "',' or ')'"))

    def _key(self) -> tuple[str, str | None, Key]:
        if self._next.kind == "quoted" or not self._next.is_free():
            raise self._unexpected("a key such as step, 'not' or '('")
        token = self._take()
        key, dot, name = token.text.partition(".")
        key = OTHER_NAMES.get(key, key)
        if key in NAMED:
            if dot and not name and self._next.kind == "quoted" and self._next.at == token.at + len(token.text):
                name = self._take().text
            return key, self._name(key, name, token.at), NAMED[key]
        if dot or key not in KEYS:
            raise _invalid(self._text, token.at, _unknown(token.text))
        return key, None, KEYS[key]

    def _name(self, key: str, name: str, at: int) -> str:
        # SQLite has no way to write these in a path into JSON
        if key == "meta" and not {'"', "\\"}.isdisjoint(name):
            raise _invalid(self._text, at, f"the name {name[:40]!r} holds a double quote or backslash and is not read")
        try:
            return check_label(name, "name")
        except Invalid as e:
            raise _invalid(self._text, at, f"{e.message}, as {key}.some_name or {key}.'some name'") from e

    def _operator(self, key: str, known: Key) -> str:
        token = self._next
        if not (token.is_keyword("in") or token.is_mark(*EQUAL, *ORDER, "~")):
            raise self._unexpected(f"{_choice(known.operators)} after {key}")
        if token.text.lower() not in known.operators:
            raise _invalid(self._text, token.at, f"{key} takes {_choice(known.operators)}, found {token}")
        return self._take().text.lower()

    def _operand(self, key: str, known: Key, operator: str) -> Operand:
        token = self._next
        if not token.is_free():
            quote = "; put it in quotes if it is one" if token.kind == "word" else ""
            raise self._unexpected(f"a value of {key}{quote}")
        self._values += 1
        if self._values > MAX_VALUES:
            raise _invalid(self._text, token.at, f"more than {MAX_VALUES} values; write it as several filters")
        self._take()
        if known.may_lack and operator in EQUAL and token.kind == "word" and token.text == _NONE:
            return Operand(_NONE, None)
        try:
            return Operand(token.text, (known.glob if operator == "~" else known.read)(token.text))
        except Invalid as e:
            raise _invalid(self._text, token.at, f"{key}: {e.message}") from e

    def _closed(self, opening: _Token, found: T, expected: str) -> T:
        if self._next.kind == "end":
            raise _invalid(self._text, opening.at, "nothing closes this '('")
        self._take_mark(")", expected)
        return found

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take(self) -> _Token:
        self._at += 1
        return self._tokens[self._at - 1]

    def _take_mark(self, mark: str, expected: str) -> _Token:
        if not self._next.is_mark(mark):
            raise self._unexpected(expected)
        return self._take()

    def _unexpected(self, expected: str) -> Invalid:
        return _invalid(self._text, self._next.at, f"found {self._next}, expected {expected}")


def _unknown(word: str) -> str:
    known = [*KEYS, *OTHER_NAMES, "metric.NAME", "meta.KEY"]
    close = get_close_matches(word.lower(), known, 2)
    hint = f"did you mean {' or '.join(close)}?" if close else f"use one of {', '.join(known)}"
    return f"unknown key {word[:40]!r}; {hint}"
