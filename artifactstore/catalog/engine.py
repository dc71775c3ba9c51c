"""Connections: one pool per process id, and no SQLite connection ever crosses a fork"""

import os
import sqlite3
import threading
import weakref
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, QueuePool, create_engine, event

from artifactstore.catalog.place import check_file
from artifactstore.catalog.stamp import Stamp
from artifactstore.catalog.url import CatalogUrl
from artifactstore.core.errors import Invalid, Unavailable

BEGIN = "artifactstore_begin"


class _Statements(dict[Any, Any]):
    """What SQLAlchemy has compiled, by statement and not by engine: to compile takes longer than to run

    For engines of one kind, whose dialects are alike; a forked child has what its parent has.
    """

    _MOST = 1000

    def get(self, key: Any, default: Any = None) -> Any:
        _dialect, *statement = key
        return super().get(tuple(statement), default)

    def __setitem__(self, key: Any, compiled: Any) -> None:
        if len(self) >= self._MOST:
            self.clear()
        _dialect, *statement = key
        super().__setitem__(tuple(statement), compiled)


_sqlite_statements, _postgres_statements = _Statements(), _Statements()


class Engines:
    """The engine of one catalog, made anew in a forked child, which never touches the one it inherited"""

    def __init__(self, url: CatalogUrl, *, busy: timedelta, read_only: bool, create: bool) -> None:
        self.url = url
        self.read_only = read_only
        self._busy = busy
        self._create = create
        self._frozen: Stamp | None = None
        self._shut = False
        self._running = False
        self._by_pid: dict[int, Engine] = {}
        if url.file is not None:
            check_file(url.file, network=url.network, create=create)
            _sqlite_engines.add(self)

    def engine(self) -> Engine:
        """The engine of this process"""
        with _gate:
            engine = self._by_pid.get(os.getpid())
            if engine is None:
                engine = self._by_pid[os.getpid()] = self._sqlite() if self.url.file else _postgres(self.url)
            return engine

    def settle(self, *, wait: bool) -> Stamp | None:
        """Make ready to read a file without a trace: its stamp, which has to hold until what was read is believed

        None where SQLite shares the file with whoever writes it: on Postgres, for a writer, while somebody is writing,
        and where `wait` says that too many writes came between.
        """
        if self.url.file is None or not self.read_only:
            return None
        stamp = Stamp.take(self.url.file)
        frozen = stamp if stamp.settled and (self._shut or not wait) else None
        with _gate:
            if frozen != self._frozen:
                self.close()
                self._frozen = frozen
        return frozen

    def holds(self, stamp: Stamp | None) -> bool:
        """Whether what was read under a stamp was there at one moment"""
        return stamp is None or self.url.file is None or Stamp.take(self.url.file) == stamp

    def shut(self) -> bool:
        """SQLite could not make its files beside a catalog: never try again; False where reading without is a guess"""
        if self.url.file is None or not self.read_only or self._shut:
            return False
        self._shut = True
        return self.settle(wait=False) is not None

    def close(self) -> None:
        """Close the idle connections of this process; one in use closes when its transaction ends"""
        engine = self._by_pid.pop(os.getpid(), None)
        if engine is not None:
            pool = engine.pool
            self._running = isinstance(pool, QueuePool) and pool.checkedout() > 0
            engine.dispose()

    def forked(self) -> None:
        """In a child: remember that another thread of the parent was in the middle of a transaction"""
        if self._running and self.url.file is not None:
            _torn.add(self.url.file)

    def _sqlite(self) -> Engine:
        if self.url.file in _torn:
            raise Unavailable(
                f"This process was forked in the middle of a transaction on {self.url.shown}; start it afresh",
                code="forked",
            )
        engine = create_engine(
            self.url.url,
            creator=self._connect,
            poolclass=QueuePool,
            max_overflow=-1,
            hide_parameters=True,
            execution_options={"compiled_cache": _sqlite_statements},
        )
        event.listen(engine, "begin", _begin)
        return engine

    def _connect(self) -> sqlite3.Connection:
        mode = "ro" if self.read_only else "rwc" if self._create else "rw"
        uri = f"file:{quote(str(self.url.file))}?mode={mode}{'&immutable=1' * (self._frozen is not None)}"
        with _gate:
            connection = sqlite3.connect(
                uri, uri=True, timeout=self._busy.total_seconds(), isolation_level=None, check_same_thread=False
            )
        # FULL: NORMAL lost acknowledged saves in power cuts. 64 MiB of cache hold the indexes of a million blobs
        for pragma in ("foreign_keys=ON", "synchronous=FULL", "cache_size=-65536"):
            connection.execute(f"PRAGMA {pragma}")
        return connection


def _begin(connection: Connection) -> None:
    statement = connection.get_execution_options()[BEGIN]
    if statement:
        connection.exec_driver_sql(statement)


def _postgres(url: CatalogUrl) -> Engine:
    try:
        return create_engine(
            url.url,
            # the locks below need each statement to see what was committed when it began
            isolation_level="READ COMMITTED",
            execution_options={"compiled_cache": _postgres_statements},
            hide_parameters=True,
            max_overflow=-1,
            use_native_hstore=False,
            # pgbouncer hands every transaction another session: no prepared statements
            connect_args={"prepare_threshold": None, "connect_timeout": 10},
        )
    except ModuleNotFoundError as e:
        raise Invalid('A Postgres catalog needs psycopg: pip install "artifactstore[postgres]"', code="psycopg") from e


# SQLite keeps its file locks per process and in memory. A child that inherits an open connection believes it holds
# them, even on connections of its own: the parent's close then removed the WAL under it and commits were lost.
_gate = threading.RLock()
_sqlite_engines: "weakref.WeakSet[Engines]" = weakref.WeakSet()
_torn: set[Path] = set()


def _before_fork() -> None:
    _gate.acquire()
    for engines in list(_sqlite_engines):
        engines.close()


def _after_fork_in_child() -> None:
    for engines in list(_sqlite_engines):
        engines.forked()
    _gate.release()


os.register_at_fork(before=_before_fork, after_in_parent=_gate.release, after_in_child=_after_fork_in_child)
