"""Init: make a store"""

from pathlib import Path
from typing import Annotated

import typer

from artstore.invocation import Invocation, with_invocation
from artstore.location import FOLDER, Location
from artstore.screen import Screen


@with_invocation
def init(
    run: Invocation,
    *,
    url: Annotated[
        str | None,
        typer.Argument(
            metavar="URL",
            help="A folder, or a URL such as s3://bucket/prefix. Default: .artstore in this folder.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Make a store in a folder or under a URL"""
    from artifactstore.store import Store  # noqa: PLC0415  # heavy

    where = _where(run, url)
    with Store.init(where.store, where.catalog, settings=run.settings, monitor=run.monitor) as store:
        document = {
            "store": store.depot.blobs.url,
            "store_id": store.depot.info.store_id,
            "catalog": store.depot.catalog.url,
        }

    def show(screen: Screen) -> None:
        screen.line(f"Made a store at {document['store']}")
        screen.line(f"Its catalog is {document['catalog']}")

    run.output.tell(document, show, ids=[document["store_id"]])


def _where(run: Invocation, url: str | None) -> Location:
    if url is not None:
        return Location(url, run.catalog)
    if run.store is not None:
        return Location(run.store, run.catalog)
    return Location.named(Path.cwd(), run.catalog) or Location(str(Path.cwd() / FOLDER), run.catalog)
