"""Intake: add --from, what another tool keeps taken in, a version each"""

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from artifactstore.core.elsewhere.base import Tool
from artifactstore.core.errors import Invalid
from artifactstore.core.units import format_size
from artstore.arguments import refuse_missing
from artstore.failure import PARTLY
from artstore.invocation import Invocation
from artstore.output import plural
from artstore.screen import Column, Screen
from artstore.taken import parent_line, taken_document, taken_lines

if TYPE_CHECKING:
    from artifactstore.core.elsewhere.base import Passed
    from artifactstore.intake import IntakePlan


def refuse_labels(tool: Tool, options: Mapping[str, object]) -> None:
    """Raise Invalid for options of one version, by their names without dashes"""
    given = [f"--{name}" for name, value in options.items() if value is not None]
    if given:
        raise Invalid(
            f"{', '.join(given)} is for one version, and --from {tool} takes in what is there as it is named there; "
            "label it afterwards: artstore alias set, artstore metric",
            code="from",
        )


def add_from(run: Invocation, tool: Tool, paths: Sequence[Path], name: str | None, *, dry_run: bool) -> None:
    """Take in, or with `dry_run` only tell, all that a tool keeps below one path

    Ends with exit code 6 when something a person would want was passed over.
    """
    if len(paths) > 1:
        raise Invalid(f"--from {tool} takes one PATH, {len(paths)} were given", code="usage")
    path = paths[0] if paths else _default(tool)
    refuse_missing([path])
    with run.open(make=not dry_run, read_only=dry_run) as store:
        plan = store.plan_add_from(tool, path, name=name)
        if dry_run:
            _tell(run, plan)
            return
        begin = time.monotonic()
        from artifactstore import intake  # noqa: PLC0415  # heavy

        report = intake.run(store.depot, plan)
    run.monitor.stop()
    documents = [taken_document(ingested) for _, ingested in report.taken]
    passed = [intake.passed_to_json(one) for one in report.passed]

    def show(screen: Screen) -> None:
        seconds = (time.monotonic() - begin) / max(len(report.taken), 1)
        for arrival, ingested in report.taken:
            for line in taken_lines(arrival.plan, ingested, seconds):
                screen.line(line)
        _draw_passed(screen, report.passed)

    ids = [document["id"] for document in documents]
    run.output.tell({"versions": documents, "passed": passed}, show, ids=ids)
    if report.broken:
        raise typer.Exit(PARTLY)


def _default(tool: Tool) -> Path:
    """Where a tool keeps its models unless told otherwise, as its own documentation says"""
    home = Path("~").expanduser()
    if tool is Tool.HF_CACHE:
        cache = os.environ.get("XDG_CACHE_HOME") or home / ".cache"
        given = os.environ.get("HF_HOME") or Path(cache, "huggingface")
        return Path(os.environ.get("HF_HUB_CACHE") or Path(given, "hub")).expanduser()
    if tool is Tool.OLLAMA:
        return Path(os.environ.get("OLLAMA_MODELS") or home / ".ollama" / "models").expanduser()
    raise Invalid(f"Missing PATH: --from {tool} has no folder of its own", code="usage")


def _tell(run: Invocation, plan: "IntakePlan") -> None:
    def show(screen: Screen) -> None:
        rows = [
            (
                str(arrival.plan.artifact),
                " ".join(f"@{alias}" for alias in arrival.found.aliases),
                plural(len(arrival.plan.sources), "file"),
                format_size(arrival.plan.nbytes),
                arrival.found.place,
            )
            for arrival in plan.arrivals
        ]
        screen.table(_ARRIVALS, rows)
        for arrival in plan.arrivals:
            for link in arrival.plan.parents:
                screen.line(f"{arrival.plan.artifact}:{parent_line(link)}")
        _draw_passed(screen, plan.passed)
        screen.line(f"{plural(len(rows), 'version')}  {format_size(plan.nbytes)}")
        screen.line("Nothing changed (dry run)")

    document: dict[str, Any] = plan.to_json()
    run.output.tell(document, show, ids=[str(arrival.plan.artifact) for arrival in plan.arrivals])


def _draw_passed(screen: Screen, passed: Sequence["Passed"]) -> None:
    for one in passed:
        screen.line(f"passed over {one.place}: {one.why}")


_ARRIVALS = (
    Column("artifact", style="cyan"),
    Column("aliases"),
    Column("files", right=True),
    Column("size", right=True),
    Column("place", style="dim"),
)
