"""Integrity: verify what is stored, and repair what is damaged"""

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from artifactstore.core.errors import Invalid
from artifactstore.core.units import format_size, parse_duration
from artstore.arguments import parse_path, parse_sample
from artstore.failure import DAMAGED, PARTLY
from artstore.invocation import Invocation, with_invocation
from artstore.output import plural, took
from artstore.screen import Column, Screen

if TYPE_CHECKING:
    from artifactstore.ops.repair import RepairReport
    from artifactstore.ops.verify import VerifyReport

Refs = Annotated[list[str] | None, typer.Argument(metavar="REF", help="Only these versions. Default: everything.")]


@with_invocation
def verify(
    run: Invocation,
    *,
    refs: Refs = None,
    sample: Annotated[
        str | None, typer.Option("--sample", metavar="SHARE|SIZE", help="Only so much, picked at random: 5% or 200GB.")
    ] = None,
    limit: Annotated[
        str | None,
        typer.Option("--for", metavar="TIME", help="Stop after so long, such as 20min."),
    ] = None,
) -> None:
    """Read what is stored back and set aside what is damaged

    Every blob is compared with its name. Ends with exit code 4 when there is damage; artstore repair brings it back
    from a copy.
    """
    share, nbytes = (None, None) if sample is None else parse_sample(sample)
    span = None if limit is None else parse_duration(limit)
    if span is not None and not span:
        raise Invalid("No time at all checks nothing; write --for 20min", code="duration")
    begin = time.monotonic()
    with run.open_for_reading() as store:
        report = store.verify(refs or [], share=share, nbytes=nbytes, limit=span)
    run.monitor.stop()
    document = _verified(report)
    seconds = time.monotonic() - begin
    ids = [damage["digest"] for damage in document["damaged"]]
    run.output.tell(document, lambda screen: _draw_verified(screen, document, seconds), ids=ids)
    if report.damaged:
        raise typer.Exit(DAMAGED)


def _verified(report: "VerifyReport") -> dict[str, Any]:
    damaged = [
        {"digest": str(one.digest), "kind": one.kind, "versions": list(one.versions), "what": one.what}
        for one in report.damaged
    ]
    return {"blobs": report.blobs, "bytes": report.bytes, "damaged": damaged, "complete": report.complete}


_DAMAGE = (
    Column("what"),
    Column("digest", style="cyan", wrap=True),
    Column("kind", style="bold red"),
    Column("versions", wrap=True),
)


def _draw_verified(screen: Screen, document: dict[str, Any], seconds: float) -> None:
    damaged = document["damaged"]
    if damaged:
        rows = [(one["what"], one["digest"], one["kind"], " ".join(one["versions"])) for one in damaged]
        screen.table(_DAMAGE, rows)
        screen.line()
    what = f"{plural(len(damaged), 'object')} damaged; run artstore repair" if damaged else "no damage"
    early = "" if document["complete"] else " (the time was over before the end)"
    read = f"{plural(document['blobs'], 'blob')}  {format_size(document['bytes'])}  {took(seconds)}"
    screen.line(f"{read}{early}  {what}", style="bold red" if damaged else "green")


@with_invocation
def repair(
    run: Invocation,
    *,
    refs: Refs = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="PATH|URL",
            help="Another store, or a folder of plain model files. Default: what this store itself has left.",
        ),
    ] = None,
) -> None:
    """Refill what verify found damaged

    Ends with exit code 6 when something is left.
    """
    if source is not None:
        parse_path(source)
    with run.open() as store:
        report = store.repair(refs or [], source=source)
    run.monitor.stop()
    document = _repaired(report)
    run.output.tell(document, lambda screen: _draw_repaired(screen, document), ids=document["healed"])
    if report.left:
        raise typer.Exit(PARTLY)


def _repaired(report: "RepairReport") -> dict[str, Any]:
    return {
        "healed": [str(digest) for digest in report.healed],
        "left": [str(digest) for digest in report.left],
        "bytes": report.bytes,
    }


def _draw_repaired(screen: Screen, document: dict[str, Any]) -> None:
    healed, left = document["healed"], document["left"]
    if not healed and not left:
        screen.line("Nothing is known to be damaged; artstore verify reads everything")
        return
    screen.line(f"{plural(len(healed), 'object')} healed  {format_size(document['bytes'])}")
    if left:
        screen.line(f"{plural(len(left), 'object')} left; try --from with another copy:", style="bold red")
        for digest in left:
            screen.line(digest)
