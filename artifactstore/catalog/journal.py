"""The journal: one record for each transaction that changed what the catalog says, naming the one before"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import rfc8785
import sqlalchemy as sa
from sqlalchemy import Connection

from artifactstore.catalog.base import JournalRecord
from artifactstore.catalog.sql import Database
from artifactstore.catalog.tables import journal, store

T = TypeVar("T")
Action = Mapping[str, Any]
FORMAT = 1


class Journal:
    """What was committed, in order, and what of it the store's own files do not have yet"""

    def __init__(self, database: Database) -> None:
        self._database = database

    def head(self) -> tuple[int, str | None]:
        """Serial and txid of the last record; (0, None) before the first"""
        query = sa.select(store.c.head_serial, store.c.head_txid)
        found = self._database.read(lambda connection: connection.execute(query).one())
        return found.head_serial, found.head_txid

    def knows(self, txid: str) -> bool:
        """Whether this transaction is in the catalog"""
        return self._database.read(lambda connection: knows(connection, txid))

    def begin(self) -> None:
        """A command of this thread starts: what earlier ones were told counts no more"""
        self._database.told.txid = None

    def holds(self) -> bool:
        """Whether what this thread was told since is still in the catalog, which may have been put back meanwhile"""
        txid = self._database.told.txid
        return txid is None or self.knows(txid)

    def pending(self, limit: int = 1000) -> list[JournalRecord]:
        """Records not exported yet, oldest first"""
        return self._records(sa.select(journal).where(~journal.c.exported).order_by(journal.c.serial).limit(limit))

    def log(self, limit: int = 100) -> list[JournalRecord]:
        """The newest records, newest first"""
        return self._records(sa.select(journal).order_by(journal.c.serial.desc()).limit(limit))

    def exported(self, records: Sequence[tuple[int, str]]) -> None:
        """These records (serial, txid) are durable outside the catalog; another in the place of one is not touched"""
        this = (journal.c.serial == sa.bindparam("number"), journal.c.txid == sa.bindparam("name"))
        mark = sa.update(journal).where(*this).values(exported=True)
        named = [{"number": number, "name": name} for number, name in records]
        if named:
            self._database.write(lambda connection: connection.execute(mark, named))

    def _records(self, query: sa.Select[Any]) -> list[JournalRecord]:
        rows = self._database.rows(query)
        return [JournalRecord(row.serial, row.txid, bytes(row.body)) for row in rows]


def knows(connection: Connection, txid: str) -> bool:
    """Whether this transaction is in the catalog"""
    return connection.execute(sa.select(journal.c.serial).where(journal.c.txid == txid)).first() is not None


def lock_head(connection: Connection) -> tuple[int, str | None, str]:
    """(serial, txid, catalog id), held until commit: from here on writers take turns, so keep what follows short"""
    head = connection.execute(sa.select(store).with_for_update()).one()
    return head.head_serial, head.head_txid, head.catalog_id


def append(connection: Connection, txid: str, actions: Sequence[Action], at: int) -> int:
    """Add the record of this transaction, as its last statements; its serial, gapless"""
    last, previous, catalog_id = lock_head(connection)
    serial = last + 1
    body = rfc8785.dumps(
        {
            "format": FORMAT,
            "catalog": catalog_id,
            "serial": serial,
            "txid": txid,
            "previous": previous,
            "at": at,
            "actions": [dict(action) for action in actions],
        }
    )
    row = {"serial": serial, "txid": txid, "previous": previous, "at": at, "body": body, "exported": False}
    connection.execute(sa.insert(journal), row)
    connection.execute(sa.update(store).values(head_serial=serial, head_txid=txid))
    return serial


def record(
    database: Database,
    work: Callable[[Connection, int], tuple[T, Sequence[Action]]],
    *,
    exclusive: bool = False,
) -> tuple[T, int]:
    """Run `work` at a moment, write down the actions it returns beside its result; (result, serial)

    Without actions nothing is written down and the serial is that of the head.
    """
    txid = secrets.token_hex(16)

    def both(connection: Connection) -> tuple[T, int, str | None]:
        at = database.now(connection)
        result, actions = work(connection, at)
        if not actions:
            serial, head, _ = lock_head(connection)
            return result, serial, head
        return result, append(connection, txid, actions, at), txid

    def settle() -> bool:
        def look(connection: Connection) -> bool:
            # waits for the old transaction, which holds the head until it has ended
            lock_head(connection)
            return knows(connection, txid)

        return database.write(look)

    result, serial, database.told.txid = database.write(both, exclusive=exclusive, settle=settle)
    return result, serial
