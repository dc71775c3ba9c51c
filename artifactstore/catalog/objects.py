"""Rows of physical objects, blobs and manifests alike: found, adopted, or set to what a lease wrote"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import Connection, Row, Table

from artifactstore.catalog.base import Grant, Place, Written
from artifactstore.catalog.batches import chunks, insert_new, select_in
from artifactstore.core.digest import Digest
from artifactstore.core.errors import Invalid, LeaseLost

PRESENT = ("live", "condemned")
GONE = ("deleting", "damaged")


def is_apart(table: Table, state: Literal["condemned", "deleting", "damaged"]) -> sa.ColumnElement[bool]:
    """Whether an object is in a state that few are in, in words by which SQLite finds the index of those few"""
    return sa.and_(table.c.state == state, table.c.state != sa.literal_column("'live'"))


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of one object at a commit: the catalog's row for it, and the incarnation that now counts"""

    row: int
    grant: Grant
    inc: str
    how: Literal["set", "adopted"]

    @property
    def lost(self) -> bool:
        """We wrote an object that another incarnation made needless"""
        return self.grant.upload and self.grant.inc != self.inc

    def to_json(self) -> list[str]:
        """As a journal names it"""
        return [str(self.grant.digest), self.inc, self.how]


def find(connection: Connection, table: Table, digests: Sequence[bytes]) -> dict[bytes, Row[Any]]:
    """Rows by digest"""
    columns = (table.c.id, table.c.digest, table.c.inc, table.c.state, table.c.base)
    return {row.digest: row for row in select_in(connection, sa.select(*columns), table.c.digest, digests)}


def settle(connection: Connection, table: Table, written: Sequence[Written], suffix: str = "") -> list[Settled]:
    """Step D: live and condemned rows are adopted and set live, absent, deleting and damaged ones become ours

    Raises LeaseLost when an object we relied on is gone, Invalid for a key that is not the object's own.
    """
    digests = [each.grant.digest for each in written]
    before = find(connection, table, digests)
    absent = sorted((each for each in written if each.grant.digest not in before), key=_digest)
    gone = sorted((each for each in written if _state(before, each) in GONE), key=_digest)
    for each in (*absent, *gone):
        _check_ours(each, suffix)
    revive(connection, table, [before[one.grant.digest] for one in written if one.grant.digest in before])
    insert_new(connection, table, [{"digest": each.grant.digest, **_values(each)} for each in absent])
    if gone:
        # executemany takes no IN
        is_gone = sa.or_(*(table.c.state == state for state in GONE))
        ours = sa.update(table).where(table.c.digest == sa.bindparam("of"), is_gone)
        connection.execute(ours, [{"of": each.grant.digest, **_values(each)} for each in gone])
    # another saver may have been first with the same digest: what the rows say now is what counts
    mine = {each.grant.digest for each in (*absent, *gone)}
    rows = before | find(connection, table, list(mine))
    return [_settled(rows[each.grant.digest], each.grant, written=each.grant.digest in mine) for each in written]


def revive(connection: Connection, table: Table, rows: Iterable[Row[Any]]) -> None:
    """Set live which of these rows are condemned"""
    for chunk in chunks([row.id for row in rows if row.state == "condemned"]):
        connection.execute(sa.update(table).where(table.c.id.in_(chunk)).values(state="live", condemned_at=None))


def _settled(row: Row[Any], grant: Grant, *, written: bool) -> Settled:
    return Settled(row.id, grant, row.inc, "set" if written and row.inc == grant.inc else "adopted")


def _digest(written: Written) -> bytes:
    return written.grant.digest


def _state(rows: dict[bytes, Row[Any]], written: Written) -> str | None:
    row = rows.get(written.grant.digest)
    return None if row is None else row.state


def _check_ours(written: Written, suffix: str) -> None:
    grant = written.grant
    if not grant.upload:
        raise LeaseLost(
            f"{grant.digest} was there when this write began and is damaged or gone now; the write starts again",
            digest=str(grant.digest),
        )
    if written.key.rpartition("/")[2] != f"{grant.digest}.{grant.inc}{suffix}":
        raise Invalid(
            f"Key {written.key:.200} is not that of {grant.digest}.{grant.inc} (R3)", code="key", key=written.key
        )


def _values(written: Written) -> dict[str, Any]:
    return {
        "inc": written.grant.inc,
        "size": written.size,
        "stored_size": written.size,
        "codec": None,
        "base": None,
        "key": written.key,
        "start": 0,
        "state": "live",
        "condemned_at": None,
        "owner": None,
        "checked_at": None,
    }


def place_query(table: Table) -> sa.Select[Any]:
    """What `to_place` reads"""
    names = ("id", "digest", "inc", "size", "stored_size", "key", "start", "state")
    return sa.select(*(table.c[name] for name in names))


def to_place(row: Row[Any]) -> Place:
    """The place that a row of `place_query` describes"""
    return Place(Digest(row.digest), row.inc, row.size, row.stored_size, row.key, row.start, row.state)
