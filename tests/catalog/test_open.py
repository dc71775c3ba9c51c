"""Opening catalogs: the right one, or a clear refusal"""

import contextlib
import hashlib
import shutil
import sqlite3
import subprocess
import sys

import psycopg
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from artifactstore.catalog.open import check_new, create_catalog, open_catalog
from artifactstore.catalog.tables import store
from artifactstore.catalog.upgrade import VERSION_TABLE
from artifactstore.catalog.url import sqlite_url
from artifactstore.core.errors import Conflict, Denied, Exists, Invalid, NotFound, StoreError, Unavailable
from artifactstore.core.settings import Settings
from tests.catalog.conftest import unprivileged
from tests.contract.catalog import manifest_of, save
from tests.servers import free_port

SECRET = "p%40ss/word"


def open_any(url, **options):
    return open_catalog(url, store_id=None, catalog_id=None, settings=Settings(), **options)


def create(url, store_id="store", catalog_id="catalog"):
    return create_catalog(url, store_id=store_id, catalog_id=catalog_id, settings=Settings())


def test_the_catalog_of_the_store_opens(url):
    catalog = open_catalog(url, store_id="store", catalog_id="catalog", settings=Settings())
    assert (catalog.store_id, catalog.catalog_id, catalog.read_only) == ("store", "catalog", False)
    catalog.close()


def test_the_catalog_of_another_store_does_not(url):
    for wanted in ({"store_id": "other", "catalog_id": None}, {"store_id": "store", "catalog_id": "other"}):
        with pytest.raises(Conflict) as caught:
            open_catalog(url, **wanted, settings=Settings())
        assert caught.value.facts["expected"] == "other"


def test_making_it_again_gives_the_same(url):
    catalog = create(url)
    assert (catalog.store_id, catalog.catalog_id) == ("store", "catalog")
    catalog.close()


def test_making_it_for_another_store_is_refused(url):
    with pytest.raises(Exists):
        create(url, store_id="other")
    with pytest.raises(Exists):
        create(url, catalog_id="other")


def test_a_missing_file_is_not_made_by_opening(tmp_path):
    with pytest.raises(NotFound):
        open_any(sqlite_url(tmp_path / "catalog.sqlite"))
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_making_is_told_from_a_foreign_file(tmp_path):
    file = tmp_path / "catalog.sqlite"
    file.touch()
    with pytest.raises(NotFound):
        open_any(sqlite_url(file))
    create(sqlite_url(file)).close()
    with sqlite3.connect(file) as connection:
        connection.execute("DELETE FROM store")
    with pytest.raises(NotFound):
        open_any(sqlite_url(file))
    create(sqlite_url(file)).close()


def foreign_database(file):
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE recipes (cake TEXT)")
    connection.close()


def text_file(file):
    file.write_text("root:x:0:0:root:/root:/bin/bash\n" * 100)


@pytest.mark.parametrize("make", [foreign_database, text_file])
@pytest.mark.parametrize("action", [open_any, create])
def test_a_file_of_something_else_stays_as_it_is(tmp_path, make, action):
    file = tmp_path / "catalog.sqlite"
    make(file)
    before = file.read_bytes()
    with pytest.raises(Invalid):
        action(sqlite_url(file))
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["catalog.sqlite"]


def set_schema(url, found):
    catalog = open_any(url)
    change = sa.update(sa.table(VERSION_TABLE, sa.column("version_num"))).values(version_num=found)
    catalog.database.write(lambda connection: connection.execute(change))
    catalog.close()


def test_an_older_schema_names_the_remedy(url):
    set_schema(url, "0000")
    with pytest.raises(Invalid, match="artstore catalog upgrade") as caught:
        open_any(url)
    assert caught.value.code == "invalid.schema-old"


def test_a_newer_schema_names_the_remedy(url):
    set_schema(url, "9999")
    for action in (open_any, create):
        with pytest.raises(Invalid, match="written by a newer artifactstore"):
            action(url)


def test_reading_only_reads(url):
    catalog = open_any(url)
    wanted = save(catalog, manifest_of(b"1")).version
    catalog.close()
    catalog = open_any(url, read_only=True)
    assert catalog.read_only
    assert catalog.versions.get(wanted.id) == wanted
    with pytest.raises(Denied, match="to be read only"):
        catalog.leases.open("x", host="h", pid=1, kind="save")
    catalog.close()


def test_reading_only_changes_no_byte(sqlite_catalog_url):
    file = open_any(sqlite_catalog_url).database.url.file
    before = hashlib.sha256(file.read_bytes()).hexdigest()
    catalog = open_any(sqlite_catalog_url, read_only=True)
    catalog.versions.list()
    catalog.close()
    assert hashlib.sha256(file.read_bytes()).hexdigest() == before


@pytest.fixture
def others_catalog(open_folder, sqlite_template):
    """A catalog of another user, which all may read"""
    file = open_folder / "catalog.sqlite"
    shutil.copyfile(sqlite_template, file)
    file.chmod(0o444)
    open_folder.chmod(0o555)
    with unprivileged():
        yield file


def test_a_catalog_of_another_user_can_be_read(others_catalog):
    catalog = open_any(sqlite_url(others_catalog), read_only=True)
    assert catalog.versions.list() == []
    catalog.close()
    assert [path.name for path in others_catalog.parent.iterdir()] == ["catalog.sqlite"]


def test_a_catalog_of_another_user_cannot_be_written(others_catalog):
    with pytest.raises((Denied, Unavailable), match=r"right|user") as caught:
        save(open_any(sqlite_url(others_catalog)), manifest_of(b"1"))
    assert str(others_catalog) in caught.value.message


def test_a_new_catalog_in_anothers_folder_is_refused(open_folder):
    with unprivileged(), pytest.raises(Unavailable, match="no right to its folder"):
        create(sqlite_url(open_folder / "catalog.sqlite"))


def test_damage_is_told_in_our_words(tmp_path, sqlite_template):
    whole = sqlite_template.read_bytes()
    file = tmp_path / "catalog.sqlite"

    @settings(max_examples=40, deadline=None)
    @given(st.integers(0, len(whole) - 64), st.binary(min_size=1, max_size=64))
    def holds(start, damage):
        file.write_bytes(whole[:start] + damage + whole[start + len(damage) :])
        # whatever else is raised fails the test
        with contextlib.suppress(StoreError):
            catalog = open_any(sqlite_url(file), read_only=True)
            catalog.versions.list()
            catalog.close()

    holds()


def test_a_database_without_a_catalog(postgres_url):
    with pytest.raises(NotFound):
        open_any(postgres_url)


def test_other_tables_under_our_names_stay_as_they_are(postgres_url):
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE artifact (mine TEXT)")
        with pytest.raises(Invalid, match="of something else"):
            create(postgres_url)
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    assert tables == [("artifact",)]


def test_other_tables_may_stand_beside_ours(postgres_url):
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE recipes (cake TEXT)")
    create(postgres_url).close()


@pytest.fixture
def guarded_url(postgres_catalog_url):
    """The same database for a user whose password is asked for; rules are read from the server's own file"""
    with psycopg.connect(postgres_catalog_url, autocommit=True) as connection:
        [[rules]] = connection.execute("SHOW hba_file").fetchall()
        connection.execute("DROP ROLE IF EXISTS guarded")
        connection.execute("CREATE ROLE guarded LOGIN PASSWORD 'p@ss/word'")
        lines = ["host all guarded all scram-sha-256", "host all all all trust", "local all all trust"]
        table = ", ".join(f"('{line}')" for line in lines)
        connection.execute(f"COPY (VALUES {table}) TO '{rules}'")
        connection.execute("SELECT pg_reload_conf()")
        yield postgres_catalog_url.replace("postgres@", f"guarded:{SECRET}@")


def assert_silent(error, *secrets):
    seen = []
    while error is not None:
        seen.append(f"{error} {getattr(error, 'facts', '')}")
        error = error.__cause__
    assert not any(secret in text for text in seen for secret in secrets)


def test_a_wrong_password_is_denied_and_never_shown(guarded_url):
    wrong = guarded_url.replace(SECRET, "hunter2%40")
    with pytest.raises(Denied, match="password") as caught:
        open_any(wrong)
    assert_silent(caught.value, "hunter2")
    assert "guarded:***@" in caught.value.message


def test_a_user_without_rights_is_denied(guarded_url):
    with pytest.raises(Denied, match="no right") as caught:
        open_any(guarded_url)
    assert_silent(caught.value, SECRET, "p@ss")


def test_an_unknown_user_is_denied(postgres_catalog_url):
    with pytest.raises(Denied, match="does not know this user"):
        open_any(postgres_catalog_url.replace("postgres@", "nobody-here@"))


def test_a_missing_database_is_not_found(postgres_server):
    with pytest.raises(NotFound, match="does not exist"):
        open_any(f"{postgres_server.rpartition('/')[0]}/none")


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid"])
def test_a_server_that_is_away_is_unavailable(host):
    with pytest.raises(Unavailable) as caught:
        open_any(f"postgresql://u:{SECRET}@{host}:{free_port()}/d")
    assert caught.value.code == "unavailable.catalog"
    assert_silent(caught.value, SECRET, "p@ss/word")


def test_opening_loads_neither_alembic_nor_psycopg(sqlite_catalog_url):
    program = """
import sys
from artifactstore.catalog.open import open_catalog
from artifactstore.core.settings import Settings
catalog = open_catalog(sys.argv[1], store_id=None, catalog_id=None, settings=Settings())
catalog.versions.list()
print(sorted({"alembic", "psycopg", "sqlalchemy.dialects.postgresql"} & sys.modules.keys()))
"""
    found = subprocess.run(
        [sys.executable, "-c", program, sqlite_catalog_url], capture_output=True, text=True, check=True
    )
    assert found.stdout == "[]\n"


def test_an_unfinished_catalog_has_no_identity(url):
    catalog = open_any(url)
    catalog.database.write(lambda connection: connection.execute(sa.delete(store)))
    with pytest.raises(NotFound):
        open_any(url)
    catalog.close()


def test_a_check_before_making_changes_nothing(tmp_path, url):
    new = sqlite_url(tmp_path / "new.sqlite")
    before = sorted(tmp_path.iterdir())
    check_new(new, Settings())
    assert sorted(tmp_path.iterdir()) == before
    with pytest.raises(Exists, match="another store"):
        check_new(url, Settings())
    with pytest.raises(Invalid):
        check_new(sqlite_url(tmp_path), Settings())
