"""Run by alembic: through artifactstore.catalog.upgrade, or `alembic -x url=… upgrade head` in a checkout"""

from alembic import context

from artifactstore.catalog.tables import metadata
from artifactstore.catalog.upgrade import VERSION_TABLE, upgrade


def migrate() -> None:
    connection = context.config.attributes.get("connection")
    if connection is None:
        url = context.get_x_argument(as_dictionary=True).get("url")
        if not url:
            raise SystemExit("Name the catalog: alembic -x url=sqlite:////path/catalog.sqlite upgrade head")
        upgrade(url)
        return
    context.configure(connection=connection, target_metadata=metadata, version_table=VERSION_TABLE)
    with context.begin_transaction():
        context.run_migrations()


migrate()
