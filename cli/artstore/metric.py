"""Metric: what a version achieved, set after the fact"""

from typing import Annotated

import typer

from artstore.arguments import parse_metrics
from artstore.invocation import Invocation, with_invocation
from artstore.screen import Screen
from artstore.versions import metrics_line


@with_invocation
def metric(
    run: Invocation,
    *,
    ref: Annotated[str, typer.Argument(metavar="REF", help="The version.")],
    values: Annotated[list[str], typer.Argument(metavar="K=V", help="Metrics to set, such as val_loss=0.04.")],
) -> None:
    """Set or replace metrics of a version"""
    metrics = parse_metrics(values)
    with run.open() as store:
        version = store.metric(ref, metrics)
    found = dict(version.metrics)
    document = {"id": str(version.id), "ref": version.ref, "metrics": found}

    def show(screen: Screen) -> None:
        screen.line(f"{version.ref}  {metrics_line(found)}")

    run.output.tell(document, show, ids=[str(version.id)])
