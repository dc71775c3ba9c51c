"""Usage: du, bytes asked for against bytes held"""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from artifactstore.core.units import format_size
from artstore.invocation import Invocation, with_invocation
from artstore.output import plural
from artstore.screen import Column, Screen

if TYPE_CHECKING:
    from artifactstore.catalog.base import UsageRow
    from artifactstore.store import Store


class Group(StrEnum):
    """What makes one line of du"""

    ARTIFACT = "artifact"
    PHASE = "phase"
    KIND = "kind"
    FORMAT = "format"


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
    refs: Annotated[
        list[str] | None, typer.Argument(metavar="[REF]…", help="Say what removing these versions would free.")
    ] = None,
    by: Annotated[
        Group,
        typer.Option("--by", metavar="artifact|phase|kind|format", help="What makes a line. kind: metadata says it."),
    ] = Group.ARTIFACT,
    reclaimable: Annotated[bool, typer.Option("--reclaimable", help="Also say what gc could free, and when.")] = False,
) -> None:
    """Show bytes, before and after dedup

    Logical: as the versions ask for. Stored: each blob once. Unique: used by no other group. Shared: by others as well.
    """
    with run.open(read_only=True) as store:
        if refs:
            _tell_freed(run, store, refs)
            return
        groups = [_group(row) for row in store.du(by)]
        total = store.depot.catalog.usage.totals()
        # what is retired lies on the disk until the end of its grace
        held = store.depot.catalog.blobs.totals()[1] + store.depot.catalog.collections.waiting()[0].nbytes
        more = _reclaimable(store) if reclaimable else {}
    document = {
        "groups": groups,
        "versions": total.versions,
        "logical_bytes": total.logical,
        "stored_bytes": held,
        "reclaimable_bytes": max(held - total.stored, 0),
        **more,
    }
    ids = [group["key"] for group in groups]
    run.output.tell(document, lambda screen: _draw(screen, document, by), ids=ids)


def _tell_freed(run: Invocation, store: "Store", refs: list[str]) -> None:
    versions = [store.resolve(ref) for ref in refs]
    freed = store.frees(refs)
    logical = sum(version.nbytes for version in versions)
    names = ", ".join(version.ref for version in versions)
    document = {"versions": [version.ref for version in versions], "logical_bytes": logical, "frees_bytes": freed}

    def show(screen: Screen) -> None:
        shared = f"; {format_size(logical - freed)} of theirs is shared and stays" if logical > freed else ""
        screen.line(f"Removing {names} frees {format_size(freed)} of {format_size(logical)}{shared}")

    run.output.tell(document, show, ids=[str(version.id) for version in versions])


def _reclaimable(store: "Store") -> dict[str, Any]:
    plan = store.plan_gc()
    return {
        "reclaimable": {
            "due_bytes": plan.sweep.due.nbytes,
            "waiting_bytes": max(plan.sweep.waiting.nbytes - plan.sweep.due.nbytes, 0),
            "policy_bytes": plan.retire.frees_bytes,
            "policy_versions": len(plan.retire.going),
        }
    }


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
    # what waits to be collected says nothing of how well the rest shares
    needed = stored - document["reclaimable_bytes"]
    ratio = f"  {_ratio(logical, needed)} dedup" if needed else ""
    screen.line(f"total  {format_size(logical)} logical  {format_size(stored)} stored{ratio}", style="bold")
    if document["reclaimable_bytes"]:
        screen.line(f"{format_size(document['reclaimable_bytes'])} of it is needed by no version")
    if more := document.get("reclaimable"):
        screen.fields(
            [
                ("due now (artstore gc)", format_size(more["due_bytes"])),
                ("after its grace", format_size(more["waiting_bytes"])),
                (
                    "by stored policies",
                    f"{format_size(more['policy_bytes'])}, {plural(more['policy_versions'], 'version')}",
                ),
            ]
        )


def _row(group: dict[str, Any]) -> tuple[str, ...]:
    sizes = (format_size(group[f"{name}_bytes"]) for name in ("logical", "stored", "unique", "shared"))
    return group["key"], f"{group['versions']:,}", *sizes, _ratio(group["logical_bytes"], group["stored_bytes"])


def _ratio(logical: int, stored: int) -> str:
    return f"{logical / stored:.2f}x" if stored else "-"
