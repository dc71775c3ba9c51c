"""Versions: ls, show and search"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from artifactstore.core.units import format_duration, format_size
from artstore.invocation import Invocation, with_invocation
from artstore.output import number, plural
from artstore.screen import Column, Screen

if TYPE_CHECKING:
    from artifactstore.catalog.base import VersionInfo
    from artifactstore.depot import Depot

_ROW = (
    Column("ref", style="cyan"),
    Column("aliases", style="green"),
    Column("phase"),
    Column("step", right=True),
    Column("metrics", wrap=True),
    Column("size", right=True),
    Column("age", right=True),
    Column("license", style="dim", wrap=True),
    Column("at", style="dim"),
)


@with_invocation
def ls(
    run: Invocation,
    *,
    glob: Annotated[
        str | None, typer.Argument(metavar="NAME-GLOB", help="Only artifacts whose name matches, such as 'wan-*'.")
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            metavar="EXPR",
            help="Only those for which this holds, such as 'step >= 5000 and license = MIT'. Repeatable.",
        ),
    ] = None,
    sort: Annotated[
        str,
        typer.Option(
            "--sort",
            metavar="KEY[:asc|:desc]",
            help="By created, taken, loaded, name, number, size, files, tensors, step or epoch.",
        ),
    ] = "created:desc",
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="At most so many.")] = None,
) -> None:
    """List versions, the newest first

    EXPR joins conditions by and, or, not and parentheses: phase = final and (size > 10GB or not pinned).

    Text, with = != in (a, b) and ~ for a glob: name, ref, phase, license, request_id, alias, parent, dtype,
    quantization, meta.NAME; without ~: id, format, relation.

    Numbers, with = != in < <= > >=: number, step, epoch, files, tensors, metric.NAME, size (10GB), created
    (2026-01-31).

    Time since then, with < <= > >=: age, taken, unused (30d).

    What is absent equals none, as in phase = none, and nothing else.
    """

    def look(depot: "Depot") -> list["VersionInfo"]:
        return depot.catalog.versions.list(glob=glob, where=where or (), sort=sort, limit=limit)

    with run.open_rows() as depot:
        _tell_rows(run, look(depot), _elsewhere(depot, look), limit)


@with_invocation
def search(
    run: Invocation,
    *,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="A part of what is looked for; case does not matter.")],
) -> None:
    """Find versions by what is written on them

    By name, phase, request id, licence, file path, metadata, alias or digest.
    """
    with run.open(read_only=True) as store:
        found = store.search(text)
        _tell_rows(run, found, _elsewhere(store.depot, lambda depot: depot.catalog.versions.search(text)))


def _elsewhere(depot: "Depot", look: "Callable[[Depot], Sequence[VersionInfo]]") -> Sequence["VersionInfo"]:
    """What a clone does not hold and would read from its origin"""
    if depot.catalog.remotes.origin() is None:
        return ()
    from artifactstore.finding import Finds  # noqa: PLC0415  # only clones pay for it

    return Finds(depot).elsewhere(look)


def _tell_rows(
    run: Invocation,
    held: Sequence["VersionInfo"],
    elsewhere: Sequence["VersionInfo"],
    limit: int | None = None,
) -> None:
    versions = [*held, *elsewhere][:limit]

    def show(screen: Screen) -> None:
        if versions:
            now = time.time_ns() // 1000
            places = ["" if not elsewhere else "here"] * len(held) + ["origin"] * len(elsewhere)
            rows = [(*_row(version, now), at) for version, at in zip(versions, places, strict=False)]
            screen.table(_ROW, rows)
        else:
            screen.line("No versions")

    ids = (str(version.id) for version in versions)
    run.output.tell_rows("version", _documents(versions, len(held)), show, ids=ids)


def _documents(versions: Sequence["VersionInfo"], held: int) -> Iterator[dict[str, Any]]:
    from artifactstore.ops.describe import summary  # noqa: PLC0415  # heavy

    for at, version in enumerate(versions):
        yield summary(version) | ({} if at < held else {"at": "origin"})


def _row(version: "VersionInfo", now: int) -> tuple[str, ...]:
    return (
        version.ref,
        " ".join(version.aliases),
        version.phase or "",
        "" if version.step is None else str(version.step),
        metrics_line(version.metrics),
        format_size(version.nbytes),
        _ago(now - version.created),
        version.license or "",
    )


def metrics_line(metrics: Mapping[str, float]) -> str:
    """`loss=0.04 accuracy=0.9`"""
    return " ".join([f"{name}={number(value)}" for name, value in metrics.items()])


def age(moment: str) -> str:
    """How long ago an ISO 8601 time was: `47d`; `-` for what is yet to come"""
    return _ago((datetime.now(UTC) - datetime.fromisoformat(moment)) // timedelta(microseconds=1))


def _ago(microseconds: int) -> str:
    return format_duration(timedelta(microseconds=microseconds)) if microseconds >= 0 else "-"


@with_invocation
def show(
    run: Invocation,
    *,
    ref: Annotated[str, typer.Argument(metavar="REF", help="name, name@alias, name:number, an id or a request id.")],
) -> None:
    """Show one version: its labels, metrics, parents and files

    One that was retired is shown too, by its number or id.
    """
    with run.open(read_only=True) as store:
        document = store.show(ref)
    run.output.tell(document, lambda screen: _draw(screen, document), ids=[document["id"]])


_FILES = (
    Column("file", style="cyan"),
    Column("size", right=True),
    Column("format"),
    Column("sha256", style="dim", wrap=True),
)


def _draw(screen: Screen, document: dict[str, Any]) -> None:
    screen.line(" ".join([document["ref"], *(f"@{alias}" for alias in document["aliases"])]), style="bold")
    if (retired := document["retired"]) is not None:
        back = f"; bring it back with: artstore undo {retired['serial']}" if _may_come_back(retired) else ""
        screen.line(f"It {how_it_went(retired)}{back}", style="yellow")
    fields = [*_labels(document), *_numbers(document)]
    fields += [(f"parent {parent['position']}", _parent(parent)) for parent in document["parents"]]
    fields += [("children", f"{document['children_count']:,}" if document["children_count"] else "")]
    fields += [("pinned", _pin(pin)) for pin in document["pins"]]
    screen.fields(fields)
    if not document["files"]:
        return
    screen.line()
    rows = [(file["path"], format_size(file["size"]), file["format"], file["sha256"]) for file in document["files"]]
    screen.table(_FILES, rows)


def _labels(document: dict[str, Any]) -> list[tuple[str, str]]:
    labels = ("id", "phase", "step", "epoch", "request_id", "license")
    fields = [(name, "" if document[name] is None else str(document[name])) for name in labels]
    metadata = document["metadata"].items()
    return fields + [
        (f"meta {name}", value if isinstance(value, str) else json.dumps(value)) for name, value in metadata
    ]


def _numbers(document: dict[str, Any]) -> list[tuple[str, str]]:
    tensors = plural(document["tensors"], "tensor") if document["tensors"] else ""
    size = format_size(document["logical_bytes"])
    if document["retired"] is None:
        size += f", {format_size(document['unique_bytes'])} of it in no other version"
    return [
        ("metrics", metrics_line(document["metrics"])),
        ("created", f"{document['created']} ({age(document['created'])} ago)"),
        ("taken in", document["taken"]),
        ("last load", document["last_load"] or ""),
        ("size", size),
        ("tensors", " ".join([tensors, *document["dtypes"]]).strip()),
    ]


def _pin(pin: dict[str, Any]) -> str:
    return f"{pin['why']} until {pin['until'][:10]}" if pin["until"] else str(pin["why"])


def _parent(parent: dict[str, Any]) -> str:
    here = parent["version"]
    parts = [parent["relation"], here or parent["ref"]]
    if parent["weight"] is not None:
        parts.append(f"weight {number(parent['weight'])}")
    declared = "" if here in {None, parent["ref"]} else f" as {parent['ref']}"
    known = "not in this store" if parent["id"] is None else _EVIDENCE[parent["evidence"]]
    parts.append(f"({known}{declared})")
    return " ".join(parts)


_EVIDENCE = {None: "declared", "hash": "verified by hash", "tensors": "shares tensors"}


def _may_come_back(retired: dict[str, Any]) -> bool:
    return retired["swept"] is None and retired["serial"] is not None


def how_it_went(retired: dict[str, Any]) -> str:
    """`was retired 3d ago by record 41: older than 30d (47d), no rule keeps it`, and since when its bytes are gone"""
    told = "was retired"
    if retired["at"] is not None:
        told += f" {age(retired['at'])} ago"
    if retired["serial"] is not None:
        told += f" by record {retired['serial']}"
    if retired["why"] is not None:
        told += f": {retired['why']}"
    return told if retired["swept"] is None else f"{told}; its bytes are gone since {retired['swept'][:10]}"
