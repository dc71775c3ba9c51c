"""Config patch: keys of a JSON file set anew, all other bytes of it left as they are

A configuration that goes through a library comes out as that release writes it, with keys renamed and values lost.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from artifactstore.core.errors import Invalid

_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\r\n]*")
_MARK = "\N{ZERO WIDTH NO-BREAK SPACE}"


@dataclass(frozen=True, slots=True)
class _Member:
    """A key of an object and its value: where the key begins, and where the value does and ends"""

    key: str
    at: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Object:
    """An object in a text: where its brace stands, its members, and where the closing brace stands"""

    text: str
    start: int
    members: tuple[_Member, ...]
    end: int

    def last(self, key: str) -> _Member | None:
        """The member of this key; of several the last counts"""
        return next((member for member in reversed(self.members) if member.key == key), None)

    @property
    def gap(self) -> str:
        """What stands before each of its keys: a line's end and an indentation, or nothing"""
        return self.text[self.start + 1 : self.members[0].at] if self.members else ""


def patch(
    raw: bytes, changes: Mapping[str, object] | Mapping[tuple[str, ...], object], name: str = "config.json"
) -> bytes:
    """The file with keys set, added at its end, or with None taken away; `text_config.vocab_size` is an inner one

    A key that has a dot itself is given as a tuple of one.

    name: of the file, for the error. Raises Invalid for what is no JSON object.
    """
    try:
        text = raw.decode()
        mark = _MARK if text.startswith(_MARK) else ""
        text = text.removeprefix(_MARK)
        if not isinstance(json.loads(text), dict):
            raise Invalid(f"{name} should be a JSON object", code="json", name=name)
        for key, value in changes.items():
            text = _changed(text, key.split(".") if isinstance(key, str) else key, value)
        return (mark + text).encode()
    except (ValueError, RecursionError) as e:
        raise Invalid(f"{name} is no JSON: {e}"[:200], code="json", name=name) from e


def add_tokens(raw: bytes, added: Mapping[str, int]) -> bytes:
    """A tokenizer.json with tokens added to it, matched as they are written; raise Invalid"""
    try:
        known: Sequence[Any] = json.loads(raw)["added_tokens"]
    except (ValueError, KeyError, TypeError, RecursionError) as e:
        raise Invalid(f"tokenizer.json has no added_tokens: {e!r}"[:200], code="json", name="tokenizer.json") from e
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    entries = [{"id": row, "content": token, **flags} for token, row in added.items()]
    return patch(raw, {"added_tokens": [*known, *entries]}, "tokenizer.json") if entries else raw


def _changed(text: str, path: Sequence[str], value: object, start: int = 0) -> str:
    """The text, with a value of the object that begins at `start` or after it changed"""
    found = _object(text, start)
    member = found.last(path[0])
    if len(path) > 1 and member is not None and text[member.start] == "{":
        return _changed(text, path[1:], value, member.start)
    if value is None:
        return text if member is None or len(path) > 1 else _without(found, member)
    for key in reversed(path[1:]):
        value = {key: value}
    return _with(found, path[0], value, member)


def _with(found: _Object, key: str, value: object, member: _Member | None) -> str:
    text = found.text
    written = _written(value, found.gap)
    if member is not None:
        return text[: member.start] + written + text[member.end :]
    entry = f"{found.gap}{json.dumps(key)}: {written}"
    end = found.members[-1].end if found.members else found.start + 1
    comma = "," if found.members else ""
    return f"{text[:end]}{comma}{entry}{text[end:]}"


def _without(found: _Object, member: _Member) -> str:
    """Without a member and the comma between it and its neighbour"""
    number = found.members.index(member)
    if number + 1 < len(found.members):
        return found.text[: member.at] + found.text[found.members[number + 1].at :]
    begin = found.members[number - 1].end if number else found.start + 1
    return found.text[:begin] + found.text[member.end :]


def _written(value: object, gap: str) -> str:
    """A value as JSON, in lines where the object has them; gap: what stands before the object's keys"""
    if "\n" not in gap:
        return json.dumps(value)
    indent = gap.rpartition("\n")[2]
    step = "\t" if "\t" in indent else "  "
    return json.dumps(value, indent=step).replace("\n", f"\n{indent}")


def _object(text: str, start: int) -> _Object:
    start = _next(text, start)
    members = []
    at = _next(text, start + 1)
    while text[at] != "}":
        key, end = _DECODER.raw_decode(text, at)
        begin = _next(text, _next(text, end) + 1)
        _, end = _DECODER.raw_decode(text, begin)
        members.append(_Member(key, at, begin, end))
        at = _next(text, end)
        if text[at] == ",":
            at = _next(text, at + 1)
    return _Object(text, start, tuple(members), at)


def _next(text: str, at: int) -> int:
    """Where the next character that is no space stands"""
    found = _SPACE.match(text, at)
    assert found is not None
    return found.end()
