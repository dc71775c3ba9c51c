"""References: every way a person's text can be read, and the one version it means"""

import difflib
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from artifactstore.catalog.base import VersionInfo
from artifactstore.catalog.tables import alias, artifact, version
from artifactstore.catalog.version_rows import known_infos, version_info
from artifactstore.core.errors import Invalid, NotFound
from artifactstore.core.names import Reference
from artifactstore.core.units import format_duration

_ACTIVE, _RETIRED = version.c.state == "active", version.c.state == "retired"
_SHOWN = 5


def resolve(connection: Connection, ref: Reference, now: Callable[[Connection], int]) -> VersionInfo:
    """The active version that is meant; now: the clock, microseconds since 1970 UTC

    Raise NotFound with close names, or with what became of one that was retired; Invalid when several are meant.
    """
    row = _row(connection, ref, _readings(ref))
    if row is not None:
        return version_info(connection, row)
    gone = _row(connection, ref, _for_ever(ref, _RETIRED))
    if gone is None:
        raise _missing(connection, ref)
    raise _retired(known_infos(connection, [gone])[0], now(connection))


def resolve_known(connection: Connection, ref: Reference) -> VersionInfo:
    """As `resolve`, and what was retired is found too where the text names one version for ever"""
    row = _row(connection, ref, _readings(ref)) or _row(connection, ref, _for_ever(ref, _RETIRED))
    if row is None:
        raise _missing(connection, ref)
    return known_infos(connection, [row])[0]


def prefix_range(prefix: str) -> tuple[bytes, bytes]:
    """The smallest and largest 32 bytes whose hex digits start with `prefix`"""
    return bytes.fromhex(prefix.ljust(64, "0")), bytes.fromhex(prefix.ljust(64, "f"))


def _row(connection: Connection, ref: Reference, readings: Iterator[sa.Select[Any]]) -> int | None:
    rows = list(dict.fromkeys(row for query in readings for row in connection.execute(query).scalars().all()))
    if len(rows) > 1:
        raise _ambiguous(ref, known_infos(connection, rows))
    return rows[0] if rows else None


def _readings(ref: Reference) -> Iterator[sa.Select[Any]]:
    yield from _for_ever(ref, _ACTIVE)
    if ref.artifact is None:
        return
    query = _of(ref).where(_ACTIVE)
    if ref.alias is not None:
        yield query.join(alias, alias.c.version_id == version.c.id).where(alias.c.name == ref.alias)
    elif ref.number is None:
        yield _newest(query)


def _for_ever(ref: Reference, state: sa.ColumnElement[bool]) -> Iterator[sa.Select[Any]]:
    """The readings that mean the same version whatever comes later; of a request id nearly so"""
    query = sa.select(version.c.id).where(state)
    # a request id may look like anything else
    yield _newest(query.where(version.c.request_id == ref.text))
    if ref.prefix is not None:
        # two are enough to know that it is ambiguous, some more to show
        yield query.where(version.c.digest.between(*prefix_range(ref.prefix))).limit(_SHOWN + 1)
    if ref.number is not None and ref.number < 1 << 31:
        yield _of(ref).where(state, version.c.number == ref.number)


def _of(ref: Reference) -> sa.Select[Any]:
    return sa.select(version.c.id).join_from(version, artifact).where(artifact.c.name == ref.artifact)


def _newest(query: sa.Select[Any]) -> sa.Select[Any]:
    return query.order_by(version.c.id.desc()).limit(1)


def _ambiguous(ref: Reference, found: Sequence[VersionInfo]) -> Invalid:
    names = [f"{one.ref} ({str(one.id)[:12]})" for one in found[:_SHOWN]]
    more = ", …" if len(found) > _SHOWN else ""
    return Invalid(
        f"{ref.text!r} is ambiguous: {', '.join(names)}{more}; name one of them",
        code="ambiguous",
        versions=[one.ref for one in found[:_SHOWN]],
    )


def _retired(info: VersionInfo, now: int) -> NotFound:
    how = info.retired
    assert how is not None
    when = "" if how.at is None else f" {format_duration(timedelta(microseconds=now - how.at))} ago"
    record = "" if how.serial is None else f" by record {how.serial}"
    why = "" if how.why is None else f" ({how.why})"
    facts = {"version": str(info.id), "ref": info.ref, "serial": how.serial, "why": how.why}
    told = f"{info.ref} was retired{when}{record}{why}"
    if how.swept is not None:
        day = f"{datetime.fromtimestamp(how.swept / 1e6, UTC):%Y-%m-%d}"
        advice = f", and its bytes are gone since {day}; take it from a mirror or bundle"
        return NotFound(told + advice, code="swept", **facts)
    advice = "see artstore log" if how.serial is None else f"bring it back with: artstore undo {how.serial}"
    return NotFound(f"{told}; {advice}", code="retired", **facts)


def _missing(connection: Connection, ref: Reference) -> NotFound:
    close = _close(connection, ref)
    hint = f"; did you mean {' or '.join(close)}?" if close else "; see artstore ls"
    return NotFound(f"Nothing here is called {ref.text!r}{hint}", code="version", ref=ref.text, close=close)


def _close(connection: Connection, ref: Reference) -> list[str]:
    known = list(connection.execute(sa.select(artifact.c.name)).scalars())
    if ref.artifact is not None and ref.artifact in known:
        here = artifact.c.name == ref.artifact
        if ref.alias is not None:
            query = sa.select(alias.c.name).join_from(alias, artifact).where(here)
            names = connection.execute(query).scalars().all()
            return [f"{ref.artifact}@{name}" for name in difflib.get_close_matches(ref.alias, names, 3)]
        newest = sa.select(sa.func.max(version.c.number)).join_from(version, artifact).where(here, _ACTIVE)
        number = connection.execute(newest).scalar()
        return [] if number is None else [f"{ref.artifact}:{number}"]
    return difflib.get_close_matches(ref.artifact or ref.text, known, 3)
