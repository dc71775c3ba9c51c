"""Filter: what `core/filter` reads, as a condition on versions that is the same on every database

`dtype` is that of any tensor. `parent` is any direct parent: its name, its name:number, the beginning of its id, or
what the version says it came from, with or without a number or revision.

`quantization` is any of: `quantization` in the metadata; `scheme`, `level` and `bits` (4 is q4) in the parameters of a
`quantize` link; dtypes of blocks (Q4_K and its like, of GGUF) and of floats under 16 bits (F8_*, F6_*, F4). Integers
are no sign of it, since ids and masks are integers too.
"""

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from artifactstore.catalog.globs import Glob
from artifactstore.catalog.resolve import prefix_range
from artifactstore.catalog.tables import alias, artifact, link, load, metric, tensor_summary, version, version_pin
from artifactstore.core.digest import Digest
from artifactstore.core.filter import And, Comparison, Expression, Not
from artifactstore.core.filter_keys import EQUAL, Moment, Value
from artifactstore.core.lineage import Relation

Column = sa.ColumnElement[Any]
Truth = sa.ColumnElement[bool]
Test = Callable[[Column], Truth]

_ACTIVE = version.c.state == "active"
_ORDER: Mapping[str, Callable[[Any, Any], Any]] = MappingProxyType(
    {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
)
_QUANTIZED = r"^(I?Q[0-9]|TQ[0-9]|MXFP|NVFP|F[468](_|$))"
_ID = re.compile(r"[0-9a-fA-F]{8,64}")
# SQLite reads JSON from text and has no type to cast it to
_JSON = sa.JSON().with_variant(sa.Text(), "sqlite")


def condition(expression: Expression, now: int) -> Truth:
    """On rows of the table version; never NULL. now: microseconds since 1970 UTC"""
    if isinstance(expression, Comparison):
        return _comparison(expression, now)
    if isinstance(expression, Not):
        return sa.not_(condition(expression.part, now))
    join = sa.and_ if isinstance(expression, And) else sa.or_
    return join(*(condition(part, now) for part in expression.parts))


def matching(connection: Connection, expression: Expression, now: int) -> dict[int, Digest]:
    """Rows and ids of the active versions for which it holds"""
    query = sa.select(version.c.id, version.c.digest).where(_ACTIVE, condition(expression, now))
    return {row: Digest(digest) for row, digest in connection.execute(query)}


def all_hold(expressions: Sequence[Expression], now: int) -> Truth:
    """As `condition`, for a query with joins: beside the cost of a filter, Postgres thinks any join a good one"""
    rows = sa.select(version.c.id).where(_ACTIVE, *(condition(one, now) for one in expressions))
    found = rows.cte("found").prefix_with("MATERIALIZED", dialect="postgresql")
    return version.c.id.in_(sa.select(found.c.id))


def _comparison(asked: Comparison, now: int) -> Truth:
    values = [operand.value for operand in asked.operands if operand.value is not None]
    found = [_fits(asked, values, now)] if values else []
    if len(values) < len(asked.operands):
        found.append(sa.not_(_any(asked, lambda _: sa.true(), now)))
    return sa.not_(sa.or_(*found)) if asked.operator == "!=" else sa.or_(*found)


def _fits(asked: Comparison, values: Sequence[Value], now: int) -> Truth:
    if asked.operator in EQUAL:
        found = _any(asked, _EQUAL.get(asked.key, _is_one_of)(values), now)
        return sa.or_(found, _has_parent(values)) if asked.key == "parent" else found
    (value,) = values
    if asked.operator == "~":
        return _any(asked, _globbed(str(value)), now)
    if isinstance(value, Moment):
        # what is after a day, or not after it, is measured at its end
        sign, edge = {">": (">=", value.end), "<=": ("<", value.end)}.get(asked.operator, (asked.operator, value.start))
        return _any(asked, lambda column: _ORDER[sign](column, _bound(edge)), now)
    return _any(asked, lambda column: _ORDER[asked.operator](column, _bound(value)), now)


def _globbed(glob: str) -> Test:
    return lambda column: column.regexp_match(sa.literal(glob, Glob()))


def _is_one_of(values: Sequence[Value]) -> Test:
    return lambda column: column.in_([_bound(value) for value in values])


def _begins_with(values: Sequence[Value]) -> Test:
    return lambda column: sa.or_(*(column.between(*prefix_range(str(value))) for value in values))


def _holds(values: Sequence[Value]) -> Test:
    return lambda column: sa.or_(*(("," + column + ",").contains(f",{value},", autoescape=True) for value in values))


def _is(values: Sequence[Value]) -> Test:
    return lambda column: column if values[0] else sa.not_(column)


def _is_within(values: Sequence[Value]) -> Test:
    moments = [value for value in values if isinstance(value, Moment)]
    return lambda column: sa.or_(
        *(sa.and_(column >= _bound(moment.start), column < _bound(moment.end)) for moment in moments)
    )


def _is_named(values: Sequence[Value]) -> Test:
    exact = [re.sub(r"[*?[]", r"[\g<0>]", str(value)) for value in values]
    more = [_globbed(glob) for one in exact for glob in (f"{one}:[0-9]*", f"{one}@*")]
    return lambda column: sa.or_(_is_one_of(values)(column), *(test(column) for test in more))


def _has_parent(ids: Sequence[Value]) -> Truth:
    known = [str(one).lower() for one in ids if _ID.fullmatch(str(one))]
    return _exists(link.c.child_id, _begins_with(known)(link.c.parent_digest)) if known else sa.false()


def _bound(value: Value) -> Column:
    # Postgres would cast to the type of the column, which may be too narrow
    if isinstance(value, str):
        return sa.literal(value, sa.Text())
    return sa.literal(value, sa.BigInteger() if isinstance(value, int) else sa.Double())


def _any(asked: Comparison, test: Test, now: int) -> Truth:
    """Whether the key has a value that passes, among those it has"""
    key, name = asked.key, asked.name or ""
    if key == "metric":
        return _exists(metric.c.version_id, metric.c.name == name, metric.c.value.is_not(None), test(metric.c.value))
    if key == "meta":
        return _present(_text_in(version.c.metadata, name), test)
    if key == "pinned":
        lasting = sa.or_(version_pin.c.until.is_(None), version_pin.c.until > _bound(now))
        return test(_exists(version_pin.c.version_id, lasting))
    if key in _SINCE:
        return test(_bound(now) - _SINCE[key])
    return _SEVERAL[key](test) if key in _SEVERAL else _present(_COLUMNS[key], test)


def _present(column: Column, test: Test) -> Truth:
    return sa.and_(column.is_not(None), test(column))


def _exists(owner: Column, *where: Truth) -> Truth:
    return sa.exists().where(owner == version.c.id, *where)


def _parents(test: Test) -> Truth:
    above, line = version.alias("above"), artifact.alias("line")
    known = link.outerjoin(above, above.c.id == link.c.parent_id).outerjoin(line, line.c.id == above.c.artifact_id)
    fits = sa.or_(test(link.c.ref), test(_ref(line.c.name, above.c.number)))
    return sa.exists().select_from(known).where(link.c.child_id == version.c.id, fits)


def _quantization(test: Test) -> Truth:
    def passes(text: Column) -> Truth:
        return _present(text, lambda column: test(sa.func.upper(column)))

    params = link.c.params
    said = sa.or_(
        *(passes(_text_in(params, name)) for name in ("scheme", "level")), passes("q" + _digits_in(params, "bits"))
    )
    return sa.or_(
        passes(_text_in(version.c.metadata, "quantization")),
        _exists(link.c.child_id, link.c.relation == Relation.QUANTIZE.value, said),
        _exists(
            tensor_summary.c.version_id, tensor_summary.c.dtype.regexp_match(_QUANTIZED), passes(tensor_summary.c.dtype)
        ),
    )


def _text_in(document: Column, name: str) -> Column:
    """The text of a member of a JSON object; NULL for none and for what is no text"""
    member = sa.cast(document, _JSON)[name]
    return _readable(document, sa.case((sa.cast(member, sa.Text).startswith('"'), member.as_string())))


def _digits_in(document: Column, name: str) -> Column:
    """A number as it is written there, such as 4"""
    written = sa.cast(sa.cast(document, _JSON)[name], sa.Text)
    return _readable(document, sa.case((written.regexp_match(r"^[0-9]{1,15}$"), written)))


def _readable(document: Column, found: Column) -> Column:
    # Postgres refuses to look into JSON with this anywhere
    return sa.case((sa.not_(document.contains("\\u0000", autoescape=True)), found))


def _ref(name: Column, number: Column) -> Column:
    return name + ":" + sa.cast(number, sa.Text)


_NAME = sa.select(artifact.c.name).where(artifact.c.id == version.c.artifact_id).correlate(version).scalar_subquery()
_LOADED = sa.select(load.c.last_load).where(load.c.version_id == version.c.id).correlate(version).scalar_subquery()
_COLUMNS: Mapping[str, Column] = MappingProxyType(
    {
        "name": _NAME,
        "ref": _ref(_NAME, version.c.number),
        "number": version.c.number,
        "id": version.c.digest,
        "phase": version.c.phase,
        "step": version.c.step,
        "epoch": version.c.epoch,
        "request_id": version.c.request_id,
        "license": version.c.license,
        "size": version.c.nbytes,
        "files": version.c.file_count,
        "tensors": version.c.tensor_count,
        "created": version.c.created,
        "format": version.c.formats,
    }
)
_SINCE: Mapping[str, Column] = MappingProxyType(
    {
        "age": version.c.created,
        "taken": version.c.taken,
        "unused": sa.func.coalesce(_LOADED, version.c.taken),
    }
)
_SEVERAL: Mapping[str, Callable[[Test], Truth]] = MappingProxyType(
    {
        "alias": lambda test: _exists(alias.c.version_id, test(alias.c.name)),
        "relation": lambda test: _exists(link.c.child_id, test(link.c.relation)),
        "dtype": lambda test: _exists(tensor_summary.c.version_id, test(sa.func.upper(tensor_summary.c.dtype))),
        "quantization": _quantization,
        "parent": _parents,
    }
)
# where to be equal is more than that
_EQUAL: Mapping[str, Callable[[Sequence[Value]], Test]] = MappingProxyType(
    {"id": _begins_with, "format": _holds, "pinned": _is, "created": _is_within, "parent": _is_named}
)
