"""Renewal: a catalog made anew in one transaction, and its file put in the place of the old one"""

import glob
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection

from artifactstore.catalog.base import Place
from artifactstore.catalog.batches import chunks
from artifactstore.catalog.journal import append
from artifactstore.catalog.objects import PRESENT, place_query, to_place
from artifactstore.catalog.replay import (
    OBJECTS,
    Shelf,
    What,
    manifest_keys,
    measure,
    release,
    replay,
    unmeasured,
)
from artifactstore.catalog.sql import Database
from artifactstore.catalog.tables import metadata, store
from artifactstore.catalog.upgrade import migrate, refuse_foreign, refuse_newer, schema
from artifactstore.catalog.url import parse_url, sqlite_url
from artifactstore.core.digest import Digest
from artifactstore.core.errors import Conflict, Corrupt, Invalid, NotFound, Unavailable
from artifactstore.core.record import Record
from artifactstore.core.settings import Settings

T = TypeVar("T")
U = TypeVar("U")
Identity = tuple[str, str]
_ROWS = 2000
_DAY = 86_400
# SQLite finds the log of a database by its name
_BESIDE = ("", "-wal", "-shm", "-journal")


class Renewal:
    """The rows of a catalog while they are made anew"""

    def __init__(self, database: Database, connection: Connection) -> None:
        self._database, self._connection = database, connection

    def replay(self, records: Sequence[Record], shelf: Shelf) -> None:
        """As `catalog/replay.py` does"""
        replay(self._connection, records, shelf)

    def manifests(self, versions: Sequence[Digest]) -> dict[Digest, str]:
        """Keys of manifests that have a row"""
        return manifest_keys(self._connection, versions)

    def finish(self, size_of: Callable[[str], int | None]) -> list[tuple[What, Place]]:
        """Set what no record says: sizes that no manifest told, and that retired versions hold nothing

        Objects that turned out to be damaged.
        """
        release(self._connection)
        found = [(what, place, size_of(place.key)) for what, place in unmeasured(self._connection)]
        return measure(self._connection, found)

    def objects(self, what: What) -> Iterator[Place]:
        """Objects that count, by digest"""
        table = OBJECTS[what]
        query = place_query(table).where(table.c.state.in_(PRESENT)).order_by(table.c.digest)
        for row in self._connection.execute(query.execution_options(yield_per=_ROWS)):
            yield to_place(row)

    def seal(
        self, origin: tuple[str, int, str | None], over: Sequence[str], damaged: Sequence[tuple[What, Place]]
    ) -> None:
        """The first record of the new catalog, and one for every few objects that were found damaged

        over: catalogs that this one does not go on from, and nobody may.
        """
        at = self._database.now(self._connection)
        catalog_id, serial, txid = origin
        first = {"do": "rebuilt", "from": catalog_id, "serial": serial, "txid": txid, "over": list(over)}
        self._append([first], at)
        for what, table in OBJECTS.items():
            for chunk in chunks([place for kind, place in damaged if kind == what]):
                # as unread they are damaged already, and others may have got another incarnation since
                here = table.c.inc.in_([place.inc for place in chunk])
                self._connection.execute(sa.update(table).where(here).values(state="damaged"))
                found = self._connection.execute(sa.select(table.c.digest, table.c.inc).where(here))
                names = [[Digest(row.digest).hex(), row.inc] for row in found]
                if names:
                    self._append([{"do": "damaged", what: names}], at)
        self._connection.execute(sa.update(store).values(rebuilt_at=at))

    def _append(self, actions: list[dict[str, object]], at: int) -> None:
        append(self._connection, secrets.token_hex(16), actions, at)


def renew(
    url: str,
    identity: Identity,
    settings: Settings,
    prepare: Callable[[Renewal], U],
    finish: Callable[[Renewal, U], T],
) -> T:
    """Make the rows of a catalog anew, all or nothing; raise Conflict for that of another store

    On SQLite, where it is made aside, `prepare` is durable before `finish` begins.
    """
    with closing(Database(url, settings, create=True)) as database:
        migrate(database)

        def begin(connection: Connection) -> U:
            _check_store(connection, identity[0], database)
            for table in reversed(metadata.sorted_tables):
                connection.execute(sa.delete(table))
            row = {"id": 1, "store_id": identity[0], "catalog_id": identity[1], "head_serial": 0, "head_txid": None}
            connection.execute(sa.insert(store), {**row, "created": database.now(connection)})
            return prepare(Renewal(database, connection))

        if database.is_postgres:
            return database.write(lambda one: finish(Renewal(database, one), begin(one)), exclusive=True)
        prepared = database.write(begin, exclusive=True)
        return database.write(lambda one: finish(Renewal(database, one), prepared), exclusive=True)


def is_there(url: str, store_id: str, settings: Settings, *, inside: bool) -> bool:
    """Whether there is a catalog to be replaced, well or not; raise Conflict or Invalid for what is not this store's

    inside: it lies in the store, so that no file of that name is anybody else's.
    """
    try:
        with closing(Database(url, settings, read_only=True)) as database:
            return database.read(lambda connection: _look(connection, store_id, database))
    except NotFound:
        if parse_url(url).file is None:
            raise
        return False
    except Corrupt:
        return True
    except Invalid as e:
        if not inside or e.code != "invalid.catalog":
            raise
        return True


def _look(connection: Connection, store_id: str, database: Database) -> bool:
    found = schema(connection)
    if found is None:
        refuse_foreign(connection, database)
    else:
        refuse_newer(found, database)
        _check_store(connection, store_id, database)
    return found is not None


def put_in_place(new: Path, file: Path) -> Path | None:
    """Let `new` take the place of a catalog, which is kept beside it with its log; where, None when there was none"""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
    kept = file.with_name(f"{file.name}.replaced-{stamp}")
    try:
        # the database before its log: who opens it meanwhile finds none, instead of one without its last commits
        _rename(file, kept, _BESIDE)
        # and here its log before the database
        _rename(new, file, reversed(_BESIDE))
    except OSError as e:
        message = f"{file} cannot be replaced ({e.strerror}); mend that and rebuild again"
        raise Unavailable(message, code="catalog", path=str(file)) from e
    _sync(file.parent)
    return kept if kept.exists() else None


def aside(url: str, catalog_id: str) -> tuple[str, Path, Path] | None:
    """(url, file) to make a new SQLite catalog in, and the file it is for; None on Postgres"""
    parsed = parse_url(url)
    if parsed.file is None:
        return None
    new = parsed.file.with_name(f"{parsed.file.name}.rebuild-{catalog_id[:16]}")
    return sqlite_url(new) + "?network=allow" * parsed.network, new, parsed.file


def discard(new: Path, file: Path) -> None:
    """Remove what was made aside and not put in place, also a day ago by a process that was killed

    What cannot be removed is left to the next rebuild: a failure here must not hide the one that led here.
    """
    paths = [new.with_name(new.name + suffix) for suffix in _BESIDE]
    with suppress(OSError):
        paths += [path for path in file.parent.glob(f"{glob.escape(file.name)}.rebuild-*") if _is_old(path)]
    for path in paths:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _is_old(path: Path) -> bool:
    with suppress(FileNotFoundError):
        return time.time() - path.stat().st_mtime > _DAY
    return False


def _rename(old: Path, new: Path, suffixes: Iterable[str]) -> None:
    for suffix in suffixes:
        with suppress(FileNotFoundError):
            old.with_name(old.name + suffix).rename(new.with_name(new.name + suffix))


def _check_store(connection: Connection, store_id: str, database: Database) -> None:
    found = connection.execute(sa.select(store.c.store_id)).scalar()
    if found not in {None, store_id}:
        raise Conflict(
            f"Catalog {database.url.shown} belongs to another store ({found}); name one of this store's own",
            code="catalog",
            expected=store_id,
            actual=found,
        )


def _sync(folder: Path) -> None:
    with suppress(OSError):
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
