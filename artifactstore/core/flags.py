"""Flags: retention rules as words, as gc takes them and the catalog keeps them"""

import re
import shlex
from collections.abc import Iterable, Iterator
from datetime import timedelta
from difflib import get_close_matches
from types import MappingProxyType

from artifactstore.core.errors import Invalid

EXAMPLES = MappingProxyType(
    {
        "older": "30d",
        "unused": "30d",
        "phase": "warmup",
        "run": "'wan-*'",
        "where": "'size>10GB'",
        "keep-last": "3",
        "keep-best": "2:val_loss:min",
        "keep-every": "5000",
        "keep-daily": "7",
        "keep-weekly": "4",
        "keep-monthly": "12",
        "keep-within": "7d",
        "keep-alias": "'rel-*'",
        "keep-phase": "sft",
        "min-copies": "2",
    }
)
REPEATABLE = frozenset({"where", "keep-best", "keep-alias", "keep-phase"})
_WHOLE = re.compile(r"[0-9]{1,15}")


def split(text: str) -> dict[str, list[str]]:
    """The values of each flag in `--older 30d --keep-last=3` or `older=30d keep-last=3`, quoted as in a shell

    Raises Invalid on an unknown flag, one without value, one given twice that stands once, and on no flag at all.
    """
    values: dict[str, list[str]] = {}
    words = iter(_words(text))
    for word in words:
        flag, value = _pair(word, words)
        if flag in values and flag not in REPEATABLE:
            raise Invalid(f"--{flag} is given twice; leave one of them out", code="rules", flag=flag)
        values.setdefault(flag, []).append(value)
    if not values:
        raise Invalid("No rules are given; write for example --older 30d --keep-last 3", code="rules")
    return values


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as e:
        raise Invalid(f"Rules {text[:80]!r} have a quote or backslash without its end; close it", code="rules") from e


def _pair(word: str, rest: Iterator[str]) -> tuple[str, str]:
    flag, equals, value = word.removeprefix("--").partition("=")
    if flag not in EXAMPLES:
        raise Invalid(f"Unknown rule {word[:60]!r}{hint(flag, EXAMPLES, '--')}", code="rules", flag=word)
    if not equals and word.startswith("--"):
        value = next(rest, "")
        # the next flag is no value; --phase=--odd says that it is one
        value = "" if value.startswith("--") else value
    if not value:
        raise Invalid(f"--{flag} has no value; write --{flag} {EXAMPLES[flag]}", code="rules", flag=flag)
    return flag, value


def write(flag: str, value: object) -> str:
    """`--flag value`, as `split` reads it back"""
    text = write_span(value) if isinstance(value, timedelta) else str(value)
    return f"--{flag}{'=' if text.startswith('-') else ' '}{shlex.quote(text)}"


def write_span(span: timedelta) -> str:
    """The span in full, as `parse_duration` reads it: `30d`, `1d12h`, `0.5s`"""
    minutes, seconds = divmod(span.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    parts = [(span.days, "d"), (hours, "h"), (minutes, "min")]
    text = "".join(f"{number}{unit}" for number, unit in parts if number)
    if seconds or span.microseconds or not text:
        text += f"{seconds}.{span.microseconds:06}".rstrip("0").rstrip(".") + "s"
    return text


def whole(text: str) -> int:
    """A whole number; raise Invalid"""
    if not _WHOLE.fullmatch(text):
        raise Invalid("Not a whole number", code="rules")
    return int(text)


def hint(text: str, known: Iterable[str], mark: str = "") -> str:
    """The end of a message about an unknown name: close ones, else those there are, each after `mark`"""
    names = sorted(known)
    close = get_close_matches(text[:200], names, 3)
    if close:
        return f"; did you mean {' or '.join(mark + name for name in close)}?"
    more = ", …" if len(names) > 16 else ""
    return f"; there are {', '.join(mark + name for name in names[:16])}{more}" if names else "; there are none"
