"""Keys that a filter knows: what is written beside each, and how it is read"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from artifactstore.core.errors import Invalid
from artifactstore.core.lineage import Relation
from artifactstore.core.numbers import check_finite, check_integer
from artifactstore.core.units import parse_duration, parse_size

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_INTEGER = re.compile(r"[+-]?[0-9]{1,30}")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_REF = re.compile(r".+:[1-9][0-9]*")
_ID = re.compile(r"[0-9a-fA-F]{8,64}")
_FORMAT = re.compile(r"[A-Za-z0-9_.+-]+")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?P<time>[T ].+)?")


@dataclass(frozen=True, slots=True)
class Moment:
    """From `start` to before `end`, microseconds since 1970 UTC"""

    start: int
    end: int


Value = str | int | float | Moment | None


def _text(text: str) -> str:
    return text


def _any_case(text: str) -> str:
    # databases agree on the cases of ASCII alone
    if not text.isascii():
        raise Invalid(f"Not a name of ASCII characters: {text[:40]!r}")
    return text.upper()


def _ref(text: str) -> str:
    if not _REF.fullmatch(text):
        raise Invalid(f"Not name:number: {text[:40]!r}; write wan:3, or ref ~ 'wan:*'")
    return text


def _id(text: str) -> str:
    if not _ID.fullmatch(text):
        raise Invalid(f"Not the beginning of an id: {text[:40]!r}; write 8 to 64 hex digits")
    return text.lower()


def _format(text: str) -> str:
    if not _FORMAT.fullmatch(text):
        raise Invalid(f"Not a format: {text[:40]!r}; write safetensors, gguf, torch, pickle or other")
    return text.lower()


def _integer(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise Invalid(f"Not an integer: {text[:40]!r}; write 5000")
    return check_integer(int(text), "The value")


def _number(text: str) -> float:
    if not _NUMBER.fullmatch(text):
        raise Invalid(f"Not a number: {text[:40]!r}; write 0.04 or 1e-5")
    return check_finite(float(text), "The value")


def _span(text: str) -> int:
    return parse_duration(text) // _MICROSECOND


def _moment(text: str) -> Moment:
    found = _DATE.fullmatch(text)
    moment = _datetime(text) if found else None
    if found is None or moment is None:
        raise Invalid(f"Not a date: {text[:40]!r}; write 2026-01-31 or 2026-01-31T14:05:00+01:00")
    start = (moment - _EPOCH) // _MICROSECOND
    if found["time"] is None:
        return Moment(start, start + timedelta(days=1) // _MICROSECOND)
    return Moment(start, start + (1 if moment.microsecond else 1_000_000))


def _datetime(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.replace(tzinfo=moment.tzinfo or UTC)


def _truth(text: str) -> bool:
    if text not in {"true", "false"}:
        raise Invalid(f"Neither true nor false: {text[:40]!r}")
    return text == "true"


def _relation(text: str) -> str:
    return Relation.parse(text).value


@dataclass(frozen=True, slots=True)
class Key:
    """What may stand beside a key. Both readers raise Invalid; `glob` reads what `~` takes, which is no value"""

    read: Callable[[str], Value]
    operators: tuple[str, ...]
    may_lack: bool = False
    glob: Callable[[str], str] = _text


EQUAL = ("=", "!=", "in")
ORDER = ("<", "<=", ">", ">=")
_TEXT = (*EQUAL, "~")
_ORDERED = (*EQUAL, *ORDER)
KEYS: Mapping[str, Key] = MappingProxyType(
    {
        "name": Key(_text, _TEXT),
        "ref": Key(_ref, _TEXT),
        "number": Key(_integer, _ORDERED),
        "id": Key(_id, EQUAL),
        "phase": Key(_text, _TEXT, may_lack=True),
        "step": Key(_integer, _ORDERED, may_lack=True),
        "epoch": Key(_number, _ORDERED, may_lack=True),
        "request_id": Key(_text, _TEXT, may_lack=True),
        "license": Key(_text, _TEXT, may_lack=True),
        "size": Key(parse_size, _ORDERED),
        "files": Key(_integer, _ORDERED),
        "tensors": Key(_integer, _ORDERED),
        "created": Key(_moment, _ORDERED),
        "age": Key(_span, ORDER),
        "taken": Key(_span, ORDER),
        "unused": Key(_span, ORDER),
        "dtype": Key(_any_case, _TEXT, may_lack=True, glob=_any_case),
        "format": Key(_format, EQUAL),
        "quantization": Key(_any_case, _TEXT, may_lack=True, glob=_any_case),
        "relation": Key(_relation, EQUAL, may_lack=True),
        "parent": Key(_text, _TEXT, may_lack=True),
        "alias": Key(_text, _TEXT, may_lack=True),
        "pinned": Key(_truth, ("=", "!=")),
    }
)
NAMED: Mapping[str, Key] = MappingProxyType(
    {"metric": Key(_number, _ORDERED, may_lack=True), "meta": Key(_text, _TEXT, may_lack=True)}
)
OTHER_NAMES: Mapping[str, str] = MappingProxyType({"metrics": "metric", "loaded": "unused"})
