"""Merge: one model of several, as a recipe says"""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from artifactstore.core.errors import Invalid
from artifactstore.core.names import ArtifactName
from artifactstore.core.units import format_size
from artstore.arguments import parse_path
from artstore.invocation import Invocation, with_invocation
from artstore.memory import share_arena
from artstore.output import Form, plural, took
from artstore.screen import Column, Screen

if TYPE_CHECKING:
    from artifactstore.derive.merge.plan import MergePlan
    from artifactstore.store import Store


@with_invocation
def merge(
    run: Invocation,
    *,
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe in mergekit's YAML.")],
    name: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="The artifact to make. Default: the recipe's name.")
    ] = None,
    out: Annotated[
        str | None, typer.Option("--out", metavar="DIR", help="Write its files to this folder as well.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Show what would be made.")] = False,
) -> None:
    """Merge models into one, as a recipe says

    Models are versions of the store or folders. Tensors are made one after another in constant memory; what a model has
    already is not stored again, and what is finished is kept when it is interrupted. Models that cannot be merged are
    refused before anything is read, with a table of what differs.
    """
    share_arena()
    parse_path(recipe)
    dest = None if out is None else parse_path(out)
    if name is not None:
        ArtifactName(name)
    with run.open(read_only=True) if dry_run else run.open() as store:
        plan = _plan(run, store, recipe, name)
        if dest is not None:
            _check(dest, plan)
        if dry_run:
            _tell_plan(run, plan)
        else:
            _make(run, store, plan, dest)


def _check(dest: Path, plan: "MergePlan") -> None:
    from artifactstore.derive.dest import check_dest, sizes  # noqa: PLC0415  # only a merge needs it

    check_dest(dest, plan.models, sizes(plan.product))


def _plan(run: Invocation, store: "Store", recipe: str, name: str | None) -> "MergePlan":
    try:
        return store.plan_merge(recipe, name=name)
    except Invalid as e:
        if run.output.form is Form.TEXT and "table" in e.facts:
            _tell_difference(Screen(), e.facts)
        raise


def _tell_difference(screen: Screen, facts: dict[str, Any]) -> None:
    """What keeps two models from being merged, and what could be done instead"""
    rows = [(row["what"], row["a"] or "-", row["b"] or "-") for row in facts["table"]]
    # models in a row: titles are written in capitals where there are no colours
    screen.table(_DIFFERENCES, [("model", *facts["models"]), *rows])
    for line in facts["next"]:
        screen.line(line)


def _make(run: Invocation, store: "Store", plan: "MergePlan", dest: Path | None) -> None:
    begin = time.monotonic()
    report = store.merge(plan)
    version = report.committed.version
    if dest is not None:
        store.checkout(str(version.id), dest)
    run.monitor.stop()
    document = {
        **_document(plan),
        "id": str(version.id),
        "ref": version.ref,
        "made": report.made,
        "known": report.known,
        "new_bytes": report.new_bytes,
        "out": None if dest is None else str(dest),
    }

    def show(screen: Screen) -> None:
        _say(screen, plan, version.ref)
        parts = [f"  {plural(report.made, 'tensor')} made"]
        if report.known:
            parts.append(f"{report.known:,} known from before")
        screen.line("  ".join([*parts, f"{format_size(report.new_bytes)} new", took(time.monotonic() - begin)]))
        if dest is not None:
            screen.line(f"  written to {dest}")

    run.output.tell(document, show, ids=[str(version.id)])


def _tell_plan(run: Invocation, plan: "MergePlan") -> None:
    document = _document(plan)

    def show(screen: Screen) -> None:
        _say(screen, plan, document["artifact"])
        models = zip(document["models"], document["parents"], strict=True)
        rows = [(model["ref"], _role(plan, link), (model["id"] or "a folder")[:12]) for model, link in models]
        screen.table(_MODELS, rows)
        screen.table(_GROUPS, [tuple(_cells(group)) for group in document["groups"]])
        screen.line(
            f"Reads {format_size(document['read_bytes'])}, calculates {format_size(document['calculated_bytes'])}; "
            f"{format_size(document['copied_bytes'])} are tensors of a model as they are, "
            f"{format_size(document['known_bytes'])} are known from before"
        )
        screen.line("Nothing changed (dry run)")

    run.output.tell(document, show, ids=[])


def _document(plan: "MergePlan") -> dict[str, Any]:
    from artifactstore.core.recipe.outline import outline  # noqa: PLC0415  # only a merge needs it

    sizes = [one.nbytes for one in plan.product.made]
    groups = [
        {
            "name": group.name,
            "method": group.method,
            "params": group.params,
            "tensors": len(group.outputs),
            "bytes": sum(sizes[number] for number in group.outputs),
        }
        for group in outline(plan.blueprint)
    ]
    return {**plan.to_json(), "groups": groups}


def _role(plan: "MergePlan", link: dict[str, Any]) -> str:
    roles = ["base"] if link["params"].get("role") == "base" else []
    return ", ".join(roles + (["configuration"] if link["ref"] == plan.blueprint.models[plan.blueprint.donor] else []))


def _cells(group: dict[str, Any]) -> tuple[str, ...]:
    return group["name"], group["method"], str(group["tensors"]), format_size(group["bytes"]), group["params"]


def _say(screen: Screen, plan: "MergePlan", to: str) -> None:
    count = plural(len(plan.blueprint.outputs), "tensor")
    models = ", ".join(model.ref for model in plan.models)
    screen.line(f"{models} → {to}  {plan.recipe.method.name}  {count}  {format_size(plan.product.nbytes)}")
    for note in plan.blueprint.notes:
        screen.line(f"  {note}")


_DIFFERENCES = (Column("what", style="cyan", wrap=True), Column("one", wrap=True), Column("other", wrap=True))
_MODELS = (Column("model", style="cyan"), Column("role"), Column("id"))
_GROUPS = (
    Column("tensors", style="cyan", wrap=True),
    Column("method"),
    Column("count", right=True),
    Column("size", right=True),
    Column("parameters", wrap=True),
)
