"""YAML of strangers: refused where a short text stands for a large or odd value, else parsed"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import yaml

from artifactstore.core.errors import Invalid

MAX_EVENTS = 200_000
MAX_DEPTH = 32
MAX_LARGE = 100

# libyaml's is five to ten times as fast, and in every wheel of PyYAML
LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# YAML 1.1 reads 1:59:59 to the base of 60, at a cost that grows with the square of its length
_LONG = re.compile(r"[-+.0-9:_]{100,}")
# Python hashes integers modulo 2^61 - 1, so that many keys may be made to collide
_LARGE = re.compile(r"[-+]?(?:[0-9_:]{18,}|0[xb][0-9a-fA-F_]{15,})")


def load_yaml(text: str, loader: type[yaml.SafeLoader] = LOADER) -> Any:
    """One document of plain values; raise Invalid for what is not YAML, and for aliases, tags and deep nesting

    Of two equal keys the last holds, as huggingface_hub reads it.
    """
    with refused():
        _check(yaml.parse(text, Loader=loader))
        return yaml.load(text, Loader=loader)  # noqa: S506  # a safe loader, see above


def compose_yaml(text: str) -> yaml.Node | None:
    """The same document as nodes, which know their lines and hold a key as often as it stands there

    Raises Invalid as `load_yaml` does.
    """
    with refused():
        _check(yaml.parse(text, Loader=LOADER))
        node: yaml.Node | None = yaml.compose(text, Loader=LOADER)
        return node


@contextmanager
def refused() -> Iterator[None]:
    """Raise Invalid for what PyYAML raises; `line`, where it is known, counts from 1"""
    try:
        yield
    except yaml.MarkedYAMLError as e:
        line = e.problem_mark.line + 1 if e.problem_mark else None
        place = f", line {line}" if line else ""
        why = ", ".join(filter(None, (e.context, e.problem)))[:120]
        raise Invalid(f"not YAML: {why}{place}", code="yaml", line=line) from e
    except (yaml.YAMLError, ValueError, OverflowError) as e:
        raise Invalid(f"not YAML: {' '.join(str(e).split())[:100]}", code="yaml", line=None) from e


def _check(events: Iterator[yaml.Event]) -> None:
    depth = large = 0
    for count, event in enumerate(events):
        line = event.start_mark.line + 1 if event.start_mark else None
        if count >= MAX_EVENTS:
            raise Invalid(f"more than {MAX_EVENTS} parts", code="yaml", line=line)
        if isinstance(event, yaml.AliasEvent):
            raise Invalid("it holds an alias (*), which is not read", code="yaml", line=line)
        if getattr(event, "tag", None) is not None:
            raise Invalid("it holds a tag (!), which is not read", code="yaml", line=line)
        if isinstance(event, yaml.ScalarEvent):
            large += _LARGE.fullmatch(event.value) is not None
            if large > MAX_LARGE or _LONG.fullmatch(event.value):
                raise Invalid("it holds a number of over 100 digits, or too many large ones", code="yaml", line=line)
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise Invalid(f"nested more than {MAX_DEPTH} levels deep", code="yaml", line=line)
