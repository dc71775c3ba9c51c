"""Writers that leave one thing out, to see that each rig sees it, and writers that leave nothing out"""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from artifactstore.core.errors import Unavailable
from artifactstore.core.events import Monitor
from tests.faults.operations import Operation

CONTENT = b"new" * 4000


def toy(name: str, act: Callable[[Path, Monitor], str], check: Callable[[Path, str | None], None]) -> Operation:
    return Operation(name, lambda store: store.mkdir(), act, check, lambda store: None)


def _write(path: Path, *, sync: bool = True) -> None:
    with path.open("wb") as new:
        new.write(CONTENT)
        new.flush()
        if sync:
            os.fsync(new.fileno())


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _check_file(store: Path, answer: str | None) -> None:
    """It is whole or not there, and there once that was said"""
    path = store / "file"
    assert path.exists() or answer is None
    assert not path.exists() or path.read_bytes() == CONTENT


def written(*, sync_file: bool = True, sync_folder: bool = True) -> Operation:
    """A file, written aside and renamed"""

    def act(store: Path, monitor: Monitor) -> str:
        try:
            _write(store / "aside", sync=sync_file)
            (store / "aside").rename(store / "file")
            if sync_folder:
                _sync(store)
        except OSError as e:
            raise Unavailable(str(e)) from e
        return "written"

    return toy(f"written-{sync_file}-{sync_folder}", act, _check_file)


def in_place() -> Operation:
    """A file, written where it is read"""

    def act(store: Path, monitor: Monitor) -> str:
        _write(store / "file")
        return "written"

    return toy("in-place", act, _check_file)


def careless() -> Operation:
    """A file that is said to be written whatever happens"""

    def act(store: Path, monitor: Monitor) -> str:
        try:
            _write(store / "aside")
            (store / "aside").rename(store / "file")
        except OSError:
            pass
        return "written"

    return toy("careless", act, _check_file)


def talkative() -> Operation:
    """A file, and errors that are nobody's"""

    def act(store: Path, monitor: Monitor) -> str:
        _write(store / "aside")
        (store / "aside").rename(store / "file")
        return "written"

    return toy("talkative", act, _check_file)


# Closing the last connection of SQLite syncs everything, so it stays open when the answer is given.
_open: list[sqlite3.Connection] = []


def inserted(level: str) -> Operation:
    """A row of SQLite, synchronous as told"""

    def act(store: Path, monitor: Monitor) -> str:
        rows = sqlite3.connect(store / "rows", isolation_level=None)
        _open.append(rows)
        for statement in ("PRAGMA journal_mode=WAL", f"PRAGMA synchronous={level}", "CREATE TABLE IF NOT EXISTS x(y)"):
            rows.execute(statement)
        rows.execute("INSERT INTO x VALUES (1)")
        return "inserted"

    def check(store: Path, answer: str | None) -> None:
        if answer is not None:
            with closing(sqlite3.connect(store / "rows")) as rows:
                assert rows.execute("SELECT name FROM sqlite_master").fetchall()
                assert rows.execute("SELECT y FROM x").fetchall()

    return toy(f"inserted-{level}", act, check)
