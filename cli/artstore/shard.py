"""Shard: a version's weights as files of at most so many bytes"""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from artifactstore.core.units import format_size, parse_size
from artstore.arguments import parse_path
from artstore.invocation import Invocation, with_invocation
from artstore.output import plural, took
from artstore.screen import Column, Screen

if TYPE_CHECKING:
    from artifactstore.depot import Depot
    from artifactstore.derive.shard.plan import ShardPlan


@with_invocation
def shard(
    run: Invocation,
    *,
    ref: Annotated[str, typer.Argument(metavar="REF", help="name, name@alias, name:number, an id or a request id.")],
    size: Annotated[str, typer.Option("--size", metavar="SIZE", help="No file is larger, such as 100MB.")],
    out: Annotated[str, typer.Option("--out", metavar="DIR", help="The folder to write to.")],
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="GLOB", help="Only files whose path matches. Repeatable."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite files that have other content, and remove shards of before.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Show what would be written.")] = False,
) -> None:
    """Write a version out in files of at most SIZE

    Safetensors become shards with an index, ONNX external data as transformers.js names it, GGUF a split model;
    tensors in the order in which the model uses them first. What was written is read back and compared. An interrupted
    run goes on where it ended.
    """
    parse_path(out)
    ceiling = parse_size(size)
    # heavy
    from artifactstore.derive.shard.plan import plan as plan_shards  # noqa: PLC0415

    with run.open_for_reading() as store:
        depot, version = store.find(ref)
        plan = plan_shards(depot, version, Path(out), ceiling, only=only or (), force=force)
        if dry_run:
            _tell_plan(run, plan)
        else:
            _write(run, depot, plan)


def _write(run: Invocation, depot: "Depot", plan: "ShardPlan") -> None:
    from artifactstore.derive.shard.run import run as write_shards  # noqa: PLC0415  # heavy

    begin = time.monotonic()
    report = write_shards(depot, plan)
    run.monitor.stop()
    document = {
        **plan.to_json(),
        "files": [
            {"path": str(file.path), "size": file.size, "sha256": str(file.sha256), "kept": file.kept}
            for file in report.files
        ],
        "written_bytes": report.written_bytes,
        "reassembled": report.reassembled,
    }

    def show(screen: Screen) -> None:
        parts = [f"{plan.version.ref} → {plan.dest}", plural(len(report.files), "file"), format_size(plan.nbytes)]
        kept = sum(file.kept for file in report.files)
        if kept:
            parts.append(f"{kept} there already")
        if report.reassembled:
            parts.append(f"{plural(report.reassembled, 'file')} put together again and compared")
        screen.line("  ".join([*parts, took(time.monotonic() - begin)]))

    run.output.tell(document, show, ids=[str(plan.version.id)])


def _tell_plan(run: Invocation, plan: "ShardPlan") -> None:
    def show(screen: Screen) -> None:
        screen.line(f"{plan.version.ref} → {plan.dest}  {plural(len(plan.files), 'file')}  {format_size(plan.nbytes)}")
        screen.table(_PLANNED, [(str(file.path), format_size(file.size)) for file in plan.files])
        screen.line("Nothing changed (dry run)")

    run.output.tell(plan.to_json(), show, ids=[str(plan.version.id)])


_PLANNED = (Column("file", style="cyan"), Column("size", right=True))
