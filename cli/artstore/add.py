"""Add: files and folders in, as one version or as one for each phase"""

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from artifactstore.core.errors import Invalid, NotFound
from artifactstore.core.names import AliasName, ArtifactName, check_label
from artifactstore.core.units import format_size
from artstore.arguments import pair_parents, parse_meta, parse_metrics, parse_path
from artstore.invocation import Invocation, with_invocation
from artstore.output import plural, took
from artstore.screen import Column, Screen

if TYPE_CHECKING:
    from artifactstore.core.lineage import Link
    from artifactstore.ops.ingest import IngestPlan, IngestReport
    from artifactstore.store import Store

Paths = Annotated[list[str], typer.Argument(metavar="PATH", help="Files and folders that make up the version.")]
Name = Annotated[str, typer.Option("--as", metavar="NAME", help="The artifact: name, org/name or run/name.")]
Aliases = Annotated[
    list[str] | None, typer.Option("--alias", metavar="A", help="Point this alias at the version. Repeatable.")
]
Parents = Annotated[
    list[str] | None,
    typer.Option("--parent", metavar="REF", help="A version it comes from, or hf://org/repo. Repeatable."),
]
Relations = Annotated[
    list[str] | None,
    typer.Option(
        "--relation",
        metavar="R",
        help="How it comes from the parent: finetune (default), adapter, merge, quantize, distill, convert, reshard, "
        "prune, ema, extract or resume. Once for each --parent, in the same order.",
    ),
]
Weights = Annotated[
    list[float] | None,
    typer.Option("--weight", metavar="W", help="Share in a merge. Once for each --parent, in the same order."),
]
Phase = Annotated[str | None, typer.Option("--phase", metavar="P", help="Phase of training.")]
Step = Annotated[int | None, typer.Option("--step", metavar="N", min=0, max=2**53 - 1, help="Step of training.")]
Metrics = Annotated[
    list[str] | None, typer.Option("--metric", metavar="K=V", help="A metric, such as val_loss=0.04. Repeatable.")
]
License = Annotated[str | None, typer.Option("--license", metavar="SPDX", help="Licence, such as Apache-2.0.")]
Meta = Annotated[
    list[str] | None,
    typer.Option(
        "--meta",
        metavar="K=V",
        help="Anything else, kept as text. Repeatable. created=DATE says when the version was made, by default "
        "when its newest file was modified.",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", "-n", help="Show what would be taken in; change nothing.")]


@with_invocation
def add(
    run: Invocation,
    *,
    path: Paths,
    name: Name,
    alias: Aliases = None,
    parent: Parents = None,
    relation: Relations = None,
    weight: Weights = None,
    phase: Phase = None,
    step: Step = None,
    metric: Metrics = None,
    license: License = None,  # noqa: A002  # the field's own word
    meta: Meta = None,
    dry_run: DryRun = False,
) -> None:
    """Take files and folders in as one version

    A folder that holds phase_0, phase_1, … becomes a version for each phase and one for what lies beside them, unless
    --phase says what it is.
    """
    for label, what in ((phase, "phase"), (license, "license")):
        if label is not None:
            check_label(label, what)
    metadata, created = parse_meta(meta or [])
    parents = pair_parents(parent or [], relation or [], weight or [])
    own: dict[str, Any] = {
        "aliases": [AliasName(one) for one in alias or ()],
        "step": step,
        "metrics": parse_metrics(metric or []),
        "metadata": metadata,
        "created": created,
    }
    labels: dict[str, Any] = {"name": ArtifactName(name), "license": license}
    paths = [parse_path(one) for one in path]
    _refuse_missing(paths)
    with run.open(make=not dry_run, read_only=dry_run) as store:
        plans = store.plan_phases(paths[0], **labels) if phase is None and len(paths) == 1 else []
        if plans:
            _refuse_single(paths[0], len(plans), {"parents": parents, **own})
        else:
            links = [store.link(*one) for one in parents]
            plans = [store.plan_add(paths, **labels, **own, phase=phase, parents=links)]
        if dry_run:
            _tell_plans(run, plans)
        else:
            _take_in(run, store, plans)


def _refuse_missing(paths: Sequence[Path]) -> None:
    """Before a store is made for them"""
    for path in paths:
        if not os.path.lexists(path):
            raise NotFound(f"No such file or folder: {path}", code="file", path=str(path))


_OPTIONS = {"aliases": "--alias", "parents": "--parent", "step": "--step", "metrics": "--metric", "metadata": "--meta"}


def _refuse_single(folder: Path, versions: int, own: Mapping[str, Any]) -> None:
    given = [option for key, option in _OPTIONS.items() if own[key] not in (None, [], {})]
    if own["created"] is not None and "--meta" not in given:
        given.append("--meta")
    if given:
        raise Invalid(
            f"{folder} holds phases and becomes {versions} versions, but {', '.join(given)} is for one; "
            "add one phase, or give --phase to take all of it as one version",
            code="phases",
        )


def _take_in(run: Invocation, store: "Store", plans: Sequence["IngestPlan"]) -> None:
    from artifactstore.ops import ingest  # noqa: PLC0415  # heavy

    documents, lines = [], []
    for plan in plans:
        begin = time.monotonic()
        report = ingest.run(store.depot, plan)
        documents.append(_document(report))
        lines.append(_line(plan, report, time.monotonic() - begin))
        # what was typed needs no telling, what was found in the files does
        lines += [_parent(link) for link in plan.parents if "read" in link.params and not report.committed.existed]
    run.monitor.stop()

    def show(screen: Screen) -> None:
        for line in lines:
            screen.line(line)

    ids = [document["id"] for document in documents]
    document = documents[0] if len(documents) == 1 else {"versions": documents}
    run.output.tell(document, show, ids=ids)


def _document(report: "IngestReport") -> dict[str, Any]:
    from artifactstore.ops.describe import summary  # noqa: PLC0415  # heavy

    return {
        **summary(report.committed.version),
        "existed": report.committed.existed,
        "read_bytes": report.read_bytes,
        "new_bytes": report.new_bytes,
    }


def _line(plan: "IngestPlan", report: "IngestReport", seconds: float) -> str:
    version = report.committed.version
    size = format_size(version.nbytes)
    what = (
        f"already stored as {version.ref}  {size}"
        if report.committed.existed
        else f"{version.ref}  {size}  ({format_size(report.new_bytes)} new)"
    )
    labels = [f"phase {version.phase}"] if version.phase else []
    labels += [f"alias {alias}" for alias in dict.fromkeys(plan.tags.aliases)]
    return "  ".join([what, *labels, took(seconds)])


def _tell_plans(run: Invocation, plans: Sequence["IngestPlan"]) -> None:
    documents = [{**plan.to_json(), "phase": plan.labels.phase} for plan in plans]

    def show(screen: Screen) -> None:
        for plan in plans:
            phase = f"  phase {plan.labels.phase}" if plan.labels.phase else ""
            screen.line(f"{plan.artifact}  {plural(len(plan.sources), 'file')}  {format_size(plan.nbytes)}{phase}")
            rows = [(str(one.path), format_size(one.size), one.info.format) for one in plan.sources]
            screen.table(_FILES, rows)
            for link in plan.parents:
                screen.line(_parent(link))
        screen.line("Nothing changed (dry run)")

    run.output.tell(
        documents[0] if len(documents) == 1 else {"versions": documents},
        show,
        ids=[str(plan.artifact) for plan in plans],
    )


def _parent(link: "Link") -> str:
    told_by = f"  (as {link.params['read']} says)" if "read" in link.params else ""
    return f"  {link.relation} of {link.ref}{told_by}"


_FILES = (Column("file", style="cyan"), Column("size", right=True), Column("format", style="dim"))
