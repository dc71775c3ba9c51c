"""Build: recipes to models that a page can load"""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import artifactstore
from artifactstore.core.errors import Invalid
from artifactstore.core.units import format_size, parse_size
from artstore.arguments import parse_path
from artstore.failure import PARTLY
from artstore.invocation import Invocation, with_invocation
from artstore.memory import share_arena
from artstore.output import plural, took
from artstore.quantize import far
from artstore.screen import Column, Screen

if TYPE_CHECKING:
    from artifactstore.derive.build.plan import Step, Wanted
    from artifactstore.derive.build.run import Built


Recipes = Annotated[
    list[str] | None, typer.Argument(metavar="RECIPE", help="Recipes in mergekit's YAML, in any order.")
]
Folder = Annotated[
    str | None, typer.Option("--all", metavar="DIR", help="All recipes of this folder, each with a folder in --out.")
]
Level = Annotated[
    str | None, typer.Option("--level", metavar="LEVEL", help="Quantize to this level, such as q4. Default: not.")
]
Aim = Annotated[str, typer.Option("--target", metavar="web|gpu|cpu", help="Where it is to run, as for quantize.")]
ShardSize = Annotated[
    str | None, typer.Option("--shard-size", metavar="SIZE", help="No file is larger, such as 100MB.")
]
Out = Annotated[
    str | None,
    typer.Option(
        "--out",
        metavar="DIR",
        help="The folder to write to; of several recipes, a folder for each is made in it. models.json, beside the "
        "model's folder, gets an entry. Default: only versions are made.",
    ),
]
Entry = Annotated[
    str | None, typer.Option("--entry", metavar="KEY", help="Its key in models.json. Default: the folder's name.")
]
Base = Annotated[
    str | None,
    typer.Option("--url-base", metavar="URL", help="Where models.json is served. Default: addresses are relative."),
]
MadeBy = Annotated[str | None, typer.Option("--created-by", metavar="TEXT", help="Who made it, for models.json.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite files of the folder that have other content.")]
Measured = Annotated[
    bool,
    typer.Option(
        "--measure/--no-measure",
        help="Whether the KL of a quantized model to the merged one, on a text that is shipped, becomes a metric.",
    ),
]


@with_invocation
def build(
    run: Invocation,
    *,
    recipes: Recipes = None,
    folder: Folder = None,
    level: Level = None,
    target: Aim = "web",
    shard_size: ShardSize = None,
    out: Out = None,
    entry: Entry = None,
    url_base: Base = None,
    created_by: MadeBy = None,
    force: Force = False,
    measured: Measured = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Show what would be made.")] = False,
) -> None:
    """Merge, quantize and write out models, and list them in models.json

    Recipes that merge what others make come after those. What is finished is kept when it is interrupted, and found
    again. Of several recipes, those that are refused leave the others to be made; the exit code is then 6.
    """
    share_arena()
    paths = _paths(recipes or [], folder)
    # heavy
    from artifactstore.derive.build import plan as planning  # noqa: PLC0415
    from artifactstore.derive.quantize.levels import parse_target  # noqa: PLC0415

    found = paths if folder is None else planning.recipes_in(parse_path(folder))
    if entry is not None and len(found) > 1:
        raise Invalid("--entry names one model; leave it out with several recipes", code="usage")
    wanted = planning.Wanted(
        level=None if level is None else level.strip().lower(),
        target=parse_target(target),
        ceiling=None if shard_size is None else parse_size(shard_size),
        out=None if out is None else parse_path(out),
        several=folder is not None or len(found) > 1,
        entry=entry,
        base=url_base,
        made_by=created_by or f"artstore {artifactstore.__version__}",
        force=force,
        measured=measured,
    )
    if out is None:
        _refuse_unused(shard_size=shard_size, entry=entry, url_base=url_base, created_by=created_by, force=force)
    steps = planning.plan(found, wanted)
    if dry_run:
        _tell_plan(run, steps)
    else:
        _make(run, steps, wanted)


def _paths(recipes: list[str], folder: str | None) -> list[Path]:
    if bool(recipes) == (folder is not None):
        raise Invalid("Give recipes, or --all DIR for those of a folder", code="usage")
    return [parse_path(path) for path in recipes]


def _refuse_unused(**options: object) -> None:
    """What says how files are written, where none are"""
    given = next((name for name, value in options.items() if value), None)
    if given is not None:
        raise Invalid(f"--{given.replace('_', '-')} says how a model is written out; give --out DIR too", code="usage")


def _make(run: Invocation, steps: "tuple[Step, ...]", wanted: "Wanted") -> None:
    from artifactstore.derive.build.run import run as build_steps  # noqa: PLC0415  # heavy

    begin = time.monotonic()
    with run.open() as store:
        done = build_steps(store, steps, wanted)
    run.monitor.stop()
    failed = sum(one.error is not None for one in done)

    def show(screen: Screen) -> None:
        for one in done:
            _say(screen, one)
        parts = [f"{plural(len(done) - failed, 'model')} built", *([f"{failed} refused"] if failed else [])]
        screen.line("  ".join([*parts, took(time.monotonic() - begin)]))

    ids = [str(one.product.id) for one in done if one.product is not None]
    run.output.tell({"models": [one.to_json() for one in done], "failed": failed}, show, ids=ids)
    if failed:
        raise typer.Exit(PARTLY)


def _say(screen: Screen, one: "Built") -> None:
    if one.error is not None:
        screen.line(f"{one.step.path.name}: {one.error.message}", style="red")
        return
    assert one.product is not None
    parts = [f"{one.step.path.name} → {one.product.ref}"]
    if one.step.out is not None:
        size = format_size(sum(size for _, size, _ in one.files))
        parts += [f"{one.step.out}", plural(len(one.files), "file"), size, f"listed as {one.step.entry}"]
    screen.line("  ".join(parts))
    if one.distance is not None:
        screen.line(f"  {far(one.distance)}")


def _tell_plan(run: Invocation, steps: "tuple[Step, ...]") -> None:
    def show(screen: Screen) -> None:
        rows = [
            (
                step.path.name,
                step.recipe.method.name,
                ", ".join(map(str, step.recipe.models)),
                str(step.product),
                "" if step.out is None else str(step.out),
            )
            for step in steps
        ]
        screen.table(_STEPS, rows)
        screen.line("Nothing changed (dry run)")

    run.output.tell({"steps": [step.to_json() for step in steps]}, show, ids=[])


_STEPS = (
    Column("recipe", style="cyan"),
    Column("method"),
    Column("models", wrap=True),
    Column("product"),
    Column("folder"),
)
