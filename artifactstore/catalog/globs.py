"""Globs, as the regular expressions that each database understands"""

import fnmatch
import re

import sqlalchemy as sa
from sqlalchemy import Dialect

_PARTS = re.compile(r"(?P<all>\*+)|(?P<one>\?)|\[(?P<no>!?+)(?P<chars>\]?+[^\]]*)\]|(?P<char>.)", re.DOTALL)
_RANGES = re.compile(r"(.)-(.)|(.)", re.DOTALL)


class Glob(sa.types.TypeDecorator[str]):
    """A glob, handed over as the regular expression that the database understands"""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str:
        """For the database of this dialect"""
        assert value is not None
        # SQLAlchemy gives SQLite the regular expressions of Python
        return rf"\A{fnmatch.translate(value)}" if dialect.name == "sqlite" else _postgres(value)


def _postgres(glob: str) -> str:
    """What fnmatch.translate says to Python, in the regular expressions of Postgres"""
    return rf"\A{''.join(map(_part, _PARTS.finditer(glob)))}\Z"


def _part(found: re.Match[str]) -> str:
    if found["all"]:
        return ".*"
    if found["one"]:
        return "."
    if found["char"]:
        return _escaped(found["char"])
    ranges = [each.groups() for each in _RANGES.finditer(found["chars"])]
    inside = "".join(
        _escaped(char) if char else f"{_escaped(low)}-{_escaped(high)}"
        for low, high, char in ranges
        if char or low <= high
    )
    if not inside:
        return "." if found["no"] else r"\Z."
    return f"[{'^' * len(found['no'])}{inside}]"


def _escaped(char: str) -> str:
    return char if char.isalnum() or not char.isascii() else f"\\{char}"
