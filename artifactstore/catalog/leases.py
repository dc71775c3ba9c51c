"""Leases: who is at work, and what must not go away meanwhile"""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy import Connection, Table

from artifactstore.catalog.base import Grant, LeaseInfo
from artifactstore.catalog.batches import insert_new, select_in
from artifactstore.catalog.objects import PRESENT, find
from artifactstore.catalog.sql import Database
from artifactstore.catalog.tables import blob, lease, lease_hold, lease_pin, manifest, version
from artifactstore.catalog.version_rows import active_row
from artifactstore.core.digest import Digest
from artifactstore.core.errors import Exists, LeaseLost, Refused

_DAY = 86_400_000_000
_FORGET = 7 * _DAY


class Leases:
    """Opened for a while, extended by a heartbeat, ended only by a committed write (R6)"""

    def __init__(self, database: Database) -> None:
        self._database = database

    def open(self, lease_id: str, *, host: str, pid: int, kind: str) -> None:
        """A new active lease; raise Exists when the id was used before"""

        def work(connection: Connection) -> None:
            ours = {"id": lease_id, "host": host, "pid": pid, "kind": kind, "state": "active"}
            insert_new(connection, lease, [{**ours, "expires_at": self._end(connection)}])
            found = connection.execute(sa.select(lease).where(lease.c.id == lease_id)).mappings().one()
            if {name: found[name] for name in ours} != ours:
                raise Exists(f"Lease {lease_id} was used before", code="lease", lease=lease_id)

        self._database.write(work)

    def extend(self, lease_id: str) -> bool:
        """The heartbeat; False when the lease is no longer active"""
        return self._database.write(lambda connection: _change(connection, lease_id, expires_at=self._end(connection)))

    def finish(self, lease_id: str) -> None:
        """Its work is done or given up; nothing happens when it has ended already"""
        self._end_one(lease_id, "done")

    def reap(self, lease_id: str) -> bool:
        """End an active lease from outside; False when it was not active"""
        return self._end_one(lease_id, "reaped")

    def is_reaped(self, lease_id: str) -> bool:
        """Whether the lease ended without a commit, which then can never happen"""
        query = sa.select(lease.c.state).where(lease.c.id == lease_id)
        return self._database.read(lambda connection: connection.execute(query).scalar()) == "reaped"

    def expire(self) -> list[str]:
        """Reap every lease whose time is over by the database's clock; their ids (collect, step 0)"""

        def work(connection: Connection) -> list[str]:
            now = self._database.now(connection)
            # opened while the clock ran ahead, it would stay for years; a heartbeat comes long before the day is over
            ahead = sa.update(lease).where(lease.c.state == "active", lease.c.expires_at > now + _DAY)
            connection.execute(ahead.values(expires_at=now + _DAY))
            due = sa.select(lease.c.id).where(lease.c.state == "active", lease.c.expires_at <= now)
            ids = connection.execute(due.order_by(lease.c.id)).scalars().all()
            connection.execute(sa.delete(lease).where(lease.c.state != "active", lease.c.expires_at < now - _FORGET))
            return [one for one in ids if end(connection, one, "reaped")]

        return self._database.write(work)

    def active(self) -> list[LeaseInfo]:
        """Everybody at work, the longest to run first"""
        query = sa.select(lease).where(lease.c.state == "active").order_by(lease.c.expires_at.desc(), lease.c.id)
        rows = self._database.rows(query)
        return [LeaseInfo(row.id, row.host, row.pid, row.kind, row.state, row.expires_at) for row in rows]

    def pin(self, lease_id: str, wanted: Sequence[tuple[Digest, str]]) -> list[Grant]:
        """Step A for blobs: (digest, fresh incarnation) pairs; what is there is pinned as it is, else the fresh one

        Raises LeaseLost when the lease has ended. Nothing may be written under a name that was not granted (R5).
        """
        return self._pin(lease_id, blob, wanted)

    def pin_manifest(self, lease_id: str, wanted: Sequence[tuple[Digest, str]]) -> list[Grant]:
        """Step A for manifests"""
        return self._pin(lease_id, manifest, wanted)

    def hold(self, lease_id: str, version_id: Digest) -> None:
        """A version must stay while it is read; raise NotFound, LeaseLost when the lease has ended"""

        def work(connection: Connection) -> None:
            fence(connection, lease_id)
            insert_new(
                connection, lease_hold, [{"lease_id": lease_id, "version_id": active_row(connection, version_id)}]
            )

        self._database.write(work)

    def hold_parents(self, lease_id: str, versions: Sequence[Digest]) -> None:
        """Those of the versions that are here must stay until the lease ends; raise Refused when one is retired"""

        def work(connection: Connection) -> None:
            fence(connection, lease_id)
            query = sa.select(version.c.id, version.c.digest, version.c.state, version.c.swept_at)
            rows = list(select_in(connection, query, version.c.digest, versions))
            for row in rows:
                if row.state != "active":
                    raise Refused(
                        f"Parent {row.digest.hex()[:12]} was {_fate(row.swept_at)}",
                        code="parent",
                        parent=row.digest.hex(),
                    )
            insert_new(connection, lease_hold, [{"lease_id": lease_id, "version_id": row.id} for row in rows])

        self._database.write(work)

    def _pin(self, lease_id: str, table: Table, wanted: Sequence[tuple[Digest, str]]) -> list[Grant]:
        def work(connection: Connection) -> list[Grant]:
            fence(connection, lease_id)
            rows = find(connection, table, [digest for digest, _ in wanted])
            bases = find(connection, table, [row.base for row in rows.values() if row.base is not None])
            grants = [_grant(digest, inc, rows.get(digest)) for digest, inc in wanted]
            pins = [(grant.digest, grant.inc) for grant in grants] + [(row.digest, row.inc) for row in bases.values()]
            insert_new(
                connection,
                lease_pin,
                [{"lease_id": lease_id, "digest": digest, "inc": inc} for digest, inc in pins],
            )
            return grants

        return self._database.write(work)

    def _end_one(self, lease_id: str, state: str) -> bool:
        return self._database.write(lambda connection: end(connection, lease_id, state))

    def _end(self, connection: Connection) -> int:
        length = self._database.settings.lease
        return self._database.now(connection) + round(length.total_seconds() * 1_000_000)


def _grant(digest: Digest, fresh: str, row: sa.Row[tuple[object, ...]] | None) -> Grant:
    if row is not None and row.state in PRESENT:
        return Grant(digest, row.inc, upload=False)
    return Grant(digest, fresh, upload=True)


def _fate(swept_at: int | None) -> str:
    return "retired; artstore undo may bring it back" if swept_at is None else "swept; add its files again first"


def fence(connection: Connection, lease_id: str) -> None:
    """Raise LeaseLost unless the lease is active, and keep it so until this transaction ends"""
    query = sa.select(lease.c.id).where(lease.c.id == lease_id, lease.c.state == "active")
    if connection.execute(query.with_for_update(read=True)).first() is None:
        raise lost(lease_id)


def end(connection: Connection, lease_id: str, state: str) -> bool:
    """Active to `state`, in exactly one transaction of all that try (R6); its pins and holds end with it"""
    if not _change(connection, lease_id, state=state):
        return False
    for table in (lease_pin, lease_hold):
        connection.execute(sa.delete(table).where(table.c.lease_id == lease_id))
    return True


def end_all(connection: Connection) -> None:
    """End every lease, with its pins and holds: those of a catalog that was restored may not be all there were"""
    connection.execute(sa.update(lease).where(lease.c.state == "active").values(state="reaped"))
    for table in (lease_pin, lease_hold):
        connection.execute(sa.delete(table))


def lost(lease_id: str, *, doubt: bool = False) -> LeaseLost:
    """The error of a write whose lease has ended; doubt: after a COMMIT whose outcome was unknown for a while"""
    message = "The lease of this write has ended; the write starts again with a new one"
    return LeaseLost(message, lease=lease_id, doubt=doubt)


def _change(connection: Connection, lease_id: str, **values: object) -> bool:
    change = sa.update(lease).where(lease.c.id == lease_id, lease.c.state == "active").values(**values)
    return connection.execute(change).rowcount == 1
