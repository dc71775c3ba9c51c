"""Engines: connections of their own for each process"""

import os
import threading

import pytest
import sqlalchemy as sa

from artifactstore.catalog.engine import _sqlite_statements
from artifactstore.catalog.open import open_catalog
from artifactstore.catalog.sql import Database
from artifactstore.catalog.tables import version
from artifactstore.core.errors import Invalid, StoreError, Unavailable
from artifactstore.core.settings import Settings
from tests.contract.catalog import again, manifest_of, rows, save


def in_child(work) -> int:
    """The exit code of a forked child: 0 when `work` returned, 3 when it raised an error of ours"""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except StoreError:
            code = 3
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def pragma(catalog, name):
    return catalog.database.read(lambda connection: connection.exec_driver_sql(f"PRAGMA {name}").scalar())


def test_sqlite_is_durable_and_keeps_foreign_keys(sqlite_catalog):
    assert pragma(sqlite_catalog, "journal_mode") == "wal"
    assert pragma(sqlite_catalog, "synchronous") == 2
    assert pragma(sqlite_catalog, "foreign_keys") == 1
    assert pragma(sqlite_catalog, "busy_timeout") == 30_000


def test_a_child_works_on_connections_of_its_own(catalog):
    save(catalog, manifest_of(b"1"))
    assert in_child(lambda: save(catalog, manifest_of(b"2"))) == 0
    save(catalog, manifest_of(b"3"))
    assert [row.number for row in rows(catalog, version)] == [1, 2, 3]


def test_a_child_outlives_its_parents_connections(sqlite_catalog_url):
    # without closing before the fork, the parent's close removed the WAL the child was writing, and its commit with it
    catalog = open_catalog(sqlite_catalog_url, store_id=None, catalog_id=None, settings=Settings())
    save(catalog, manifest_of(b"1"))
    begun, closed = os.pipe(), os.pipe()

    def child():
        save(catalog, manifest_of(b"2"))
        os.write(begun[1], b"x")
        os.read(closed[0], 1)
        save(catalog, manifest_of(b"3"))

    pid = os.fork()
    if pid == 0:
        try:
            child()
        finally:
            os._exit(0)
    os.read(begun[0], 1)
    catalog.close()
    os.write(closed[1], b"x")
    os.waitpid(pid, 0)
    assert [row.number for row in rows(catalog, version)] == [1, 2, 3]
    catalog.close()


def test_a_child_of_a_running_transaction_refuses_sqlite(sqlite_catalog):
    inside, leave = threading.Event(), threading.Event()

    def work(connection):
        inside.set()
        assert leave.wait(30)

    thread = threading.Thread(target=lambda: sqlite_catalog.database.write(work))
    thread.start()
    inside.wait()
    refused = in_child(lambda: rows(sqlite_catalog, version)), in_child(lambda: rows(again(sqlite_catalog), version))
    leave.set()
    thread.join()
    assert refused == (3, 3)
    # the parent and its next child are not touched by it
    assert rows(sqlite_catalog, version) == []
    assert in_child(lambda: rows(sqlite_catalog, version)) == 0


def test_a_closed_catalog_opens_again(catalog):
    catalog.close()
    catalog.close()
    assert rows(catalog, version) == []


def test_without_psycopg_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    database = Database("postgresql://h/d", Settings())
    with pytest.raises(Invalid, match=r'pip install "artifactstore\[postgres\]"'):
        database.read(lambda connection: None)


def test_postgres_sends_no_prepared_statements(postgres_catalog):
    def work(connection):
        for _ in range(12):
            connection.execute(sa.select(version))
        return connection.exec_driver_sql("SELECT count(*) FROM pg_prepared_statements").scalar()

    assert postgres_catalog.database.read(work) == 0


def test_an_sqlite_file_is_never_made_by_opening(tmp_path, sqlite_catalog_url):
    catalog = open_catalog(sqlite_catalog_url, store_id=None, catalog_id=None, settings=Settings())
    catalog.close()
    catalog.database.url.file.unlink()
    with pytest.raises(Unavailable, match="cannot be opened"):
        rows(catalog, version)
    assert list(tmp_path.iterdir()) == []


def test_a_reader_shares_the_file_only_while_somebody_writes(sqlite_catalog):
    file = sqlite_catalog.database.url.file
    reader = open_catalog(sqlite_catalog.url, store_id=None, catalog_id=None, settings=Settings(), read_only=True)
    engines = reader.database.engines
    sqlite_catalog.close()
    frozen = engines.settle(wait=False)
    assert frozen is not None
    assert engines.holds(frozen)
    assert engines.settle(wait=True) is None
    save(sqlite_catalog, manifest_of(b"1"))
    assert not engines.holds(frozen)
    assert engines.settle(wait=False) is None
    assert not engines.shut()
    sqlite_catalog.close()
    assert not file.with_name(f"{file.name}-wal").exists()
    assert engines.settle(wait=False) is not None
    assert len(reader.versions.list()) == 1
    assert not engines.shut()
    reader.close()


def test_where_no_file_can_be_made_a_reader_never_waits(sqlite_catalog_url):
    engines = open_catalog(
        sqlite_catalog_url, store_id=None, catalog_id=None, settings=Settings(), read_only=True
    ).database.engines
    assert engines.shut()
    assert engines.settle(wait=True) is not None


def test_only_a_reader_of_a_file_looks_at_it(catalog):
    assert catalog.database.engines.settle(wait=False) is None
    assert catalog.database.engines.holds(None)
    assert not catalog.database.engines.shut()


def test_a_statement_is_compiled_once_for_all_catalogs_of_a_kind(tmp_path):
    query, counts = sa.select(sa.literal(1).label("one")).subquery("once"), []
    for name in ("a", "b"):
        database = Database(f"sqlite:///{tmp_path}/{name}", Settings(), create=True)
        assert [row.one for row in database.rows(sa.select(query.c.one))] == [1]
        database.close()
        counts.append(len(_sqlite_statements))
    assert counts[0] == counts[1] > 0
