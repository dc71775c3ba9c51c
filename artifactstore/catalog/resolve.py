"""References: every way a person's text can be read, and the one version it means"""

import difflib
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from artifactstore.catalog.base import VersionInfo
from artifactstore.catalog.tables import alias, artifact, version
from artifactstore.catalog.version_rows import select_infos, version_info
from artifactstore.core.errors import Invalid, NotFound
from artifactstore.core.names import Reference

_ACTIVE = version.c.state == "active"
_SHOWN = 5


def resolve(connection: Connection, ref: Reference) -> VersionInfo:
    """Raise NotFound with close names, Invalid when several versions are meant"""
    rows: dict[int, None] = dict.fromkeys(
        row for query in _readings(ref) for row in connection.execute(query).scalars().all()
    )
    if len(rows) > 1:
        found = select_infos(connection, version.c.id.in_(rows))
        names = [f"{one.ref} ({str(one.id)[:12]})" for one in found[:_SHOWN]]
        more = ", …" if len(rows) > _SHOWN else ""
        raise Invalid(
            f"{ref.text!r} is ambiguous: {', '.join(names)}{more}; name one of them",
            code="ambiguous",
            versions=[one.ref for one in found[:_SHOWN]],
        )
    if not rows:
        raise _missing(connection, ref)
    (row,) = rows
    return version_info(connection, row)


def prefix_range(prefix: str) -> tuple[bytes, bytes]:
    """The smallest and largest 32 bytes whose hex digits start with `prefix`"""
    return bytes.fromhex(prefix.ljust(64, "0")), bytes.fromhex(prefix.ljust(64, "f"))


def _readings(ref: Reference) -> Iterator[sa.Select[Any]]:
    query = sa.select(version.c.id).where(_ACTIVE)
    # a request id may look like anything else
    yield _newest(query.where(version.c.request_id == ref.text))
    if ref.prefix is not None:
        # two are enough to know that it is ambiguous, some more to show
        yield query.where(version.c.digest.between(*prefix_range(ref.prefix))).limit(_SHOWN + 1)
    if ref.artifact is None:
        return
    query = query.join(artifact, artifact.c.id == version.c.artifact_id).where(artifact.c.name == ref.artifact)
    if ref.alias is not None:
        yield query.join(alias, alias.c.version_id == version.c.id).where(alias.c.name == ref.alias)
    elif ref.number is None:
        yield _newest(query)
    elif ref.number < 1 << 31:
        yield query.where(version.c.number == ref.number)


def _newest(query: sa.Select[Any]) -> sa.Select[Any]:
    return query.order_by(version.c.id.desc()).limit(1)


def _missing(connection: Connection, ref: Reference) -> NotFound:
    close = _close(connection, ref)
    hint = f"; did you mean {' or '.join(close)}?" if close else ""
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
