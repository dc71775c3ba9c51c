"""Rows: lines of JSON from a file, and what they must hold, with errors that name the line"""

import json
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from artifactstore.core.errors import Invalid, NotFound

T = TypeVar("T")
# A line of a data set is a few kilobytes, a text a few megabytes.
_LONGEST = 64 << 20


def parse_rows(path: Path, parse: Callable[[Mapping[str, Any]], T], limit: int | None = None) -> list[T]:
    """What the first `limit` lines hold, all without; raise NotFound, Invalid naming the line"""
    found = []
    for number, row in islice(_rows(path), limit):
        try:
            found.append(parse(row))
        except Invalid as e:
            raise Invalid(f"{path}: line {number}: {e.message}", code="item", path=str(path), line=number) from e
    if not found:
        raise Invalid(f"{path} has no items", code="item", path=str(path))
    return found


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        with path.open("rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(_LONGEST), b""), 1):
                if line.strip():
                    yield number, _row(path, number, line)
    except OSError as e:
        raise NotFound(f"Cannot read {path}: {e.strerror}", code="data", path=str(path)) from e


def _row(path: Path, number: int, line: bytes) -> Mapping[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as e:
        raise Invalid(f"{path}: line {number}: no JSON: {e!s:.80}", code="item", path=str(path), line=number) from e
    if not isinstance(row, dict):
        raise Invalid(
            f"{path}: line {number}: not an object; write one item a line", code="item", path=str(path), line=number
        )
    return row


def string(row: Mapping[str, Any], key: str) -> str:
    """Raise Invalid when it is none"""
    value = row.get(key)
    if not isinstance(value, str):
        raise _lacks(row, key, "text")
    return value


def strings(row: Mapping[str, Any], key: str) -> list[str]:
    """Raise Invalid when it is no list of texts"""
    value = row.get(key)
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise _lacks(row, key, "list of texts")
    return value


def mapping(row: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Raise Invalid when it is none"""
    value = row.get(key)
    if not isinstance(value, Mapping):
        raise _lacks(row, key, "object")
    return value


def integer(row: Mapping[str, Any], key: str) -> int:
    """Of a number or of digits, as some files have them; raise Invalid for others"""
    value = row.get(key)
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 10:
        return int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise _lacks(row, key, "number")
    return value


def _lacks(row: Mapping[str, Any], key: str, kind: str) -> Invalid:
    found = f"is {row[key]!r:.40}" if key in row else f"is not among {', '.join(map(str, row)):.80}"
    return Invalid(f"'{key}' {found}; a {kind} is wanted", code="item")
