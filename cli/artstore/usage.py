"""Usage: du, bytes asked for against bytes held"""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from artifactstore.core.units import format_size
from artstore.invocation import Invocation, with_invocation
from artstore.screen import Column, Screen

if TYPE_CHECKING:
    from artifactstore.catalog.base import UsageRow


class Group(StrEnum):
    """What makes one line of du"""

    ARTIFACT = "artifact"
    PHASE = "phase"


_ROW = (
    Column("", style="cyan"),
    Column("versions", right=True),
    Column("logical", right=True),
    Column("stored", right=True),
    Column("unique", right=True),
    Column("shared", right=True),
    Column("ratio", right=True),
)


@with_invocation
def du(
    run: Invocation,
    *,
    by: Annotated[
        Group, typer.Option("--by", metavar="artifact|phase", help="One line for each artifact, or each phase.")
    ] = Group.ARTIFACT,
) -> None:
    """Show bytes, before and after dedup

    Logical: as the versions ask for. Stored: each blob once. Unique: used by no other group. Shared: by others as well.
    """
    with run.open(read_only=True) as store:
        groups = [_group(row) for row in store.du(by)]
        total = store.depot.catalog.usage.totals()
        held = store.depot.catalog.blobs.totals()[1]
    document = {
        "groups": groups,
        "versions": total.versions,
        "logical_bytes": total.logical,
        "stored_bytes": held,
        "reclaimable_bytes": max(held - total.stored, 0),
    }
    ids = [group["key"] for group in groups]
    run.output.tell(document, lambda screen: _draw(screen, document, by), ids=ids)


def _group(row: "UsageRow") -> dict[str, Any]:
    return {
        "key": row.key,
        "versions": row.versions,
        "logical_bytes": row.logical,
        "stored_bytes": row.stored,
        "unique_bytes": row.unique,
        "shared_bytes": row.shared,
    }


def _draw(screen: Screen, document: dict[str, Any], by: Group) -> None:
    columns = (Column(by, style="cyan"), *_ROW[1:])
    if document["groups"]:
        screen.table(columns, [_row(group) for group in document["groups"]])
        screen.line()
    logical, stored = document["logical_bytes"], document["stored_bytes"]
    ratio = f"  {_ratio(logical, stored)} dedup" if stored else ""
    screen.line(f"total  {format_size(logical)} logical  {format_size(stored)} stored{ratio}", style="bold")
    if document["reclaimable_bytes"]:
        screen.line(f"{format_size(document['reclaimable_bytes'])} of it is needed by no version")


def _row(group: dict[str, Any]) -> tuple[str, ...]:
    sizes = (format_size(group[f"{name}_bytes"]) for name in ("logical", "stored", "unique", "shared"))
    return group["key"], f"{group['versions']:,}", *sizes, _ratio(group["logical_bytes"], group["stored_bytes"])


def _ratio(logical: int, stored: int) -> str:
    return f"{logical / stored:.2f}x" if stored else "-"
