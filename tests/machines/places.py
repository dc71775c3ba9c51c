"""Where a machine's store lies: a folder or S3, SQLite or Postgres, made and put back in milliseconds"""

import dataclasses
import itertools
import os
import secrets
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psycopg

from artifactstore.blobs.layout import SETTINGS_KEY
from artifactstore.blobs.open import open_blobs
from artifactstore.catalog.open import Catalog, open_catalog
from artifactstore.catalog.sql import Database
from artifactstore.core.settings import Settings
from artifactstore.depot import Depot, init, open_depot, read_info

# nobody waits for a lock that the same thread holds
SETTINGS = Settings(reserve=0, busy=timedelta(seconds=1))
_NUMBERS = itertools.count()
_LONGEST = 20  # seconds


class Clocked(Database):
    """A database whose clock the test moves"""

    def __init__(self, url: str, settings: Settings, clock: Callable[[], int]) -> None:
        super().__init__(url, settings)
        self._clock = clock

    def now(self, connection) -> int:
        return self._clock()


@dataclass(frozen=True)
class Place:
    """One store. catalog: a SQLite file or a database of Postgres"""

    url: str
    catalog: "Copy"
    folder: Path

    def open(self, clock: Callable[[], int]) -> Depot:
        with open_depot(self.url, self.catalog.url, settings=SETTINGS, clock=clock) as depot:
            return self.again(depot)

    def again(self, depot: Depot) -> Depot:
        """The same as it is now, with connections of its own to the catalog, as another process has it

        Raise Conflict while the catalog is not the one that the store names.
        """
        # a client of S3 takes longer to make than all that a step asks of it
        info = read_info(depot.blobs)
        open_catalog(self.catalog.url, store_id=info.store_id, catalog_id=info.catalog_id, settings=SETTINGS).close()
        rows = Catalog.over(Clocked(self.catalog.url, SETTINGS, depot.clock), (info.store_id, info.catalog_id))
        return dataclasses.replace(depot, catalog=rows, info=info)

    @property
    def root(self) -> Path | None:
        """The folder of the bytes, where they lie in one"""
        return None if "://" in self.url else Path(self.url)

    def remove(self) -> None:
        self.catalog.remove()
        shutil.rmtree(self.folder)


@dataclass(frozen=True)
class SqliteFile:
    file: Path

    @property
    def url(self) -> str:
        return f"sqlite:///{self.file}"

    def copy(self, name: str) -> "SqliteFile":
        """The same rows in another file, as of one moment"""
        other = SqliteFile(self.file.with_name(name))
        with closing(sqlite3.connect(self.file)) as source, closing(sqlite3.connect(other.file)) as target:
            source.backup(target)
        return other

    def put_back(self, other: "SqliteFile") -> None:
        self.remove()
        shutil.copyfile(other.file, self.file)

    def empty(self) -> None:
        """No rows at all"""
        self.remove()

    def remove(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            self.file.with_name(self.file.name + suffix).unlink(missing_ok=True)


@dataclass(frozen=True)
class PostgresBase:
    server: str
    name: str

    @property
    def url(self) -> str:
        return f"{self.server.rpartition('/')[0]}/{self.name}"

    def copy(self, name: str) -> "PostgresBase":
        other = PostgresBase(self.server, f"{self.name}_{name}")
        self._run(f"CREATE DATABASE {other.name} TEMPLATE {self.name} STRATEGY FILE_COPY")
        return other

    def put_back(self, other: "PostgresBase") -> None:
        self.remove()
        self._run(f"CREATE DATABASE {self.name} TEMPLATE {other.name} STRATEGY FILE_COPY")

    def empty(self) -> None:
        self.remove()
        self._run(f"CREATE DATABASE {self.name}")

    def remove(self) -> None:
        self._run(f"DROP DATABASE IF EXISTS {self.name} WITH (FORCE)")

    def _run(self, statement: str) -> None:
        with psycopg.connect(self.server, autocommit=True) as connection:
            until = time.monotonic() + _LONGEST
            while True:
                # sessions of processes that were killed end when the server comes to it
                try:
                    connection.execute(statement)
                except psycopg.errors.ObjectInUse:
                    if time.monotonic() > until:
                        raise
                else:
                    return


Copy = SqliteFile | PostgresBase


class Maker:
    """Makes stores that are copies of one empty one"""

    def __init__(self, *, postgres: str | None = None, s3: str | None = None) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="artstore-machine-"))
        self._s3 = s3
        self._postgres = postgres
        self._first = self._place("template")
        self._first.folder.mkdir()
        self._first.catalog.empty()
        with init(self._first.url, self._first.catalog.url, settings=SETTINGS) as depot:
            self._settings = depot.info.to_bytes()
        # without the folders that hold nothing, as a copy may be, a store is copied and listed far faster
        for folder in (*self._first.folder.glob("store/blobs/*"), *self._first.folder.glob("store/manifests/*")):
            folder.rmdir()

    def __call__(self) -> Place:
        place = self._place(f"{os.getpid()}-{next(_NUMBERS)}")
        if place.root is not None:
            shutil.copytree(self._first.folder, place.folder)
        else:
            place.folder.mkdir()
            open_blobs(place.url, SETTINGS).replace(SETTINGS_KEY, self._settings)
        place.catalog.put_back(self._first.catalog)
        return place

    def twin(self, place: Place) -> Place:
        """A copy of a store on a disk, of which nobody has the catalog open"""
        other = self._place(f"{os.getpid()}-{next(_NUMBERS)}")
        shutil.copytree(place.folder, other.folder)
        if self._postgres is not None:
            other.catalog.put_back(place.catalog)
        return other

    def close(self) -> None:
        self._first.catalog.remove()
        shutil.rmtree(self._folder)

    def _place(self, name: str) -> Place:
        folder = self._folder / name
        url = str(folder / "store")
        if self._s3 is not None:
            base, _, options = self._s3.partition("?")
            url = f"{base}/{name}?{options}"
        if self._postgres is None:
            return Place(url, SqliteFile(folder / "catalog.sqlite"), folder)
        return Place(url, PostgresBase(self._postgres, f"m{secrets.token_hex(6)}"), folder)
