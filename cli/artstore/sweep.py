"""Sweep: one recipe with several values of a parameter, merged and compared"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from artifactstore.core.errors import Invalid
from artifactstore.core.names import ArtifactName
from artifactstore.core.units import format_size
from artstore.arguments import parse_path
from artstore.invocation import Invocation, with_invocation
from artstore.memory import share_arena
from artstore.screen import Column, Screen

if TYPE_CHECKING:
    from artifactstore.derive.evaluate.tasks.table import Task
    from artifactstore.derive.merge.sweep import SweepPlan
    from artifactstore.store import Store

# The less of it, the better the model.
_LESS = ("perplexity", "kl", "bits_per_byte", "loss")


@with_invocation
def merge_sweep(
    run: Invocation,
    *,
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe in mergekit's YAML.")],
    settings: Annotated[
        list[str], typer.Option("--set", metavar="NAME=A,B,…", help="Values of a parameter, each tried. Repeatable.")
    ],
    name: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="The artifact to make. Default: the recipe's name.")
    ] = None,
    tasks: Annotated[
        list[str] | None,
        typer.Option("--task", metavar="TASK", help="What to compare by, as for evaluate. Repeatable."),
    ] = None,
    data: Annotated[str | None, typer.Option("--data", metavar="PATH", help="The data set of the tasks.")] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, help="Only the first N items of each data set.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Show what would be made.")] = False,
) -> None:
    """Merge a recipe once for every value of a parameter, and name the best

    Each becomes a version of one artifact. Sources are read once for all of them. With tasks each is evaluated, what is
    found becomes its metrics, and the alias best is set to the one that does the first task best.
    """
    values = dict(_setting(one) for one in settings)
    if name is not None:
        ArtifactName(name)
    share_arena()
    loaded = _tasks(tasks or (), data, limit)
    with run.open(read_only=True) if dry_run else run.open() as store:
        plan = store.plan_sweep(parse_path(recipe), values, name=name)
        if dry_run:
            _tell_plan(run, plan)
            return
        rows = [
            {"values": dict(found), "id": str(report.committed.version.id), "ref": report.committed.version.ref}
            for found, report in store.merge_sweep(plan)
        ]
        best = _evaluate(store, rows, loaded) if loaded else None
        run.monitor.stop()
        _tell(run, rows, best)


def _setting(text: str) -> tuple[str, list[float]]:
    name, _, found = text.partition("=")
    try:
        values = [float(one) for one in found.split(",")]
    except ValueError:
        values = []
    if not name or not values or not all(map(math.isfinite, values)) or len(set(values)) != len(values):
        raise Invalid(f"--set is like t=0.3,0.5,0.7 with different numbers, found {text!r:.60}", code="set")
    return name, values


def _tasks(tasks: Sequence[str], data: str | None, limit: int | None) -> "list[Task]":
    """Before anything is merged"""
    where = None if data is None else parse_path(data)
    if not tasks:
        return []
    from artifactstore.derive.evaluate.tasks.table import load  # noqa: PLC0415  # torch takes seconds

    return [load(task, where, limit) for task in dict.fromkeys(tasks)]


def _evaluate(store: "Store", rows: list[dict[str, Any]], loaded: "list[Task]") -> dict[str, Any]:
    """Note what each is found to be; the best row"""
    from artifactstore.derive.evaluate.run import evaluate  # noqa: PLC0415  # torch takes seconds

    for row, found in zip(rows, evaluate(store, [row["id"] for row in rows], loaded), strict=True):
        row["metrics"] = found.metrics
        first = found.scores[0]
        row["by"] = next(iter(first.values))
    by = rows[0]["by"]
    sign = 1 if any(word in by for word in _LESS) else -1
    best = min(rows, key=lambda row: sign * row["metrics"].get(by, sign * math.inf))
    store.alias_set(best["ref"].rpartition(":")[0], "best", best["id"])
    return best


def _tell(run: Invocation, rows: list[dict[str, Any]], best: dict[str, Any] | None) -> None:
    def show(screen: Screen) -> None:
        by = rows[0].get("by")
        columns = [Column("version", style="cyan"), Column("values"), *([Column(by, right=True)] if by else [])]
        screen.table(columns, [_cells(row, by) for row in rows])
        if best is not None and by is not None:
            screen.line(f"The best by {by} is {best['ref']} ({_values(best)}): {best['metrics'][by]:.6g}")

    told = [{key: value for key, value in row.items() if key != "by"} for row in rows]
    document = {"versions": told, "best": None if best is None else best["ref"]}
    run.output.tell(document, show, ids=[row["id"] for row in rows])


def _cells(row: dict[str, Any], by: str | None) -> tuple[str, ...]:
    return (row["ref"], _values(row), *([f"{row['metrics'].get(by, math.nan):.6g}"] if by else []))


def _values(row: dict[str, Any]) -> str:
    return " ".join(f"{name}={value:g}" for name, value in row["values"].items())


def _tell_plan(run: Invocation, plan: "SweepPlan") -> None:
    document = plan.to_json()

    def show(screen: Screen) -> None:
        columns = [Column("values"), Column("size", right=True), Column("to calculate", right=True)]
        screen.table(
            columns,
            [
                (_values(one), format_size(one["bytes"]), format_size(one["calculated_bytes"]))
                for one in document["merges"]
            ],
        )
        screen.line("Nothing changed (dry run)")

    run.output.tell(document, show, ids=[])
