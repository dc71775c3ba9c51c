"""Migrations: from nothing, from an older schema, two at once"""

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from artifactstore.catalog.base import RemoteInfo, Seen
from artifactstore.catalog.open import create_catalog, open_catalog
from artifactstore.catalog.tables import metadata
from artifactstore.catalog.upgrade import SCHEMA, VERSION_TABLE, migrations, schema, upgrade
from artifactstore.catalog.url import sqlite_url
from artifactstore.core.errors import Invalid, NotFound
from artifactstore.core.settings import Settings
from tests.contract.catalog import manifest_of, save

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["sqlite", "postgres"])
def empty(request, tmp_path):
    """A place for a catalog where there is none"""
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "catalog.sqlite")
    return request.getfixturevalue("postgres_url")


def test_the_schema_is_the_head_of_the_migrations():
    config = Config()
    config.set_main_option("script_location", str(ROOT / "migrations"))
    script = ScriptDirectory.from_config(config)
    assert script.get_heads() == [SCHEMA]
    numbers = [revision.revision for revision in script.walk_revisions("base", "head")]
    assert numbers == sorted(numbers, reverse=True)


def test_the_tables_are_what_the_migrations_make(catalog):
    def work(connection):
        options = {"version_table": VERSION_TABLE, "compare_type": True, "compare_server_default": True}
        return compare_metadata(MigrationContext.configure(connection, opts=options), metadata)

    assert catalog.database.read(work) == []


def test_upgrading_makes_a_catalog_and_keeps_one(empty):
    assert upgrade(empty) == SCHEMA
    catalog = create_catalog(empty, store_id="s", catalog_id="c", settings=Settings())
    done = save(catalog, manifest_of(b"1"))
    assert upgrade(empty) == SCHEMA
    assert catalog.versions.get(done.version.id) == done.version
    assert catalog.database.read(schema) == SCHEMA
    catalog.close()


def test_a_catalog_without_remotes_gets_them_and_keeps_all_it_has(url):
    with closing(open_catalog(url, store_id=None, catalog_id=None, settings=Settings())) as catalog:
        done = save(catalog, manifest_of(b"1"))
        before = list(catalog.dump())

        def work(connection):
            for statement in (
                "DROP TABLE memo",
                "DROP TABLE copy",
                "DROP TABLE remote",
                f"UPDATE {VERSION_TABLE} SET version_num = '0002'",
            ):
                connection.exec_driver_sql(statement)

        catalog.database.write(work, exclusive=True)
    with pytest.raises(Invalid, match="upgrade"):
        open_catalog(url, store_id=None, catalog_id=None, settings=Settings())
    assert upgrade(url) == SCHEMA
    with closing(open_catalog(url, store_id=None, catalog_id=None, settings=Settings())) as catalog:
        assert list(catalog.dump()) == before
        catalog.remotes.set(RemoteInfo("usb", "/u", "s", None))
        catalog.remotes.note("usb", Seen("c", 1, "t"), [done.version.id])
        assert catalog.remotes.held("usb") == {done.version.id}


def test_two_that_upgrade_at_once_agree(empty):
    children = []
    for _ in range(3):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                create_catalog(empty, store_id="s", catalog_id="c", settings=Settings())
                code = 0
            finally:
                os._exit(code)
        children.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0, 0]
    catalog = open_catalog(empty, store_id="s", catalog_id="c", settings=Settings())
    assert save(catalog, manifest_of(b"1")).serial == 1
    catalog.close()


def test_a_newer_catalog_stays_as_it_is(url):
    catalog = open_catalog(url, store_id=None, catalog_id=None, settings=Settings())
    change = sa.update(sa.table(VERSION_TABLE, sa.column("version_num"))).values(version_num="9999")
    catalog.database.write(lambda connection: connection.execute(change))
    with pytest.raises(Invalid, match="newer"):
        upgrade(url)
    assert catalog.database.read(schema) == "9999"
    catalog.close()


def test_the_migrations_of_the_checkout_win():
    assert migrations() == ROOT / "migrations"


def test_without_a_checkout_the_installed_ones_are_used(tmp_path, monkeypatch):
    from artifactstore.catalog import upgrade as module

    monkeypatch.setattr(module, "__file__", str(tmp_path / "artifactstore" / "catalog" / "upgrade.py"))
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "artifactstore_migrations", raising=False)
    with pytest.raises(NotFound, match="install it again"):
        migrations()
    (tmp_path / "artifactstore_migrations").mkdir()
    (tmp_path / "artifactstore_migrations" / "env.py").touch()
    sys.path_importer_cache.clear()
    assert migrations() == tmp_path / "artifactstore_migrations"


def test_alembic_itself_runs_in_a_checkout(tmp_path):
    file = tmp_path / "per%cent.sqlite"
    command = [sys.executable, "-m", "alembic", "-x", f"url={sqlite_url(file)}", "upgrade", "head"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    with pytest.raises(NotFound):  # the tables are there, whose store it is nobody has said yet
        open_catalog(sqlite_url(file), store_id=None, catalog_id=None, settings=Settings())
    create_catalog(sqlite_url(file), store_id="s", catalog_id="c", settings=Settings()).close()
    refused = subprocess.run([*command[:3], "upgrade", "head"], cwd=ROOT, capture_output=True, text=True)
    assert refused.returncode != 0
    assert "Name the catalog" in refused.stderr
