"""Collection: what no version needs is condemned, then named for deletion, then forgotten (docs/protocol.md)"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import Connection, Row, Table

from artifactstore.catalog.base import Doomed, Tally
from artifactstore.catalog.batches import CHUNK, chunks, select_in
from artifactstore.catalog.journal import Action, record
from artifactstore.catalog.objects import is_apart
from artifactstore.catalog.sql import Database
from artifactstore.catalog.tables import (
    blob,
    lease,
    lease_pin,
    manifest,
    store,
    version,
    version_blob,
)
from artifactstore.catalog.version_write import forget, memory
from artifactstore.core.digest import Digest

Name = tuple[str, Digest, str]
# rows of version_blob that one transaction of `release` takes away
_RELEASED = 50_000
_TABLES = {"blob": blob, "manifest": manifest}


class Collections:
    """Steps of a collection, each a transaction; any number of collectors may run them at once"""

    def __init__(self, database: Database) -> None:
        self._database = database

    def rebuilt_at(self) -> int | None:
        """When this catalog was rebuilt, microseconds since 1970 UTC by the database's clock"""
        query = sa.select(store.c.rebuilt_at)
        found: int | None = self._database.read(lambda connection: connection.execute(query).scalar())
        return found

    def total(self) -> Tally:
        """Blobs with a row in any state, and their bytes at rest"""
        return self._tally(blob, sa.true())

    def due(self, grace: int) -> Tally:
        """Condemned blobs whose grace, in microseconds, is over, and those whose deletion was decided already"""

        def work(connection: Connection) -> Tally:
            return _tally(connection, blob, _is_due(blob, self._database.now(connection) - grace))

        return self._database.read(work)

    def waiting(self) -> tuple[Tally, int | None]:
        """Condemned blobs, and when the first of them was condemned"""

        def work(connection: Connection) -> tuple[Tally, int | None]:
            first = sa.select(sa.func.min(blob.c.condemned_at)).where(is_apart(blob, "condemned"))
            return _tally(connection, blob, is_apart(blob, "condemned")), connection.execute(first).scalar()

        return self._database.read(work)

    def release(self) -> int:
        """Let retired versions give up some of the blobs they hold; how many, 0 when there are none left

        Not journaled: it follows from the retirement, and an undo takes them again.
        """
        held = sa.exists().where(version_blob.c.version_id == version.c.id)
        some = sa.select(version.c.id).where(version.c.state == "retired", held).order_by(version.c.id)

        def work(connection: Connection) -> int:
            done = 0
            for row in connection.execute(some.limit(CHUNK)).scalars().all():
                gone = sa.delete(version_blob).where(version_blob.c.version_id == row)
                done += connection.execute(gone).rowcount
                if done >= _RELEASED:
                    break
            return done

        return self._database.write(work, exclusive=True)

    def condemn(self) -> Tally:
        """Step 1: what is live and needed by nothing is condemned from now on"""
        count = nbytes = 0
        for table in (manifest, blob):
            # selected outside, then asked again in the transaction that writes
            for chunk in chunks(self._database.read(partial(self._idle, table))):
                done = self._condemn(table, chunk)
                if table is blob:
                    count, nbytes = count + done.count, nbytes + done.nbytes
        return Tally(count, nbytes)

    def doom(self, owner: str, grace: int) -> list[Doomed]:
        """Step 2: decide that some condemned objects go, and say so in the journal; none when nothing is due

        owner: the lease of this collector. grace: microseconds since they were condemned.
        """

        def work(connection: Connection, at: int) -> tuple[list[Doomed], list[Action]]:
            # manifests first, so that a version is never half here when somebody wants it back
            for table in (manifest, blob):
                due = (is_apart(table, "condemned"), table.c.condemned_at <= at - grace, _needless(table))
                rows = _named(connection, table, sa.and_(*due))
                if rows:
                    return _doomed(table, rows), _intend(connection, table, rows, owner, at)
            return [], []

        return record(self._database, work, exclusive=True)[0]

    def resume(self, owner: str) -> list[Doomed]:
        """Take over some deletions that a collector whose lease has ended did not finish; their intent is journaled"""

        def work(connection: Connection) -> list[Doomed]:
            for table in (manifest, blob):
                ended = ~sa.exists().where(lease.c.id == table.c.owner, lease.c.state == "active")
                rows = _named(connection, table, sa.and_(is_apart(table, "deleting"), ended))
                if rows:
                    _take(connection, table, rows, owner)
                    return _doomed(table, rows)
            return []

        return self._database.write(work, exclusive=True)

    def decided(self, owner: str, doomed: Sequence[Doomed]) -> bool:
        """Whether the catalog still says that this collector deletes exactly these"""

        def work(connection: Connection) -> int:
            count = 0
            for kind, table in _TABLES.items():
                incs = {one.inc for one in doomed if one.kind == kind}
                mine = sa.select(table.c.inc).where(is_apart(table, "deleting"), table.c.owner == owner)
                count += sum(row.inc in incs for row in connection.execute(mine))
            return count

        return self._database.read(work) == len(doomed)

    def drop(self, doomed: Sequence[Doomed]) -> None:
        """Step 4: forget objects that are gone; those exact incarnations only"""

        def work(connection: Connection) -> None:
            for kind, table in _TABLES.items():
                exactly = [{"of": one.digest, "was": one.inc} for one in doomed if one.kind == kind]
                if exactly:
                    here = (table.c.digest == sa.bindparam("of"), table.c.inc == sa.bindparam("was"))
                    connection.execute(sa.delete(table).where(table.c.state == "deleting", *here), exactly)

        self._database.write(work, exclusive=True)

    def orphans(self, names: Sequence[Name]) -> set[Name]:
        """Step 5, of names (kind, digest, incarnation) listed before: those without a row or an active lease's pin"""
        return self._database.read(lambda connection: _unknown(connection, names))

    def disown(self, names: Sequence[Name]) -> set[Name]:
        """Decide that orphans go, those that still are, and say so in the journal"""

        def work(connection: Connection, _at: int) -> tuple[set[Name], list[Action]]:
            gone = _unknown(connection, names)
            named = {
                f"{kind}s": [[str(digest), inc] for of, digest, inc in sorted(gone) if of == kind] for kind in _TABLES
            }
            intent = {"do": "intent"} | {what: objects for what, objects in named.items() if objects}
            return gone, [intent] if gone else []

        return record(self._database, work, exclusive=True)[0]

    def unneeded(self) -> list[Doomed]:
        """Damaged objects that no version needs any more"""
        return [
            one
            for table in (manifest, blob)
            for one in _doomed(table, self._database.rows(_columns(table).where(*_useless(table))))
        ]

    def give_up(self, owner: str, aside: Sequence[Doomed]) -> None:
        """Decide that damaged objects go, whose bytes lie in quarantine now; the next steps are those of `doom`"""

        def work(connection: Connection, at: int) -> tuple[None, list[Action]]:
            actions: list[Action] = []
            for kind, table in _TABLES.items():
                incs = [one.inc for one in aside if one.kind == kind]
                query = _columns(table).where(*_useless(table))
                for rows in map(list, chunks(list(select_in(connection, query, table.c.inc, incs)))):
                    actions += _intend(connection, table, rows, owner, at)
            return None, actions

        record(self._database, work, exclusive=True)

    def _idle(self, table: Table, connection: Connection) -> Sequence[int]:
        idle = _is_idle(table, self._database.now(connection))
        return connection.execute(sa.select(table.c.id).where(*idle).order_by(table.c.id)).scalars().all()

    def _condemn(self, table: Table, ids: Sequence[int]) -> Tally:
        def work(connection: Connection) -> Tally:
            now = self._database.now(connection)
            still = (table.c.id.in_(ids), *_is_idle(table, now))
            tally = _tally(connection, table, sa.and_(*still))
            values = {"state": "condemned", "condemned_at": now}
            connection.execute(sa.update(table).where(*still).values(**values))
            return tally

        return self._database.write(work, exclusive=True)

    def _tally(self, table: Table, where: sa.ColumnElement[bool]) -> Tally:
        return self._database.read(lambda connection: _tally(connection, table, where))


def _unknown(connection: Connection, names: Sequence[Name]) -> set[Name]:
    known: set[tuple[str, bytes, str]] = set()
    for kind, table in _TABLES.items():
        digests = [digest for of, digest, _ in names if of == kind]
        pinned = sa.select(lease_pin.c.digest, lease_pin.c.inc).where(_of_active_lease())
        for rows, column in ((sa.select(table.c.digest, table.c.inc), table.c.digest), (pinned, lease_pin.c.digest)):
            known.update((kind, row.digest, row.inc) for row in select_in(connection, rows, column, digests))
    return {name for name in names if name not in known}


def _of_active_lease() -> sa.ColumnElement[bool]:
    return sa.exists().where(lease.c.id == lease_pin.c.lease_id, lease.c.state == "active")


def _needless(table: Table) -> sa.ColumnElement[bool]:
    """No version needs it, no lease pins it, no object in any state is a delta of it"""
    based = table.alias("based")
    # of any incarnation: a repair may have set another one since, and the lease counts on the digest
    pinned = sa.exists().where(lease_pin.c.digest == table.c.digest, _of_active_lease())
    if table is blob:
        needed = sa.exists().where(version_blob.c.blob_id == table.c.id)
    else:
        needed = sa.exists().where(version.c.digest == table.c.digest, version.c.state == "active")
    return ~needed & ~pinned & ~sa.exists().where(based.c.base == table.c.digest)


def _is_idle(table: Table, now: int) -> tuple[sa.ColumnElement[bool], ...]:
    """Live and needless; also what was condemned while the clock ran ahead, and would wait for that time"""
    ahead = sa.and_(table.c.state == "condemned", table.c.condemned_at > now)
    return sa.or_(table.c.state == "live", ahead), _needless(table)


def _is_due(table: Table, until: int) -> sa.ColumnElement[bool]:
    condemned = sa.and_(is_apart(table, "condemned"), table.c.condemned_at <= until)
    return sa.or_(condemned, is_apart(table, "deleting"))


def _tally(connection: Connection, table: Table, where: sa.ColumnElement[bool]) -> Tally:
    count, nbytes = sa.func.count(), sa.func.coalesce(sa.func.sum(table.c.stored_size), 0)
    found = connection.execute(sa.select(count, nbytes).where(where)).one()
    return Tally(found[0], int(found[1]))


def _columns(table: Table) -> sa.Select[Any]:
    return sa.select(table.c.id, table.c.digest, table.c.inc, table.c.key, table.c.stored_size)


def _named(connection: Connection, table: Table, where: sa.ColumnElement[bool]) -> Sequence[Row[Any]]:
    return connection.execute(_columns(table).where(where).order_by(table.c.id).limit(CHUNK)).all()


def _useless(table: Table) -> tuple[sa.ColumnElement[bool], ...]:
    return is_apart(table, "damaged"), _needless(table)


def _intend(connection: Connection, table: Table, rows: Sequence[Row[Any]], owner: str, at: int) -> list[Action]:
    _take(connection, table, rows, owner)
    memories = _forget(connection, rows, at) if table is manifest else []
    names = [[str(Digest(row.digest)), row.inc] for row in rows]
    return [*memories, {"do": "intent", f"{table.name}s": names}]


def _take(connection: Connection, table: Table, rows: Sequence[Row[Any]], owner: str) -> None:
    mine = sa.update(table).where(table.c.id.in_([row.id for row in rows]))
    connection.execute(mine.values(state="deleting", owner=owner))


def _doomed(table: Table, rows: Sequence[Row[Any]]) -> list[Doomed]:
    kind: Literal["blob", "manifest"] = "blob" if table is blob else "manifest"
    return [Doomed(kind, Digest(row.digest), row.inc, row.key, row.stored_size) for row in rows]


def _forget(connection: Connection, rows: Sequence[Row[Any]], at: int) -> list[Action]:
    """Remember in the catalog and the journal what only a manifest that goes knows of its version"""
    query = sa.select(version).where(version.c.state == "retired", version.c.swept_at.is_(None))
    actions: list[Action] = []
    for row in select_in(connection, query, version.c.digest, [row.digest for row in rows]):
        actions.append({"do": "forget", **memory(connection, row)})
        forget(connection, row.id, at)
    return actions
