"""Transactions: locked, retried, and settled"""

import os
import sqlite3
import threading
import time
from datetime import timedelta

import psycopg
import pytest
import sqlalchemy as sa

from artifactstore.catalog.sql import ATTEMPTS
from artifactstore.catalog.tables import artifact
from artifactstore.core.errors import Busy, Conflict, Corrupt, NotFound
from tests.catalog.conftest import opened
from tests.contract.catalog import again, begin, manifest_of, rows, save

SHORT = timedelta(milliseconds=60)


def insert(name):
    return lambda connection: connection.execute(sa.insert(artifact), {"name": name})


def names(catalog):
    return [row.name for row in rows(catalog, artifact)]


def test_an_error_undoes_everything(catalog):
    def work(connection):
        insert("a")(connection)
        raise NotFound("stop")

    with pytest.raises(NotFound, match="stop"):
        catalog.database.write(work)
    assert names(catalog) == []


def test_a_broken_rule_of_the_rows_is_a_conflict(catalog):
    catalog.database.write(insert("a"))
    with pytest.raises(Conflict):
        catalog.database.write(insert("a"))


def test_reading_sees_one_moment(catalog):
    other = again(catalog)

    def work(connection):
        before = connection.execute(sa.select(artifact)).all()
        other.database.write(insert("a"))
        return before, connection.execute(sa.select(artifact)).all()

    assert catalog.database.read(work) == ([], [])
    assert names(catalog) == ["a"]
    other.close()


def test_reading_cannot_write(postgres_catalog):
    with pytest.raises(Exception, match="read-only"):
        postgres_catalog.database.read(insert("a"))


def test_the_clock_of_the_database_is_used(catalog):
    first = catalog.database.write(catalog.database.now)
    assert first <= catalog.database.write(catalog.database.now)
    assert abs(first - time.time_ns() // 1000) < 60_000_000
    assert first <= catalog.now()


class Failing:
    """A transaction that Postgres itself fails with a code, a number of times"""

    def __init__(self, code, times):
        self.code, self.left = code, times

    def __call__(self, connection):
        insert("a")(connection)
        if self.left:
            self.left -= 1
            connection.exec_driver_sql(f"DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{self.code}'; END $$")


@pytest.mark.parametrize("code", ["40001", "40P01"])
def test_what_lost_to_others_runs_again(postgres_catalog, code):
    postgres_catalog.database.write(Failing(code, ATTEMPTS - 1))
    assert names(postgres_catalog) == ["a"]


def test_but_not_for_ever(postgres_catalog):
    work = Failing("40001", 99)
    with pytest.raises(Busy, match="try again"):
        postgres_catalog.database.write(work)
    assert 99 - work.left == ATTEMPTS


def test_two_that_wait_for_each_other_both_get_through(postgres_catalog):
    for name in ("a", "b"):
        postgres_catalog.database.write(insert(name))
    met = threading.Barrier(2)
    tries = []

    def swap(first, second):
        def work(connection):
            tries.append(first)
            connection.execute(sa.update(artifact).where(artifact.c.name.startswith(first)).values(name=f"{first}!"))
            if len(tries) <= 2:
                met.wait()
            connection.execute(sa.update(artifact).where(artifact.c.name.startswith(second)).values(name=f"{second}!"))

        postgres_catalog.database.write(work)

    threads = [threading.Thread(target=swap, args=pair) for pair in (("a", "b"), ("b", "a"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names(postgres_catalog) == ["a!", "b!"]
    assert len(tries) == 3


def test_a_server_that_drops_everybody_is_asked_again(postgres_catalog):
    save(postgres_catalog, manifest_of(b"1"))
    with psycopg.connect(
        again(postgres_catalog).database.url.url.set(drivername="postgresql").render_as_string(False), autocommit=True
    ) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    save(postgres_catalog, manifest_of(b"2"))
    assert postgres_catalog.journal.head()[0] == 2


def test_an_exclusive_writer_waits_for_savers_and_they_for_it(postgres_catalog_url):
    catalog = opened(postgres_catalog_url, busy=SHORT)
    for held, wanted in ((False, True), (True, False), (True, True)):

        def work(connection, wanted=wanted):
            with pytest.raises(Busy, match="locked"):
                catalog.database.write(lambda inner: None, exclusive=wanted)

        catalog.database.write(work, exclusive=held)
    catalog.database.write(lambda connection: catalog.database.write(insert("a")))
    assert names(catalog) == ["a"]
    catalog.close()


def test_a_locked_sqlite_names_who_is_at_work(sqlite_catalog_url):
    catalog = opened(sqlite_catalog_url, busy=SHORT)
    begin(catalog, "save", host="den/1", pid=42)
    other = sqlite3.connect(catalog.database.url.file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Busy, match=r"save \(process 42 on den/1\)") as caught:
        catalog.database.write(insert("a"))
    assert caught.value.facts["holders"] == ["save (process 42 on den/1)"]
    assert names(catalog) == []
    other.close()
    catalog.database.write(insert("a"))
    catalog.close()


def test_nobody_is_named_where_nothing_can_be_read(sqlite_catalog_url):
    catalog = opened(sqlite_catalog_url, busy=SHORT)
    other = sqlite3.connect(catalog.database.url.file, isolation_level=None)
    other.execute("DROP TABLE lease_pin")
    other.execute("DROP TABLE lease_hold")
    other.execute("DROP TABLE lease")
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Busy) as caught:
        catalog.database.write(insert("a"))
    assert caught.value.facts["holders"] == []
    other.close()
    catalog.close()


def test_a_full_disk_changes_nothing(sqlite_catalog):
    def work(connection):
        connection.exec_driver_sql("PRAGMA max_page_count=1")
        for number in range(2000):
            insert(f"name {number}")(connection)

    with pytest.raises(Exception, match="no space") as caught:
        sqlite_catalog.database.write(work)
    assert caught.value.code == "unavailable.space"
    sqlite_catalog.close()
    assert names(sqlite_catalog) == []


def test_texts_that_are_no_text_are_damage(sqlite_catalog):
    with pytest.raises(Corrupt, match="catalog rebuild"):
        sqlite_catalog.database.read(lambda connection: b"\x80".decode())


def test_writers_take_turns_across_processes(sqlite_catalog):
    children = []
    for child in range(3):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                for number in range(10):
                    save(sqlite_catalog, manifest_of(b"%d %d" % (child, number)))
                code = 0
            finally:
                os._exit(code)
        children.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0, 0]
    assert sqlite_catalog.journal.head()[0] == 30
