"""Add: files and folders in, as one version or as one for each phase"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from artifactstore.core.elsewhere.base import Tool
from artifactstore.core.errors import Invalid
from artifactstore.core.names import AliasName, ArtifactName, check_label
from artifactstore.core.units import format_size
from artstore.arguments import pair_parents, parse_meta, parse_metrics, parse_path, refuse_missing
from artstore.intake import add_from, refuse_labels
from artstore.invocation import Invocation, with_invocation
from artstore.output import plural
from artstore.screen import Column, Screen
from artstore.taken import parent_line, taken_document, taken_lines

if TYPE_CHECKING:
    from artifactstore.ops.ingest import IngestPlan
    from artifactstore.store import Store

Paths = Annotated[
    list[str] | None,
    typer.Argument(metavar="PATH", help="Files and folders that make up the version; with --from one."),
]
Name = Annotated[
    str | None,
    typer.Option(
        "--as",
        metavar="NAME",
        help="The artifact: name, org/name or run/name. With --from by default as it is called there, and NAME/ stands "
        "before that.",
    ),
]
From = Annotated[
    Tool | None,
    typer.Option(
        "--from",
        metavar="TOOL",
        help="Take in all that a tool keeps below PATH, a version each: hf-cache (default PATH: HF_HUB_CACHE), ollama "
        "(OLLAMA_MODELS), mlflow (its mlruns), or dir for a folder of models. Nothing there is moved or changed.",
    ),
]
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
    path: Paths = None,
    name: Name = None,
    source: From = None,
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
    --phase says what it is. --from ends with exit code 6 when something another tool keeps cannot be taken in.
    """
    for label, what in ((phase, "phase"), (license, "license")):
        if label is not None:
            check_label(label, what)
    paths = [parse_path(one) for one in path or ()]
    if source is not None:
        given = {"alias": alias, "parent": parent, "relation": relation, "weight": weight, "phase": phase}
        refuse_labels(source, {**given, "step": step, "metric": metric, "license": license, "meta": meta})
        add_from(run, source, paths, name, dry_run=dry_run)
        return
    artifact = _needed(paths, name)
    metadata, created = parse_meta(meta or [])
    parents = pair_parents(parent or [], relation or [], weight or [])
    own: dict[str, Any] = {
        "aliases": [AliasName(one) for one in alias or ()],
        "step": step,
        "metrics": parse_metrics(metric or []),
        "metadata": metadata,
        "created": created,
    }
    labels: dict[str, Any] = {"name": artifact, "license": license}
    with run.open(make=not dry_run, read_only=dry_run) as store:
        plans = store.plan_phases(paths[0], **labels) if phase is None and len(paths) == 1 else []
        if plans:
            _refuse_single(paths[0], len(plans), {"parents": parents, **own})
        else:
            links = [store.link(*one) for one in parents]
            plans = [store.plan_add(paths, **labels, **own, phase=phase, parents=links)]
        (_tell_plans if dry_run else _take_in)(run, store, plans)


def _needed(paths: Sequence[Path], name: str | None) -> ArtifactName:
    """The name, once it and the paths are there"""
    if not paths or name is None:
        what = "--as NAME" if paths else "PATH"
        raise Invalid(f"Missing {what}; see artstore add --help", code="usage")
    artifact = ArtifactName(name)
    refuse_missing(paths)
    return artifact


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
        documents.append(taken_document(report))
        lines += taken_lines(plan, report, time.monotonic() - begin)
    run.monitor.stop()

    def show(screen: Screen) -> None:
        for line in lines:
            screen.line(line)

    ids = [document["id"] for document in documents]
    document = documents[0] if len(documents) == 1 else {"versions": documents}
    run.output.tell(document, show, ids=ids)


def _tell_plans(run: Invocation, _: "Store", plans: Sequence["IngestPlan"]) -> None:
    documents = [{**plan.to_json(), "phase": plan.labels.phase} for plan in plans]

    def show(screen: Screen) -> None:
        for plan in plans:
            phase = f"  phase {plan.labels.phase}" if plan.labels.phase else ""
            screen.line(f"{plan.artifact}  {plural(len(plan.sources), 'file')}  {format_size(plan.nbytes)}{phase}")
            rows = [(str(one.path), format_size(one.size), one.info.format) for one in plan.sources]
            screen.table(_FILES, rows)
            for link in plan.parents:
                screen.line(parent_line(link))
        screen.line("Nothing changed (dry run)")

    run.output.tell(
        documents[0] if len(documents) == 1 else {"versions": documents},
        show,
        ids=[str(plan.artifact) for plan in plans],
    )


_FILES = (Column("file", style="cyan"), Column("size", right=True), Column("format", style="dim"))
