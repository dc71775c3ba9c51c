"""Catalog: the administration of its schema"""

import typer

from artstore.invocation import Invocation, with_invocation

app = typer.Typer(help="Administer the catalog: upgrade.")


@app.callback()
def _group() -> None:
    """Keep `upgrade` a command of its own, though it is the only one"""


@app.command()
@with_invocation
def upgrade(run: Invocation) -> None:
    """Bring the catalog's schema to what this release needs; nothing to do when it is there"""
    from artifactstore.store import Store  # noqa: PLC0415  # heavy

    where = run.locate()
    schema = Store.catalog_upgrade(where.store, where.catalog, settings=run.settings)
    run.output.tell({"schema": schema}, lambda screen: screen.line(f"The catalog has schema {schema}"), ids=[schema])
