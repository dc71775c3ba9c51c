"""Diff: what changed from one version to another"""

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from artifactstore.core.units import format_size
from artstore.failure import DIFFERENT
from artstore.invocation import Invocation, with_invocation
from artstore.output import number
from artstore.screen import Column, Screen

if TYPE_CHECKING:
    from artifactstore.ops.diff import TensorDiff, VersionDiff

_MOST = 20  # rows of a table that are shown
_WIDEST = 60  # characters of a value that are shown


@with_invocation
def diff(
    run: Invocation,
    *,
    old: Annotated[
        str, typer.Argument(metavar="A", help="The old version: name, name@alias, name:number, an id or a request id.")
    ],
    new: Annotated[str, typer.Argument(metavar="B", help="The new version.")],
    tensors: Annotated[
        bool, typer.Option("--tensors", help="Read the tensors that differ, and tell by how much.")
    ] = False,
) -> None:
    """Show what changed from one version to another

    Files, keys of JSON files, labels, metadata and metrics. With --tensors also by how much each tensor changed,
    whichever file holds it. Ends with exit code 4 when anything differs. -q prints the paths of files that differ,
    with --tensors the names of tensors.
    """
    with run.open_for_reading() as store:
        found = store.diff(old, new, tensors=tensors)
    run.monitor.stop()
    document = found.to_json()
    ids = _names(document["tensors"], "name") if tensors else _names(document["files"], "path")
    run.output.tell(document, lambda screen: _draw(screen, found, document, tensors=tensors), ids=ids)
    if not found.equal:
        raise typer.Exit(DIFFERENT)


def _names(section: dict[str, Any], key: str) -> list[str]:
    return sorted(one[key] for kind in ("added", "removed", "reshaped", "changed") for one in section.get(kind, ()))


def _draw(screen: Screen, found: "VersionDiff", document: dict[str, Any], *, tensors: bool) -> None:
    screen.line(f"{found.old.ref} → {found.new.ref}", style="bold")
    if found.equal:
        screen.line("Nothing differs", style="green")
        return
    _table(screen, _FILES, list(_files(document["files"])))
    _table(screen, _KEYS, list(_keys(document)), omitted=sum(one["omitted"] for one in document["config"]))
    if tensors:
        _table(screen, _CHANGED, list(_changed(found.tensors)))
        _table(screen, _OTHERS, list(_others(found.tensors)))
        for file in found.tensors.opaque:
            screen.line(f"Tensors of {file.path} cannot be compared: format {file.format}")
    screen.line()
    screen.line(f"Files: {_counts(document['files'])}")
    if counts := _counts(document["tensors"]):
        more = not tensors and (found.tensors.changed or found.tensors.reshaped or found.tensors.unread)
        screen.line(f"Tensors: {counts}{'; --tensors tells by how much' if more else ''}")


def _table(screen: Screen, columns: Sequence[Column], rows: Sequence[Sequence[str]], *, omitted: int = 0) -> None:
    if rows:
        screen.line()
        screen.table(columns, rows[:_MOST])
    if len(rows) > _MOST:
        screen.line(f"… and {len(rows) - _MOST + omitted:,} more, --json shows {'more' if omitted else 'all'}")


def _counts(section: dict[str, Any]) -> str:
    counts = {kind: found if isinstance(found, int) else len(found) for kind, found in section.items()}
    return ", ".join(f"{counts[kind]:,} {told}" for kind, told in _TOLD.items() if counts.get(kind))


_TOLD = {
    "identical": "identical",
    "changed": "changed",
    "reshaped": "of another shape or dtype",
    "added": "added",
    "removed": "removed",
    "unread": "not read",
}
_FILES = (Column("file", style="cyan"), Column("change"), Column("old", right=True), Column("new", right=True))


def _files(files: dict[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    for one in files["changed"]:
        yield one["path"], "changed", format_size(one["old"]["size"]), format_size(one["new"]["size"])
    for one in files["added"]:
        yield one["path"], "added", "", format_size(one["size"])
    for one in files["removed"]:
        yield one["path"], "removed", format_size(one["size"]), ""


_KEYS = (Column("where", style="cyan"), Column("key", wrap=True), Column("old", wrap=True), Column("new", wrap=True))


def _keys(document: dict[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    parts = [("label", document["labels"]), ("metric", document["metrics"]), ("metadata", document["metadata"])]
    for where, found in [*parts, *((one["path"], one) for one in document["config"])]:
        yield from ((where, one["key"], _value(one["old"]), _value(one["new"])) for one in found["changed"])
        yield from ((where, one["key"], "", _value(one["value"])) for one in found["added"])
        yield from ((where, one["key"], _value(one["value"]), "") for one in found["removed"])


def _value(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"


_CHANGED = (
    Column("tensor", style="cyan", wrap=True),
    Column("dtype"),
    Column("shape"),
    Column("rel L2", right=True),
    Column("max abs", right=True),
    Column("mean abs", right=True),
    Column("cosine", right=True),
    Column("not finite", right=True),
    Column("no numbers", wrap=True),
)


def _changed(tensors: "TensorDiff") -> Iterator[tuple[str, ...]]:
    """What kept its shape, whether or not its dtype; the most changed first"""
    both = sorted((*tensors.changed, *tensors.reshaped), key=lambda found: found[1].rank)
    for pair, measured in both:
        old, new, found = pair.old.info, pair.new.info, measured.numbers
        if old.shape == new.shape:
            values = (found.rel_l2, found.max_abs, found.mean_abs, found.cosine) if found else (None,) * 4
            lost = (found.nonfinite_old, found.nonfinite_new) if found else (0, 0)
            yield (
                pair.name,
                _both(old.dtype, new.dtype),
                _shape(new.shape),
                *("" if value is None else number(value) for value in values),
                _both(*map(str, lost)) if any(lost) else "",
                measured.reason or "",
            )


def _both(old: str, new: str) -> str:
    return old if old == new else f"{old} → {new}"


def _shape(lengths: Sequence[int]) -> str:
    return "x".join(map(str, lengths)) or "scalar"


_OTHERS = (Column("tensor", style="cyan", wrap=True), Column("change"), Column("dtype"), Column("shape"))


def _others(tensors: "TensorDiff") -> Iterator[tuple[str, str, str, str]]:
    for pair, _ in tensors.reshaped:
        old, new = pair.old.info, pair.new.info
        if old.shape != new.shape:
            yield pair.name, "reshaped", _both(old.dtype, new.dtype), _both(_shape(old.shape), _shape(new.shape))
    for change, placed in (("added", tensors.added), ("removed", tensors.removed)):
        yield from ((one.name, change, one.info.dtype, _shape(one.info.shape)) for one in placed)
