"""Shelf: what is done with the models of a registry, and how it is told"""

import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import typer

from artifactstore.core.errors import NoStore
from artifactstore.core.units import format_size
from artstore.failure import DAMAGED, MISSING, PARTLY, one_line
from artstore.invocation import Invocation
from artstore.output import Form, plural, took
from artstore.screen import Column, Screen

if TYPE_CHECKING:
    from artifactstore.core.registry import Model
    from artifactstore.provision.check import Standing
    from artifactstore.provision.plan import FetchOptions, FetchPlan
    from artifactstore.provision.run import FetchOutcome, FetchReport

STALE = timedelta(days=7)


def tell_plan(run: Invocation, models: Sequence["Model"], options: "FetchOptions") -> None:
    """What there is, and what a fetch would do; raise when nothing of it can be had"""
    from artifactstore.provision import plan  # noqa: PLC0415  # heavy

    with run.open(read_only=True) as store:
        found = plan.plan(store.depot, models, options)
    run.monitor.stop()
    if len(models) == 1 and found.items[0].error is not None:
        raise found.items[0].error
    run.output.tell(
        found.to_json(), lambda screen: _draw_plan(screen, found), ids=[item.model.name for item in found.items]
    )


_PLAN = (
    Column("name", style="cyan"),
    Column("destination"),
    Column("source", wrap=True),
    Column("license"),
    Column("size", right=True),
    Column("held", right=True),
    Column("gated"),
    Column("fetch", right=True),
    Column("disk after", right=True),
)


def _draw_plan(screen: Screen, plan: "FetchPlan") -> None:
    free, rows = plan.free, []
    for item in plan.items:
        document = item.to_json()
        free = None if free is None else free - item.new_bytes
        sizes = [document[key] for key in ("bytes", "held_bytes", "fetch_bytes")]
        size, held, fetch = ("?" if one is None else format_size(one) for one in sizes)
        failed = document["error"] is not None
        rows.append(
            (
                item.model.name,
                document["destination"],
                document["source"],
                document["license"] or "",
                size,
                "" if failed else held,
                {None: "", True: "yes", False: "no"}[document["gated"]],
                "?" if failed else fetch,
                "" if failed or free is None else format_size(free),
            )
        )
    screen.table(_PLAN, rows)
    for item in plan.items:
        if item.error is not None:
            screen.line(f"{item.model.name}: {item.error.message}", style="red")
    after = "" if plan.free_after is None else f", {format_size(plan.free_after)} free after it"
    screen.line(f"{format_size(plan.fetch_bytes)} to fetch{after}")


def check_models(
    run: Invocation, models: Sequence["Model"], options: "FetchOptions", *, checked_out: bool, hashed: bool
) -> None:
    """What is here of each, without a network; ends with exit code 4 or 14 when that is not all"""
    from artifactstore.provision.check import Standing, check  # noqa: PLC0415  # heavy

    damaged: list[dict[str, Any]] = []
    try:
        with run.open_for_reading() as store:
            standings = check(store.depot, models, options.root if checked_out else None, hashed=hashed)
            refs = [str(one.version.id) for one in standings if one.version is not None]
            if hashed and refs:
                found = store.verify(refs).damaged
                damaged = [
                    {"digest": str(one.digest), "kind": one.kind, "versions": list(one.versions)} for one in found
                ]
    except NoStore:
        standings = [Standing(model) for model in models]
    run.monitor.stop()
    document = {"models": [one.to_json() for one in standings], "damaged": damaged}
    ids = [one.model.name for one in standings if one.is_ready]
    run.output.tell(document, lambda screen: _draw_standings(screen, standings, damaged), ids=ids)
    if damaged or any(one.lacking or one.away for one in standings):
        raise typer.Exit(DAMAGED)
    if any(one.version is None for one in standings):
        raise typer.Exit(MISSING)


_STANDING = (
    Column("name", style="cyan"),
    Column("state"),
    Column("version"),
    Column("size", right=True),
    Column("folder"),
    Column("lacks", style="red", wrap=True),
)


def _draw_standings(screen: Screen, standings: Sequence["Standing"], damaged: Sequence[dict[str, Any]]) -> None:
    rows = []
    for one in standings:
        lost = [*one.lacking, *(f"{path} in its folder" for path in one.away or ())]
        more = f" and {len(lost) - 3} more" if len(lost) > 3 else ""
        version = one.version
        rows.append(
            (
                one.model.name,
                one.state,
                "" if version is None else version.ref,
                "" if version is None else format_size(version.nbytes),
                "" if one.folder is None or version is None else str(one.folder),
                ", ".join(lost[:3]) + more,
            )
        )
    screen.table(_STANDING, rows)
    missing = sum(one.version is None for one in standings)
    said = [f"{plural(len(standings), 'model')}"]
    said += [f"{missing} missing; artstore fetch --download brings them"] if missing else []
    said += [f"{plural(len(damaged), 'object')} damaged; run artstore repair, or fetch with --force"] if damaged else []
    screen.line("  ".join(said))


def fetch_models(
    run: Invocation, models: Sequence["Model"], options: "FetchOptions", *, checked_out: bool, older: timedelta | None
) -> None:
    """Fetch what is missing; ends with exit code 6 when some of several failed

    older: then remove what was half fetched so long ago.
    """
    from artifactstore.provision import plan  # noqa: PLC0415  # heavy
    from artifactstore.provision import run as runs  # noqa: PLC0415

    begin = time.monotonic()
    options = plan.bounded(options)
    with run.open(make=True) as store:
        report = runs.run(store.depot, plan.plan(store.depot, models, options), checked_out=checked_out)
    run.monitor.stop()
    if older is not None:
        _clear(options, older)
    if len(report.failed) == len(models):
        report.check()
    seconds = time.monotonic() - begin
    document = {
        "models": [one.to_json() for one in report.outcomes],
        "fetched_bytes": sum(one.fetched_bytes for one in report.outcomes),
    }
    ids = [str(one.version.id) for one in report.outcomes if one.version is not None]
    run.output.tell(document, lambda screen: _draw_outcomes(screen, report, seconds), ids=ids)
    if report.failed:
        _tell_failures(run, report)
        raise typer.Exit(PARTLY)


def _tell_failures(run: Invocation, report: "FetchReport") -> None:
    if run.output.form in {Form.JSON, Form.JSONL}:
        return  # the document has them
    for one in report.failed:
        assert one.error is not None
        print(f"artstore: {one_line(f'{one.model.name}: {one.error.message}')}", file=sys.stderr)  # noqa: T201  # as errors are


def _draw_outcomes(screen: Screen, report: "FetchReport", seconds: float) -> None:
    for one in report.outcomes:
        if one.error is None:
            screen.line(_line(one))
    failed = f"  {len(report.failed)} failed" if report.failed else ""
    fetched = sum(one.fetched_bytes for one in report.outcomes)
    screen.line(f"{plural(len(report.outcomes), 'model')}  {format_size(fetched)} fetched  {took(seconds)}{failed}")


def _line(one: "FetchOutcome") -> str:
    version = one.version
    assert version is not None
    parts = [one.model.name, version.ref, format_size(version.nbytes)]
    parts.append(f"({format_size(one.fetched_bytes)} fetched)" if one.fetched_bytes else "(nothing to fetch)")
    return "  ".join([*parts, *([] if one.folder is None else [f"→ {one.folder}"])])


def clean_up(run: Invocation, options: "FetchOptions") -> None:
    """Remove what is half fetched"""
    cleared = _clear(options, timedelta(0))
    nbytes = sum(one.nbytes for one in cleared)
    document = {"removed": len(cleared), "bytes": nbytes}

    def show(screen: Screen) -> None:
        screen.line(f"{plural(len(cleared), 'file')} half fetched removed  {format_size(nbytes)}")

    run.output.tell(document, show, ids=[one.name for one in cleared])


def _clear(options: "FetchOptions", older: timedelta) -> Sequence[Any]:
    from artifactstore.upstream.partial import Partials  # noqa: PLC0415  # heavy

    return Partials(options.partials).clear(older)
