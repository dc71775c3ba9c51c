"""Keep: pins that make a version stay, and undo, which brings back"""

from datetime import UTC, datetime
from typing import Annotated

import typer

from artifactstore.core.errors import Invalid, NotFound
from artifactstore.core.names import check_label
from artstore.arguments import EPOCH, parse_moment
from artstore.invocation import Invocation, with_invocation
from artstore.output import plural
from artstore.screen import Screen

Ref = Annotated[
    str, typer.Argument(metavar="REF", help="The version: name, name@alias, name:3 or the start of its id.")
]


@with_invocation
def pin(
    run: Invocation,
    *,
    ref: Ref,
    why: Annotated[str, typer.Option("--why", metavar="TEXT", help="The reason, which gc and why repeat.")],
    until: Annotated[
        str | None, typer.Option("--until", metavar="DATE", help="The pin ends then, such as 2027-01-31.")
    ] = None,
) -> None:
    """Keep a version whatever the rules say

    A version may have several pins, each for its own reason; the same reason again moves its end.
    """
    check_label(why, "reason")
    end = None if until is None else _moment(until)
    with run.open() as store:
        version = store.resolve(ref)
        store.pin(ref, why, end)
    document = {
        "id": str(version.id),
        "ref": version.ref,
        "why": why,
        "until": None if end is None else end.isoformat(),
    }
    till = "" if end is None else f" until {end:%Y-%m-%d}"
    run.output.tell(document, lambda screen: screen.line(f"{version.ref}  pinned: {why}{till}"), ids=[str(version.id)])


def _moment(text: str) -> datetime:
    moment = datetime.fromtimestamp(parse_moment(text, "--until ") / 1e6, UTC)
    if moment < EPOCH or moment <= datetime.now(UTC):
        raise Invalid(f"A pin until {text[:40]} would be over already; name a day to come", code="until")
    return moment


@with_invocation
def unpin(
    run: Invocation,
    *,
    ref: Ref,
    why: Annotated[
        str | None, typer.Option("--why", metavar="TEXT", help="Only the pin with this reason. Default: all.")
    ] = None,
) -> None:
    """Take pins off a version"""
    with run.open() as store:
        version = store.resolve(ref)
        pins = [pin["why"] for pin in store.show(ref)["pins"]]
        if not pins or why not in {None, *pins}:
            which = "no pin" if why is None or not pins else f"no pin {why!r:.80}; it has {', '.join(map(repr, pins))}"
            raise NotFound(f"{version.ref} has {which}", code="pin", version=str(version.id), pins=pins)
        count = store.unpin(ref, why)
    document = {"id": str(version.id), "ref": version.ref, "removed": count}
    run.output.tell(
        document, lambda screen: screen.line(f"{version.ref}  {plural(count, 'pin')} removed"), ids=[str(version.id)]
    )


@with_invocation
def undo(
    run: Invocation,
    *,
    serial: Annotated[
        int | None, typer.Argument(metavar="[SERIAL]", help="The record, as artstore log numbers them.", min=1)
    ] = None,
) -> None:
    """Take back a retirement, a move of an alias, a pin or its removal

    Without SERIAL the newest of these that still has an effect. A retirement comes back whole, as long as none of its
    bytes was removed.
    """
    with run.open() as store:
        report = store.undo(serial)
    ids = [str(version) for version in report.versions]
    document = {"serial": report.serial, "versions": ids, "changes": list(report.changes)}

    def show(screen: Screen) -> None:
        for change in report.changes:
            screen.line(change)
        screen.line(f"Record {report.serial} is taken back", "green")

    run.output.tell(document, show, ids=ids)
