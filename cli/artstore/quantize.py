"""Quantize: a model in fewer bits, in the form that a target reads"""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from artifactstore.core.units import format_size
from artifactstore.derive.quantize.levels import form, parse_level, parse_target
from artstore.arguments import parse_path
from artstore.invocation import Invocation, with_invocation
from artstore.output import plural, took
from artstore.screen import Column, Screen

if TYPE_CHECKING:
    from artifactstore.derive.quantize.plan import QuantizePlan
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
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Show what would be made.")] = False,
) -> None:
    """Make a model smaller, in the form that a target reads

    It is made tensor by tensor, and linked to its source. What is finished is kept when it is interrupted.
    """
    if out is not None:
        parse_path(out)
    chosen = parse_level(level), parse_target(target)
    form(*chosen)
    from artifactstore.derive.quantize.plan import plan as plan_quantization  # noqa: PLC0415  # heavy

    with run.open(read_only=True) if dry_run else run.open() as store:
        plan = plan_quantization(store, ref, *chosen, name)
        if dry_run:
            _tell_plan(run, plan)
        else:
            _make(run, store, plan, out)


def _make(run: Invocation, store: "Store", plan: "QuantizePlan", out: str | None) -> None:
    from artifactstore.derive.quantize.run import run as make  # noqa: PLC0415  # heavy

    begin = time.monotonic()
    report = make(store.depot, plan)
    version = report.committed.version
    if out is not None:
        store.checkout(str(version.id), Path(out))
    run.monitor.stop()
    document = {
        **plan.to_json(),
        "id": str(version.id),
        "ref": version.ref,
        "made": report.made,
        "known": report.known,
        "new_bytes": report.new_bytes,
        "out": out,
    }

    def show(screen: Screen) -> None:
        _say(screen, plan, document, version.ref)
        parts = [f"  {plural(report.made, 'tensor')} made"]
        if report.known:
            parts.append(f"{report.known} known from before")
        screen.line("  ".join([*parts, f"{format_size(report.new_bytes)} new", took(time.monotonic() - begin)]))
        if out is not None:
            screen.line(f"  written to {out}")

    run.output.tell(document, show, ids=[str(version.id)])


def _tell_plan(run: Invocation, plan: "QuantizePlan") -> None:
    document = plan.to_json()

    def show(screen: Screen) -> None:
        _say(screen, plan, document, document["artifact"])
        rows = [(one["dtype"], str(one["tensors"]), format_size(one["bytes"])) for one in document["types"]]
        screen.table(_TYPES, rows)
        if plan.known:
            screen.line(f"{format_size(plan.known)} are known from before")
        screen.line("Nothing changed (dry run)")

    run.output.tell(document, show, ids=[])


def _say(screen: Screen, plan: "QuantizePlan", document: dict[str, Any], to: str) -> None:
    sizes = f"{format_size(document['source']['bytes'])} → {format_size(plan.product.nbytes)}"
    screen.line(f"{plan.model.ref} → {to}  {plan.form.label}  {sizes}  {plan.bits_per_weight:g} bits a weight")
    for note in plan.notes:
        screen.line(f"  {note}")


_TYPES = (Column("type", style="cyan"), Column("tensors", right=True), Column("size", right=True))
