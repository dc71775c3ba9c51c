"""Alias: movable names of versions"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from artifactstore.core.errors import NotFound
from artifactstore.core.units import format_moment
from artstore.invocation import Invocation, with_invocation
from artstore.screen import Column, Screen
from artstore.versions import age

if TYPE_CHECKING:
    from artifactstore.catalog.base import AliasInfo
    from artifactstore.store import Store

Name = Annotated[str, typer.Argument(metavar="NAME", help="The artifact.")]
Alias = Annotated[str, typer.Argument(metavar="ALIAS", help="The alias, such as prod.")]

app = typer.Typer(help="Name versions: set, rm, log")


@app.command("set")
@with_invocation
def set_(
    run: Invocation,
    *,
    name: Name,
    alias: Alias,
    ref: Annotated[str, typer.Argument(metavar="REF", help="The version it is to name, of the same artifact.")],
) -> None:
    """Point an alias at a version"""
    with run.open() as store:
        _tell(run, _document(store, store.alias_set(name, alias, ref)))


@app.command()
@with_invocation
def rm(run: Invocation, *, name: Name, alias: Alias) -> None:
    """Remove an alias; the version and the alias's history stay"""
    with run.open() as store:
        _tell(run, _document(store, store.alias_rm(name, alias)))


@app.command()
@with_invocation
def log(run: Invocation, *, name: Name, alias: Alias) -> None:
    """Show every move of an alias, newest first"""
    with run.open(read_only=True) as store:
        moves = [_document(store, move) for move in store.alias_log(name, alias)]
    if not moves:
        raise NotFound(f"{name} never had an alias {alias}; artstore ls shows those there are", code="alias")

    def show(screen: Screen) -> None:
        rows = [(str(move["generation"]), move["ref"] or "removed", move["at"], age(move["at"])) for move in moves]
        screen.table(_MOVES, rows)

    run.output.tell_rows("move", moves, show, ids=_ids(moves))


_MOVES = (Column("move", right=True), Column("version", style="cyan"), Column("at"), Column("age", right=True))


def _document(store: "Store", alias: "AliasInfo") -> dict[str, Any]:
    version = None if alias.version is None else store.depot.catalog.versions.get(alias.version)
    return {
        "artifact": str(alias.artifact),
        "alias": str(alias.name),
        "id": None if version is None else str(version.id),
        "ref": None if version is None else version.ref,
        "generation": alias.generation,
        "at": format_moment(alias.at),
    }


def _tell(run: Invocation, document: dict[str, Any]) -> None:
    def show(screen: Screen) -> None:
        name = f"{document['artifact']}@{document['alias']}"
        screen.line(f"{name} → {document['ref']}" if document["ref"] else f"Removed {name}")

    run.output.tell(document, show, ids=_ids([document]))


def _ids(documents: Sequence[dict[str, Any]]) -> list[str]:
    return [document["id"] for document in documents if document["id"]]
