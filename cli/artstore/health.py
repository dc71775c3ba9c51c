"""Health: status and doctor"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import typer

from artifactstore.core.units import format_size
from artstore.failure import DAMAGED, FAILED
from artstore.invocation import Invocation, with_invocation
from artstore.screen import Column, Screen


@with_invocation
def status(run: Invocation) -> None:
    """Show the store: where it is, how much it holds, who is at work"""
    with run.open(read_only=True) as store:
        document = store.status()
    run.output.tell(document, lambda screen: _draw_status(screen, document), ids=[document["store_id"]])


def _draw_status(screen: Screen, document: dict[str, Any]) -> None:
    free, waiting = document["free_bytes"], document["waiting_bytes"]
    screen.fields(
        [
            ("store", document["store"]),
            ("catalog", document["catalog"]),
            ("versions", f"{document['versions']:,}"),
            ("blobs", f"{document['blobs']:,}"),
            ("stored", format_size(document["stored_bytes"])),
            ("waiting", f"{format_size(waiting)}, which gc removes after its grace" if waiting else ""),
            ("free", "" if free is None else format_size(free)),
            ("journal", f"serial {document['serial']:,}" + _unexported(document["unexported"])),
            ("damaged", f"{document['damaged']:,} blobs; run artstore repair" if document["damaged"] else ""),
        ]
    )
    for lease in document["leases"]:
        screen.line(f"at work: {lease['kind']} by pid {lease['pid']} on {lease['host']}, until {lease['expires']}")


def _unexported(count: int) -> str:
    return f", {count} not yet beside the blobs" if count else ""


@with_invocation
def doctor(run: Invocation) -> None:
    """Look for trouble with the store and around it

    Looks at space, file system, permissions, clock, journal, damage and remotes. Ends with exit code 4 when damage is
    known, 1 when something else is wrong.
    """
    with run.open_for_reading() as store:
        findings = [asdict(finding) for finding in store.doctor()]
    bad = [finding["what"] for finding in findings if finding["status"] in {"warn", "fail"}]
    run.output.tell_rows("finding", findings, lambda screen: _draw_findings(screen, findings), ids=bad)
    failed = {finding["what"] for finding in findings if finding["status"] == "fail"}
    if failed:
        raise typer.Exit(DAMAGED if "damage" in failed else FAILED)


_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red", "skipped": "dim"}


def _draw_findings(screen: Screen, findings: Sequence[dict[str, Any]]) -> None:
    rows = [(finding["status"], finding["what"], finding["detail"]) for finding in findings]
    columns = (Column("status"), Column("what"), Column("detail", wrap=True))
    screen.table(columns, rows, styles=[_STYLES[finding["status"]] for finding in findings])
