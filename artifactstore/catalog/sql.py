"""Transactions: begun, locked, retried and settled the way the protocol wants them, on SQLite and Postgres"""

import hashlib
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection, Row, Select
from sqlalchemy.exc import DBAPIError

from artifactstore.catalog.engine import BEGIN, Engines
from artifactstore.catalog.tables import lease
from artifactstore.catalog.translate import damaged, is_in_doubt, is_locked, is_shut, is_transient, translate
from artifactstore.catalog.url import parse_url
from artifactstore.core.errors import Denied, Offline, Unavailable
from artifactstore.core.settings import Settings

T = TypeVar("T")
ATTEMPTS = 5
_LOOKS = 3
# advisory locks are per database; catalogs in several schemas of one share it, which only makes them wait
_LOCK = int.from_bytes(hashlib.sha256(b"artifactstore catalog").digest()[:8], "big", signed=True)


class Told(threading.local):
    """What each thread was told last. txid: of its last record, or of the newest when it had nothing to record"""

    txid: str | None = None


class Database:
    """One catalog's rows, reached by whole transactions only: `read` and `write` run a function inside one

    The function may run several times; nothing but its return value may leave it.
    """

    def __init__(self, url: str, settings: Settings, *, read_only: bool = False, create: bool = False) -> None:
        self.url = parse_url(url)
        if settings.offline and self.url.file is None:
            raise Offline(
                f"Catalog {self.url.shown} is on a server, and no socket may be opened; run it without --offline, "
                "or use a store that has its catalog in a file",
                url=self.url.shown,
            )
        self.settings = settings
        self.read_only = read_only
        self.engines = Engines(self.url, busy=settings.busy, read_only=read_only, create=create)
        self.is_postgres = self.url.file is None
        self.told = Told()

    def read(self, work: Callable[[Connection], T]) -> T:
        """The result of `work` on one snapshot of the catalog"""

        def once() -> T:
            with self._connected() as connection, connection.begin():
                if self.is_postgres:
                    connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                return work(connection)

        looks = 0
        while True:
            stamp = self.engines.settle(wait=looks >= _LOOKS)
            looks += 1
            try:
                result = self._again(once)
            except Exception:
                # what is half old and half new can look like anything
                if self.engines.holds(stamp):
                    raise
            else:
                if self.engines.holds(stamp):
                    return result

    def rows(self, query: Select[Any]) -> Sequence[Row[Any]]:
        """The rows of one query"""
        return self.read(lambda connection: connection.execute(query).all())

    def write(
        self,
        work: Callable[[Connection], T],
        *,
        exclusive: bool = False,
        settle: Callable[[], bool] | None = None,
    ) -> T:
        """The result of `work`, committed; `exclusive` (collect, undo, quarantine, repack) runs beside no other writer

        settle finds out whether a COMMIT that raised did commit; without it `work` must be harmless to run twice.
        Raises Denied on a catalog opened to be read.
        """
        if self.read_only:
            raise Denied(f"Catalog {self.url.shown} was opened to be read only", catalog=self.url.shown)
        return self._again(lambda: self._write_once(work, exclusive, settle))

    def now(self, connection: Connection) -> int:
        """Microseconds since 1970 UTC by the clock of the database, the only one leases go by (R9)"""
        if not self.is_postgres:
            return time.time_ns() // 1000
        moment = connection.exec_driver_sql("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")
        return int(moment.scalar_one())

    def use_wal(self) -> None:
        """Have SQLite write ahead, which the file remembers; nothing on Postgres"""

        def once() -> None:
            with self._connected("") as connection:
                connection.exec_driver_sql("PRAGMA journal_mode=WAL")

        if not self.is_postgres:
            self._again(once)

    def close(self) -> None:
        """Close the connections of this process"""
        self.engines.close()

    def _write_once(self, work: Callable[[Connection], T], exclusive: bool, settle: Callable[[], bool] | None) -> T:  # noqa: FBT001  # private
        doubt = None
        # a deferred BEGIN that later writes fails at once with BUSY_SNAPSHOT
        with self._connected("BEGIN IMMEDIATE") as connection:
            transaction = connection.begin()
            if self.is_postgres:
                _lock(connection, self.settings.busy, exclusive=exclusive)
            result = work(connection)
            try:
                transaction.commit()
            except DBAPIError as e:
                if settle is None or not is_in_doubt(e):
                    raise
                doubt = e
        if doubt is not None and settle is not None and not self._settled(settle):
            raise doubt
        return result

    def _settled(self, settle: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + self.settings.busy.total_seconds()
        while True:
            try:
                return settle()
            except Unavailable as e:
                if time.monotonic() > deadline:
                    raise Unavailable(
                        f"Catalog {self.url.shown} went away during a commit, and it is not known whether it took "
                        "place; nothing was removed, try again when it is back",
                        code="commit-unknown",
                        doubt=True,
                        catalog=self.url.shown,
                    ) from e
                time.sleep(0.05)

    @contextmanager
    def _connected(self, begin: str = "BEGIN") -> Iterator[Connection]:
        with self.engines.engine().connect() as connection:
            yield connection.execution_options(**{BEGIN: begin})

    def _again(self, once: Callable[[], T]) -> T:
        attempt = 1
        while True:
            try:
                return once()
            except DBAPIError as e:
                if not (attempt < ATTEMPTS and is_transient(e)) and not (is_shut(e) and self.engines.shut()):
                    raise translate(e, self.url, self._holders() if is_locked(e) else ()) from e
            except UnicodeDecodeError as e:
                raise damaged(self.url) from e
            # apart from the others that failed at the same moment
            time.sleep(0.005 * 2**attempt * random.random())  # noqa: S311
            attempt += 1

    def _holders(self) -> list[str]:
        columns = (lease.c.kind, lease.c.pid, lease.c.host)
        query = sa.select(*columns).where(lease.c.state == "active").order_by(lease.c.expires_at.desc()).limit(3)
        try:
            with self._connected() as connection:
                return [f"{kind} (process {pid} on {host})" for kind, pid, host in connection.execute(query)]
        except DBAPIError:
            return []


def _lock(connection: Connection, busy: timedelta, *, exclusive: bool) -> None:
    # the transaction's first statement: READ COMMITTED alone broke the protocol even with SELECT … FOR UPDATE
    wait = max(1, round(busy.total_seconds() * 1000))
    kind = "pg_advisory_xact_lock" if exclusive else "pg_advisory_xact_lock_shared"
    connection.exec_driver_sql(f"SELECT set_config('lock_timeout', '{wait}', true), {kind}({_LOCK})")
