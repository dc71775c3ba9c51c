"""Reading without a trace: nothing is written, and what is read was there at one moment"""

import os
import sqlite3
import subprocess
import sys
import time

import pytest
import sqlalchemy as sa

from artifactstore.catalog.sql import Database
from artifactstore.catalog.stamp import Stamp
from artifactstore.catalog.url import sqlite_url
from artifactstore.core.errors import StoreError
from artifactstore.core.settings import Settings

WRITER = """
import random, sqlite3, sys, time
file, end = sys.argv[1], time.monotonic() + float(sys.argv[2])
number = 0
while time.monotonic() < end:
    number += 1
    rows = sqlite3.connect(file, isolation_level=None, timeout=30)
    rows.execute("PRAGMA synchronous=OFF")
    rows.execute("BEGIN IMMEDIATE")
    rows.execute("UPDATE t SET n = ?", (number,))
    if random.random() < 0.2:
        rows.execute("INSERT INTO t SELECT id + (SELECT max(id) FROM t), n, pad FROM t WHERE id % 50 = 0")
    rows.execute("COMMIT")
    rows.close()
    time.sleep(random.random() * float(sys.argv[3]))
print(number)
"""


@pytest.fixture
def file(tmp_path):
    """A database of many pages, written ahead, closed a while ago"""
    file = tmp_path / "catalog.sqlite"
    rows = sqlite3.connect(file)
    rows.execute("PRAGMA journal_mode=WAL")
    rows.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER, pad TEXT)")
    rows.executemany("INSERT INTO t VALUES (?, 0, ?)", [(number, "x" * 200) for number in range(1, 3000)])
    rows.commit()
    rows.close()
    return file


@pytest.fixture
def database(file):
    database = Database(sqlite_url(file), Settings(), read_only=True)
    yield database
    database.close()


def span(connection):
    # as of a catalog that memory does not hold
    connection.exec_driver_sql("PRAGMA cache_size=10")
    first = connection.execute(sa.text("SELECT min(n), count(*) FROM t")).one()
    # long enough for a writer to come between
    time.sleep(0.003)
    last = connection.execute(sa.text("SELECT max(n), count(DISTINCT id) FROM t")).one()
    return first[0], last[0], first[1], last[1]


def seen(folder):
    return {
        path.name: (path.stat().st_mtime_ns, path.stat().st_ctime_ns, path.stat().st_size) for path in folder.iterdir()
    }


def test_reading_leaves_no_trace(file, database):
    before, folder = seen(file.parent), file.parent.stat().st_mtime_ns
    for _ in range(3):
        assert database.read(span) == (0, 0, 2999, 2999)
    database.close()
    assert (seen(file.parent), file.parent.stat().st_mtime_ns) == (before, folder)


@pytest.mark.parametrize("pause", [0.0, 0.05])
def test_beside_a_writer_that_comes_and_goes_all_is_of_one_moment(file, database, pause):
    database.read(span)
    with subprocess.Popen([sys.executable, "-c", WRITER, file, "3", str(pause)], stdout=subprocess.PIPE) as writer:
        found = []
        while writer.poll() is None:
            found.append(database.read(span))
        commits = int(writer.stdout.read())
    for low, high, count, distinct in found:
        assert (low, count) == (high, distinct)
    newest = [low for low, *_ in found]
    assert newest == sorted(newest)
    # beside one that never pauses SQLite may let a reader wait until the end
    if pause:
        assert len(set(newest)) > 3
    assert database.read(span)[0] == commits


def test_beside_a_writer_that_stays_its_log_is_read_too(file, database):
    writer = sqlite3.connect(file)
    for number in (1, 2):
        writer.execute("UPDATE t SET n = ?", (number,))
        writer.commit()
        assert database.read(span)[:2] == (number, number)
    writer.close()


def test_a_change_while_something_is_read_has_it_read_again(file, database):
    tries = []

    def work(connection):
        found = span(connection)
        if len(tries) < 2:
            writer = sqlite3.connect(file)
            writer.execute("UPDATE t SET n = n + 1")
            writer.commit()
            writer.close()
        tries.append(found[0])
        return found

    assert database.read(work)[:2] == (2, 2)
    assert tries == [0, 1, 2]


def test_many_changes_have_the_reader_take_part(file, database):
    """A lock makes the writers' changes wait, and the reader's file and log stay for them"""
    tries = []

    def work(connection):
        found = span(connection)
        writer = sqlite3.connect(file)
        writer.execute("UPDATE t SET n = n + 1")
        writer.commit()
        writer.close()
        tries.append(found[0])
        return found

    assert database.read(work)[0] == 3
    assert tries == [0, 1, 2, 3]


def test_what_fails_on_a_changed_file_is_tried_again(file, database):
    tries = []

    def work(connection):
        tries.append(span(connection)[0])
        if len(tries) == 1:
            os.utime(file, (1, 1))
            raise ValueError("half old, half new")
        return tries[-1]

    assert database.read(work) == 0
    assert len(tries) == 2


def test_what_fails_on_a_file_that_is_as_it_was_is_raised(database):
    def work(connection):
        raise ValueError("a mistake of ours")

    with pytest.raises(ValueError, match="mistake"):
        database.read(work)


def test_a_file_that_goes_away_is_an_error(file, database):
    database.read(span)
    file.unlink()
    with pytest.raises(StoreError):
        database.read(span)


class TestStamp:
    def test_nothing_changed(self, file):
        one = Stamp.take(file)
        assert one.settled
        assert Stamp.take(file) == one

    @pytest.mark.parametrize("suffix", ["-wal", "-journal"])
    def test_a_log_with_something_in_it_is_not_settled(self, file, suffix):
        log = file.with_name(file.name + suffix)
        log.write_bytes(b"")
        assert Stamp.take(file).settled
        log.write_bytes(b"x")
        assert not Stamp.take(file).settled

    @pytest.mark.parametrize("change", [os.utime, lambda file: file.write_bytes(b"other")])
    def test_a_change_shows(self, file, change):
        one = Stamp.take(file)
        change(file)
        assert Stamp.take(file) != one

    def test_another_file_in_its_place_shows(self, file):
        one = Stamp.take(file)
        copy = file.with_name("copy")
        copy.write_bytes(file.read_bytes())
        os.utime(copy, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))
        copy.rename(file)
        assert Stamp.take(file) != one

    def test_two_changes_within_one_tick_show(self, file):
        for _ in range(20):
            file.write_bytes(b"x" * 100)
            one = Stamp.take(file)
            file.write_bytes(b"y" * 100)
            assert Stamp.take(file) != one

    def test_where_times_are_coarse_a_new_file_is_not_trusted(self, file):
        second = time.time_ns() // 1_000_000_000 * 1_000_000_000
        os.utime(file, ns=(second, second))
        assert not Stamp.take(file).settled
        os.utime(file, ns=(second, second - 60_000_000_000))
        assert Stamp.take(file).settled

    def test_no_file(self, tmp_path):
        assert not Stamp.take(tmp_path / "none").settled
