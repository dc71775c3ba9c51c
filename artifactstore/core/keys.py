"""Keys: what two JSON documents differ in, by dotted path"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

# A vocabulary may have a hundred thousand keys: a list of all that changed tells no more than their number.
_MOST = 10_000
_LONGEST = 200
# Far beyond any configuration, and well within what every reader and writer of JSON can nest.
_DEEPEST = 100
_ABSENT = object()


@dataclass(frozen=True, slots=True)
class Keys:
    """(path, value) of what was added and removed, (path, old, new) of what changed; omitted: more that is not listed

    A part of a path that is empty or holds a dot or a quote is written as a JSON string.
    """

    added: tuple[tuple[str, Any], ...] = ()
    removed: tuple[tuple[str, Any], ...] = ()
    changed: tuple[tuple[str, Any, Any], ...] = ()
    omitted: int = 0

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)

    def to_json(self) -> dict[str, Any]:
        """For people and programs"""
        return {
            "added": [{"key": key, "value": value} for key, value in self.added],
            "removed": [{"key": key, "value": value} for key, value in self.removed],
            "changed": [{"key": key, "old": old, "new": new} for key, old, new in self.changed],
            "omitted": self.omitted,
        }


def parse(raw: bytes) -> Any:
    """The object or list in these bytes, None when they are none, or nested beyond reason

    Numbers that JSON has no word for (NaN, 1e999) come as text.
    """
    try:
        document = json.loads(raw, parse_constant=str, parse_float=_number)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict | list) and _is_shallow(document) else None


def _number(text: str) -> float | str:
    value = float(text)
    return value if math.isfinite(value) else text


def _is_shallow(document: Any) -> bool:
    level = [document]
    for _ in range(_DEEPEST):
        if not level:
            return True
        containers = (value for value in level if isinstance(value, dict | list))
        level = [inner for value in containers for inner in (value.values() if isinstance(value, dict) else value)]
    return False


def compare(old: Any, new: Any) -> Keys:
    """What differs between two values as `parse` gives them; 1, 1.0 and true are three values"""
    added: list[tuple[str, Any]] = []
    removed: list[tuple[str, Any]] = []
    changed: list[tuple[str, Any, Any]] = []
    differences = _walk("", old, new)
    for path, before, after in islice(differences, _MOST):
        if before is _ABSENT:
            added.append((path, after))
        elif after is _ABSENT:
            removed.append((path, before))
        else:
            changed.append((path, before, after))
    return Keys(tuple(added), tuple(removed), tuple(changed), sum(1 for _ in differences))


def _walk(path: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys((*old, *new)):
            yield from _walk(_joined(path, key), old.get(key, _ABSENT), new.get(key, _ABSENT))
    elif isinstance(old, list) and isinstance(new, list):
        for at in range(max(len(old), len(new))):
            yield from _walk(_joined(path, str(at)), _item(old, at), _item(new, at))
    elif type(old) is not type(new) or old != new:
        yield path, old, new


def _item(values: list[Any], at: int) -> Any:
    return values[at] if at < len(values) else _ABSENT


def _joined(path: str, key: str) -> str:
    part = key if len(key) <= _LONGEST else f"{key[:_LONGEST]}…"
    if not part or "." in part or '"' in part:
        part = json.dumps(part, ensure_ascii=False)
    return f"{path}.{part}" if path else part
