"""The schema of a catalog: which one this code needs, and how an older or empty one gets there"""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import Connection

from artifactstore.catalog.sql import Database
from artifactstore.core.errors import Invalid, NotFound
from artifactstore.core.settings import Settings

SCHEMA = "0004"
VERSION_TABLE = "artifactstore_schema"


def upgrade(url: str, settings: Settings | None = None) -> str:
    """Bring the catalog at `url` to this schema, making it where there is none; the schema it now has"""
    database = Database(url, settings or Settings(), create=True)
    try:
        migrate(database)
    finally:
        database.close()
    return SCHEMA


def migrate(database: Database, run: Callable[[Connection], None] | None = None) -> None:
    """Run the migrations that are due, through alembic or `run`, in one transaction beside no other writer"""

    def due(connection: Connection) -> bool:
        found = schema(connection)
        if found is None:
            refuse_foreign(connection, database)
        else:
            refuse_newer(found, database)
        return found != SCHEMA

    def work(connection: Connection) -> None:
        if due(connection):
            (run or _run)(connection)

    # asked before anything is written, since a foreign database must stay as it is
    if database.read(due):
        database.use_wal()
        database.write(work, exclusive=True)


def schema(connection: Connection) -> str | None:
    """The schema of a catalog, None where there is none"""
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.execute(sa.select(sa.column("version_num")).select_from(sa.table(VERSION_TABLE))).scalar()


def check_schema(found: str | None, database: Database) -> None:
    """Raise Invalid unless this code can work with the schema `found`"""
    refuse_newer(found or "", database)
    if found != SCHEMA:
        raise Invalid(
            f"Catalog {database.url.shown} has the older schema {found or 'none'}; run artstore catalog upgrade",
            code="schema-old",
            found=found,
            expected=SCHEMA,
        )


def refuse_newer(found: str, database: Database) -> None:
    """Raise Invalid when a later release made the catalog; schemas are numbered in order"""
    if found > SCHEMA:
        raise Invalid(
            f"Catalog {database.url.shown} has schema {found}, written by a newer artifactstore; upgrade this one",
            code="schema-new",
            found=found,
            expected=SCHEMA,
        )


def refuse_foreign(connection: Connection, database: Database) -> None:
    """Raise Invalid for the SQLite file of something else"""
    # a team's Postgres may hold other tables beside ours, a file of SQLite has one owner
    if not database.is_postgres and sa.inspect(connection).get_table_names():
        raise Invalid(
            f"{database.url.shown} is a database of something else; name a new file for the catalog", code="foreign"
        )


def migrations() -> Path:
    """The folder alembic reads: that of a checkout, else the installed copy"""
    checkout = Path(__file__).parents[2]
    if (checkout / "alembic.ini").is_file() and (checkout / "migrations" / "env.py").is_file():
        return checkout / "migrations"
    found = importlib.util.find_spec("artifactstore_migrations")
    if found is None or not found.submodule_search_locations:
        raise NotFound("The migrations are not installed beside artifactstore; install it again", code="migrations")
    return Path(found.submodule_search_locations[0])


def _run(connection: Connection) -> None:
    # alembic takes a third of a second to import, and opening never needs it
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(migrations()).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
