"""Cache: copies of a remote store on this machine, which can be fetched again"""

from pathlib import Path
from typing import Annotated, Any

import typer

from artifactstore.core.errors import Invalid
from artifactstore.core.units import format_size
from artstore.confirm import confirm
from artstore.invocation import Invocation, with_invocation
from artstore.output import plural
from artstore.screen import Column, Screen

app = typer.Typer(help="Look at and empty the cache of a remote store: ls, clear")

_COPY = (Column("object", style="cyan", wrap=True), Column("size", right=True), Column("state"))
_SHOWN = 20


@app.command()
@with_invocation
def ls(run: Invocation) -> None:
    """Show what the cache holds, the last used first"""
    document = _document(_folder(run))

    def show(screen: Screen) -> None:
        rows = [
            (one["name"], format_size(one["size"]), "" if one["whole"] else "partial") for one in document["copies"]
        ]
        screen.table(_COPY, rows[:_SHOWN])
        if len(rows) > _SHOWN:
            screen.line(f"… and {len(rows) - _SHOWN:,} more, --json shows all")
        screen.line(f"{plural(len(rows), 'object')}, {format_size(document['bytes'])}", "bold")

    run.output.tell(document, show, ids=[one["name"] for one in document["copies"]])


@app.command()
@with_invocation
def clear(
    run: Invocation,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Show what would go; change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Empty the cache: only copies that can be fetched again, no file of anybody else"""
    from artifactstore.blobs import cache  # noqa: PLC0415  # --help need not wait for it

    folder = _folder(run)
    document = _document(folder)
    what = f"{format_size(document['bytes'])} in {folder}"
    if not dry_run and document["copies"]:
        confirm(f"Remove {what}?", yes=yes)
    freed = 0 if dry_run else cache.clear(folder)
    document = {"folder": str(folder), "bytes": document["bytes"], "freed_bytes": freed}
    run.output.tell(document, lambda screen: screen.line(f"Would remove {what}" if dry_run else f"Removed {what}"))


def _folder(run: Invocation) -> Path:
    if run.settings.cache is None:
        raise Invalid("No cache is named; give --cache FOLDER or set ARTSTORE_CACHE", code="cache")
    return Path(run.settings.cache)


def _document(folder: Path) -> dict[str, Any]:
    from artifactstore.blobs.cache import copies  # noqa: PLC0415  # as above

    found = list(reversed(copies(folder)))
    return {
        "folder": str(folder),
        "bytes": sum(copy.nbytes for copy in found),
        "copies": [{"name": copy.name, "size": copy.nbytes, "whole": copy.whole} for copy in found],
    }
