"""Catalogs for the tests of this room: one that is made once per kind of database, as if new for each test"""

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

import psycopg
import pytest

from artifactstore.catalog.open import create_catalog, open_catalog
from artifactstore.catalog.tables import metadata
from artifactstore.catalog.upgrade import SCHEMA, VERSION_TABLE
from artifactstore.catalog.url import sqlite_url
from artifactstore.core.settings import Settings
from tests.servers import postgres_database


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory):
    file = tmp_path_factory.mktemp("template") / "catalog.sqlite"
    create_catalog(sqlite_url(file), store_id="store", catalog_id="catalog", settings=Settings()).close()
    return file


# a file takes longer to cut than some dead rows to pass over
_LARGE = f"""SELECT relname FROM pg_class
    WHERE relkind = 'r' AND relname IN {(*metadata.tables,)} AND pg_relation_size(oid) > 1 << 18"""


@pytest.fixture(scope="session")
def postgres_kept(postgres_server):
    """One database for all tests: emptying it takes a hundredth of the time of making another"""
    with postgres_database(postgres_server) as url:
        create_catalog(url, store_id="store", catalog_id="catalog", settings=Settings()).close()
        yield url


@pytest.fixture
def sqlite_catalog_url(tmp_path, sqlite_template):
    file = tmp_path / "catalog.sqlite"
    shutil.copyfile(sqlite_template, file)
    return sqlite_url(file)


@pytest.fixture
def postgres_catalog_url(postgres_kept):
    with psycopg.connect(postgres_kept, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid()"
        )
        connection.execute("; ".join(f"DELETE FROM {table.name}" for table in reversed(metadata.sorted_tables)))
        if connection.execute(_LARGE).fetchone() is not None:
            connection.execute(f"TRUNCATE {', '.join(metadata.tables)}")
        connection.execute("SELECT setval(seqrelid, 1, false) FROM pg_sequence")
        connection.execute("INSERT INTO store VALUES (1, 'store', 'catalog', 0, NULL, 0)")
        connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = '{SCHEMA}'")
    return postgres_kept


@pytest.fixture(params=["sqlite", "postgres"])
def url(request):
    """A catalog of the store `store`, once on each kind of database"""
    return request.getfixturevalue(f"{request.param}_catalog_url")


def opened(url, **changed):
    return open_catalog(url, store_id="store", catalog_id="catalog", settings=Settings(**changed))


@pytest.fixture
def catalog(url):
    catalog = opened(url)
    yield catalog
    catalog.close()


@pytest.fixture
def sqlite_catalog(sqlite_catalog_url):
    catalog = opened(sqlite_catalog_url)
    yield catalog
    catalog.close()


@pytest.fixture
def postgres_catalog(postgres_catalog_url):
    catalog = opened(postgres_catalog_url)
    yield catalog
    catalog.close()


@contextlib.contextmanager
def unprivileged():
    """As a user who is not root"""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder():
    """A folder that any user can reach"""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        folder.chmod(0o755)


@pytest.fixture
def closed_folder(open_folder):
    """A folder whose files nobody may look at, for the running test"""
    open_folder.chmod(0)
    with unprivileged():
        yield open_folder
