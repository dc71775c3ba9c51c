"""Opening a catalog: an existing one of the right store, or a new one"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Self

import sqlalchemy as sa
from sqlalchemy import Connection

from artifactstore.catalog.aliases import Aliases
from artifactstore.catalog.blobs import BlobRows
from artifactstore.catalog.collect import Collections
from artifactstore.catalog.dump import dump
from artifactstore.catalog.journal import Journal
from artifactstore.catalog.leases import Leases
from artifactstore.catalog.memos import Memos
from artifactstore.catalog.notes import Notes
from artifactstore.catalog.place import MAKE_ANEW
from artifactstore.catalog.policies import Policies
from artifactstore.catalog.remotes import Remotes
from artifactstore.catalog.replay import Replays
from artifactstore.catalog.retire import Retirements
from artifactstore.catalog.saves import Saves
from artifactstore.catalog.sql import Database
from artifactstore.catalog.tables import store
from artifactstore.catalog.upgrade import check_schema, migrate, refuse_foreign, schema
from artifactstore.catalog.usage import Usage
from artifactstore.catalog.versions import Versions
from artifactstore.core.errors import Conflict, Exists, NotFound
from artifactstore.core.settings import Settings

Identity = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Catalog:
    """An opened catalog; `url` hides its password"""

    url: str
    store_id: str
    catalog_id: str
    read_only: bool
    leases: Leases
    saves: Saves
    versions: Versions
    aliases: Aliases
    blobs: BlobRows
    journal: Journal
    memos: Memos
    notes: Notes
    policies: Policies
    remotes: Remotes
    retirements: Retirements
    collections: Collections
    replays: Replays
    usage: Usage
    database: Database = field(repr=False)

    @classmethod
    def over(cls, database: Database, identity: Identity) -> Self:
        """The catalog in a database that holds one"""
        return cls(
            database.url.shown,
            *identity,
            read_only=database.read_only,
            leases=Leases(database),
            saves=Saves(database),
            versions=Versions(database),
            aliases=Aliases(database),
            blobs=BlobRows(database),
            journal=Journal(database),
            memos=Memos(database),
            notes=Notes(database),
            policies=Policies(database),
            remotes=Remotes(database),
            retirements=Retirements(database),
            collections=Collections(database),
            replays=Replays(database),
            usage=Usage(database),
            database=database,
        )

    def now(self) -> int:
        """The database's clock, microseconds since 1970 UTC"""
        return self.database.read(self.database.now)

    def check(self) -> list[str]:
        """What SQLite finds wrong about the structure of its file, at most ten things; nothing on Postgres"""
        if self.database.is_postgres:
            return []
        query = sa.text("PRAGMA quick_check(10)")
        found = self.database.read(lambda connection: connection.execute(query).scalars().all())
        return [line for line in found if line != "ok"]

    def dump(self) -> Iterator[str]:
        """Everything the catalog means, as lines of JSON in a stable order (catalog/dump.py)"""
        return dump(self.database)

    def close(self) -> None:
        """Close the connections of this process"""
        self.database.close()


def create_catalog(url: str, *, store_id: str, catalog_id: str, settings: Settings) -> Catalog:
    """A new catalog for a store, or the one it has; raise Exists when another store's is there"""
    database = Database(url, settings, create=True)
    with _closed_on_error(database):
        migrate(database)
        wanted = (store_id, catalog_id)
        found = database.write(lambda connection: _claim(connection, wanted, database.now(connection)), exclusive=True)
        _refuse_other(found, wanted, database)
    return Catalog.over(database, found)


def check_new(url: str, settings: Settings) -> None:
    """Raise what `create_catalog` would raise for a new store, changing nothing"""
    database = Database(url, settings, create=True)
    file = database.url.file
    with closing(database):
        if file is None or file.exists():
            _refuse_other(database.read(lambda connection: _found(connection, database)), None, database)


def open_catalog(
    url: str, *, store_id: str | None, catalog_id: str | None, settings: Settings, read_only: bool = False
) -> Catalog:
    """A catalog that exists; raise NotFound, Invalid when its schema is not ours, Conflict for that of another store"""
    database = Database(url, settings, read_only=read_only)
    with _closed_on_error(database):
        found = database.read(lambda connection: _identity(connection, database))
        _check_same(found, (store_id, catalog_id), database)
        if not read_only:
            # a copy made by VACUUM INTO has lost it
            database.use_wal()
    return Catalog.over(database, found)


@contextmanager
def _closed_on_error(database: Database) -> Iterator[None]:
    try:
        yield
    except BaseException:
        database.close()
        raise


def _refuse_other(found: Identity | None, wanted: Identity | None, database: Database) -> None:
    if found and found != wanted:
        raise Exists(
            f"Catalog {database.url.shown} belongs to another store; give this one its own",
            code="catalog",
            store=found[0],
        )


def _check_same(found: Identity, wanted: tuple[str | None, str | None], database: Database) -> None:
    for what, expected, actual in zip(("store", "catalog"), wanted, found, strict=True):
        if expected not in {None, actual}:
            why = (
                "belongs to another store"
                if what == "store"
                else "is not the one its store names: another took over, or a rebuild was interrupted; "
                "artstore catalog rebuild makes it anew"
            )
            raise Conflict(
                f"Catalog {database.url.shown} {why} ({what} {actual}, expected {expected})",
                code="catalog",
                expected=expected,
                actual=actual,
            )


def _identity(connection: Connection, database: Database) -> Identity:
    found = _found(connection, database)
    if found is None:
        message = f"No catalog at {database.url.shown}; {MAKE_ANEW}"
        raise NotFound(message, code="catalog", catalog=database.url.shown)
    return found


def _found(connection: Connection, database: Database) -> Identity | None:
    found = schema(connection)
    if found is None:
        refuse_foreign(connection, database)
    else:
        check_schema(found, database)
        row = connection.execute(sa.select(store.c.store_id, store.c.catalog_id)).first()
        if row is not None:
            return row.store_id, row.catalog_id
    return None


def _claim(connection: Connection, identity: Identity, at: int) -> Identity:
    found = connection.execute(sa.select(store.c.store_id, store.c.catalog_id)).first()
    if found is not None:
        return found.store_id, found.catalog_id
    store_id, catalog_id = identity
    new = {"id": 1, "store_id": store_id, "catalog_id": catalog_id, "head_serial": 0, "head_txid": None, "created": at}
    connection.execute(sa.insert(store), new)
    return identity
