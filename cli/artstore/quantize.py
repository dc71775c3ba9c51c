"""Quantize: a model in fewer bits, in the form that a target reads"""

import time
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from artifactstore.core.units import format_size
from artifactstore.derive.quantize.levels import Target, form, parse_level, parse_target
from artifactstore.derive.web.levels import LEVELS as WEB_LEVELS
from artstore.arguments import parse_path
from artstore.invocation import Invocation, with_invocation
from artstore.memory import share_arena
from artstore.output import plural, took
from artstore.screen import Column, Screen

if TYPE_CHECKING:
    from artifactstore.catalog.base import VersionInfo
    from artifactstore.depot import Depot
    from artifactstore.derive.quantize.measure import Distance
    from artifactstore.derive.quantize.plan import QuantizePlan
    from artifactstore.derive.web.plan import WebPlan
    from artifactstore.store import Store


@with_invocation
def quantize(
    run: Invocation,
    *,
    ref: Annotated[str, typer.Argument(metavar="REF", help="A version of the store, or a folder of safetensors.")],
    level: Annotated[
        str,
        typer.Option("--level", metavar="fp16|bf16|fp8|int8|q8|q4|q3|q2", help="How much of each weight stays."),
    ],
    target: Annotated[
        str,
        typer.Option(
            "--target",
            metavar="web|gpu|cpu",
            help="web: ONNX, as transformers.js names it. gpu: safetensors in compressed-tensors form. cpu: GGUF.",
        ),
    ],
    name: Annotated[str, typer.Option("--as", metavar="NAME", help="The artifact to make.")],
    out: Annotated[
        str | None, typer.Option("--out", metavar="DIR", help="Write its files to this folder as well.")
    ] = None,
    measured: Annotated[
        bool,
        typer.Option(
            "--measure/--no-measure", help="Whether its KL to the source, on a text that is shipped, becomes a metric."
        ),
    ] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Show what would be made.")] = False,
) -> None:
    """Make a model smaller, in the form that a target reads

    It is made tensor by tensor, and linked to its source. What is finished is kept when it is interrupted. To measure
    it both models are loaded; where memory is short for that, it is told.
    """
    share_arena()
    dest = None if out is None else parse_path(out)
    level, chosen = level.strip().lower(), parse_target(target)
    if not (chosen is Target.WEB and level in WEB_LEVELS):
        form(parse_level(level), chosen)
    with run.open(read_only=True) if dry_run else run.open() as store:
        plan = _plan(store, ref, level, chosen, name)
        if dest is not None:
            _check(dest, plan)
        if dry_run:
            _tell_plan(run, plan)
        else:
            _make(run, store, plan, dest, measured=measured)


def _plan(store: "Store", ref: str, level: str, target: Target, name: str) -> "QuantizePlan | WebPlan":
    # heavy
    if target is Target.WEB:
        from artifactstore.derive.web.plan import plan as plan_export  # noqa: PLC0415

        return plan_export(store, ref, level, name)
    from artifactstore.derive.quantize.plan import plan as plan_quantization  # noqa: PLC0415

    return plan_quantization(store, ref, parse_level(level), target, name)


def _check(dest: Path, plan: "QuantizePlan | WebPlan") -> None:
    # heavy
    from artifactstore.derive.dest import check_dest, sizes  # noqa: PLC0415
    from artifactstore.derive.quantize.plan import QuantizePlan  # noqa: PLC0415

    check_dest(dest, (plan.model,), sizes(plan.product) if isinstance(plan, QuantizePlan) else {})


def _run(depot: "Depot", plan: "QuantizePlan | WebPlan") -> "tuple[VersionInfo, dict[str, int]]":
    """The version, and what was counted"""
    # heavy
    from artifactstore.derive.quantize.plan import QuantizePlan  # noqa: PLC0415
    from artifactstore.derive.quantize.run import run as make  # noqa: PLC0415
    from artifactstore.derive.web.run import run as export  # noqa: PLC0415

    if isinstance(plan, QuantizePlan):
        report = make(depot, plan)
        counts = {"made": report.made, "known": report.known, "new_bytes": report.new_bytes}
        return report.committed.version, counts
    exported = export(depot, plan)
    return exported.committed.version, {"new_bytes": exported.new_bytes}


def _distance(store: "Store", plan: "QuantizePlan | WebPlan", version: "VersionInfo") -> "Distance":
    from artifactstore.derive.quantize.measure import measure  # noqa: PLC0415  # heavy

    model = plan.model
    source = model.ref if model.version is None else str(model.version.id)
    weights = sum(prod(one.shape) for one in model.inputs.tensors.values())
    return measure(store, str(version.id), source, weights)


def _make(
    run: Invocation, store: "Store", plan: "QuantizePlan | WebPlan", dest: Path | None, *, measured: bool
) -> None:
    begin = time.monotonic()
    version, counts = _run(store.depot, plan)
    if dest is not None:
        store.checkout(str(version.id), dest)
    distance = _distance(store, plan, version) if measured else None
    run.monitor.stop()
    shown = store.show(str(version.id))
    document = {
        **plan.to_json(),
        "files": [{"path": file["path"], "size": file["size"]} for file in shown["files"]],
        "bytes": shown["logical_bytes"],
        "bits_per_weight": shown["metadata"]["quantize"]["bits_per_weight"],
        "id": str(version.id),
        "ref": version.ref,
        **counts,
        "kl": distance and distance.kl,
        "top1": distance and distance.top1,
        "cosine": distance and distance.cosine,
        "out": None if dest is None else str(dest),
    }

    def show(screen: Screen) -> None:
        _say(screen, document, version.ref)
        parts = [f"{plural(counts['made'], 'tensor')} made"] if "made" in counts else []
        if counts.get("known"):
            parts.append(f"{counts['known']:,} known from before")
        parts += [f"{format_size(counts['new_bytes'])} new", took(time.monotonic() - begin)]
        screen.line("  " + "  ".join(parts))
        if distance is not None:
            screen.line(f"  {far(distance)}")
        if dest is not None:
            screen.line(f"  written to {dest}")

    run.output.tell(document, show, ids=[str(version.id)])


def far(distance: "Distance") -> str:
    """How far a smaller model is from its source, or why that is not known"""
    if distance.cosine is not None:
        return f"cosine to the source's vectors {distance.cosine:.4f}"
    if distance.kl is None or distance.top1 is None:
        return f"its distance to the source is not measured: {distance.why}"
    return f"KL to the source {distance.kl:.3g} nats a token, {distance.top1:.1%} of the likeliest tokens are the same"


def _tell_plan(run: Invocation, plan: "QuantizePlan | WebPlan") -> None:
    document = plan.to_json()

    def show(screen: Screen) -> None:
        _say(screen, document, document["artifact"])
        rows = [(one["dtype"], str(one["tensors"]), format_size(one["bytes"])) for one in document.get("types", [])]
        screen.table(_TYPES, rows)
        if document.get("known_bytes"):
            screen.line(f"{format_size(document['known_bytes'])} are known from before")
        screen.line("Nothing changed (dry run)")

    run.output.tell(document, show, ids=[])


def _say(screen: Screen, document: dict[str, Any], to: str) -> None:
    sizes = f"{format_size(document['source']['bytes'])} → {format_size(document['bytes'])}"
    parts = [f"{document['source']['ref']} → {to}", document["form"], sizes]
    if "bits_per_weight" in document:
        parts.append(f"{document['bits_per_weight']:.3g} bits a weight")
    screen.line("  ".join(parts))
    for note in document["notes"]:
        screen.line(f"  {note}")


_TYPES = (Column("type", style="cyan"), Column("tensors", right=True), Column("size", right=True))
