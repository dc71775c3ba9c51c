"""Output: the answer of a command in the form that was asked for"""

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Any

from artifactstore.core.errors import Invalid
from artifactstore.core.units import format_duration
from artstore.screen import Screen, write, write_all


class Form(StrEnum):
    """What stdout is for: people, or programs"""

    TEXT = "text"
    JSON = "json"
    JSONL = "jsonl"
    IDS = "ids"

    @classmethod
    def chosen(cls, *, as_json: bool, as_jsonl: bool, ids: bool) -> "Form":
        """Raise Invalid when several were asked for"""
        forms = [form for form, on in ((cls.JSON, as_json), (cls.JSONL, as_jsonl), (cls.IDS, ids)) if on]
        if len(forms) > 1:
            raise Invalid("Give only one of --json, --jsonl and -q", code="usage")
        return forms[0] if forms else cls.TEXT


class Output:
    """Where a command tells its answer, once"""

    def __init__(self, form: Form) -> None:
        self.form = form

    def tell(self, document: Mapping[str, Any], show: Callable[[Screen], None], *, ids: Iterable[str] = ()) -> None:
        """The document as JSON or as an event, or its ids, or what `show` draws"""
        match self.form:
            case Form.TEXT:
                show(Screen())
            case Form.IDS:
                write_all(ids)
            case Form.JSON:
                write(json.dumps(document, indent=2, default=str))
            case Form.JSONL:
                self.event("result", document)

    def tell_rows(
        self,
        noun: str,
        rows: Iterable[Mapping[str, Any]],
        show: Callable[[Screen], None],
        *,
        ids: Iterable[str],
    ) -> None:
        """Rows as a JSON document `{noun + s: rows}` or as an event each"""
        if self.form is Form.JSONL:
            for row in rows:
                self.event(noun, row)
        else:
            listed = list(rows) if self.form is Form.JSON else ()
            self.tell({f"{noun}s": listed}, show, ids=ids)

    def event(self, kind: str, facts: Mapping[str, Any]) -> None:
        """One line of --jsonl"""
        write(json.dumps({"event": kind, **facts}, default=str))


def took(seconds: float) -> str:
    """`1.2 s`, or `3h20min` when it was long"""
    return f"{seconds:.1f} s" if seconds < 60 else format_duration(timedelta(seconds=seconds))


def number(value: float) -> str:
    """A metric as people read it: `0.0412`"""
    return f"{value:.6g}"


def plural(count: int, noun: str) -> str:
    """`1 file`, `2,400 files`"""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
