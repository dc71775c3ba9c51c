"""Filters on any rows: both databases say what the words on filters say in plain Python"""

import fnmatch
import json
import operator
import re

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from artifactstore.catalog.filter import matching
from artifactstore.core.filter import And, Comparison, Not
from artifactstore.core.filter_keys import Moment
from artifactstore.core.lineage import Relation
from tests.catalog.samples import ASKED, IDS, NOW, fill, samples
from tests.faults.scale import choose

ORDERS = {"=": operator.eq, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


def holds(asked, one, world):
    """What the words on filters say, in plain Python"""
    if isinstance(asked, Not):
        return not holds(asked.part, one, world)
    if isinstance(asked, Comparison):
        fits = [_fits(asked, operand.value, one, world) for operand in asked.operands]
        return not fits[0] if asked.operator == "!=" else any(fits)
    return (all if isinstance(asked, And) else any)(holds(part, one, world) for part in asked.parts)


def _fits(asked, value, one, world):
    key, sign = asked.key, {"!=": "=", "in": "="}.get(asked.operator, asked.operator)
    values = [each for each in _values(asked, one, world) if each is not None]
    if value is None:
        return not values
    if sign == "~":
        return any(fnmatch.fnmatchcase(each, value) for each in values)
    if key == "id":
        return str(one.digest).startswith(value)
    if key == "parent":
        said = any(re.fullmatch(rf"{re.escape(value)}((:[0-9]|@).*)?", each, re.DOTALL) for each in values)
        ids = [str(digest) for *_, digest, _ in one.links if digest is not None]
        return said or (len(value) > 7 and any(each.startswith(value.lower()) for each in ids))
    if isinstance(value, Moment):
        last = value.end - 1
        within = {"=": value.start <= one.created <= last, ">": one.created > last, "<=": one.created <= last}
        return within[sign] if sign in within else ORDERS[sign](one.created, value.start)
    return any(ORDERS[sign](each, value) for each in values)


def _values(asked, one, world):
    if asked.key == "metric":
        return [one.metrics.get(asked.name)]
    if asked.key == "meta":
        return [_text(one.metadata, asked.name)]
    several = {
        "alias": lambda: one.aliases,
        "dtype": lambda: [dtype.upper() for dtype in one.dtypes],
        "format": lambda: one.formats,
        "relation": lambda: [str(relation) for relation, *_ in one.links],
        "parent": lambda: (
            [ref for _, ref, *_ in one.links]
            + [world[parent].ref for _, _, parent, *_ in one.links if parent is not None]
        ),
        "quantization": lambda: [text.upper() for text in _schemes(one) if text is not None],
        "pinned": lambda: [any(end is None or end > NOW for end in one.ends)],
        "size": lambda: [one.nbytes],
        "age": lambda: [NOW - one.created],
        "taken": lambda: [NOW - one.taken],
        "unused": lambda: [NOW - (one.taken if one.last_load is None else one.last_load)],
        "id": lambda: [str(one.digest)],
    }
    return several[asked.key]() if asked.key in several else [getattr(one, asked.key)]


def _schemes(one):
    yield _text(one.metadata, "quantization")
    yield from (dtype for dtype in one.dtypes if dtype.startswith(("Q", "F8")))
    for relation, *_, params in one.links:
        if relation == Relation.QUANTIZE:
            yield _text(params, "scheme")
            yield _text(params, "level")
            if isinstance(params.get("bits"), int) and _readable(params):
                yield f"q{params['bits']}"


def _text(document, name):
    value = document.get(name)
    return value if isinstance(value, str) and _readable(document) else None


def _readable(document):
    return "\\u0000" not in json.dumps(document)


def agree(catalog, world, asked):
    def work(connection):
        fill(connection, world)
        return [{IDS.index(one) for one in matching(connection, each, NOW).values()} for each in asked]

    expected = [{one.row for one in world if holds(each, one, world)} for each in asked]
    assert dict(zip(map(str, asked), catalog.database.write(work), strict=True)) == dict(
        zip(map(str, asked), expected, strict=True)
    )


WORLDS = (samples(), st.lists(ASKED, min_size=1, max_size=12, unique=True))
QUIET = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]}


@settings(max_examples=choose(50, 2000), **QUIET)
@given(*WORLDS)
def test_sqlite_says_what_python_says(sqlite_catalog, world, asked):
    agree(sqlite_catalog, world, asked)


@settings(max_examples=choose(25, 1000), **QUIET)
@given(*WORLDS)
def test_postgres_says_what_python_says(postgres_catalog, world, asked):
    agree(postgres_catalog, world, asked)
