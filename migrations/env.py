"""Run by alembic: through artifactstore.catalog.upgrade, or `alembic -x url=… upgrade head` in a checkout"""

from alembic import context
from sqlalchemy import Connection

from artifactstore.catalog.sql import Database
from artifactstore.catalog.tables import metadata
from artifactstore.catalog.upgrade import VERSION_TABLE, migrate
from artifactstore.core.settings import Settings


def run(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=metadata, version_table=VERSION_TABLE)
    with context.begin_transaction():
        context.run_migrations()


if "connection" in context.config.attributes:
    run(context.config.attributes["connection"])
else:
    url = context.get_x_argument(as_dictionary=True).get("url")
    if not url:
        raise SystemExit("Name the catalog: alembic -x url=sqlite:////path/catalog.sqlite upgrade head")
    migrate(Database(url, Settings(), create=True), run)
