"""Journal: what was committed"""

from collections.abc import Callable
from typing import Annotated, Any

import typer

from artstore.invocation import Invocation, with_invocation
from artstore.screen import Column, Screen
from artstore.versions import age, metrics_line

_ROW = (Column("serial", right=True), Column("at"), Column("age", right=True), Column("what", wrap=True))


@with_invocation
def log(
    run: Invocation,
    *,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="At most so many.")] = 20,
) -> None:
    """Show what was committed, newest first"""
    with run.open(read_only=True) as store:
        records = store.log(limit)

    def show(screen: Screen) -> None:
        screen.table(_ROW, [_row(record) for record in records])

    run.output.tell_rows("record", records, show, ids=[str(record["serial"]) for record in records])


def _row(record: dict[str, Any]) -> tuple[str, ...]:
    actions = "; ".join(_sentence(action) for action in record["actions"])
    return str(record["serial"]), record["at"], age(record["at"]), actions


def _sentence(action: dict[str, Any]) -> str:
    """What one action of a record did; ids are cut as git cuts them"""
    tell = _SENTENCES.get(action["do"])
    if tell is not None:
        return tell(action)
    return " ".join(f"{name} {_short(value)}" if name != "do" else str(value) for name, value in action.items())


def _alias(action: dict[str, Any]) -> str:
    name = f"alias {action['artifact']}@{action['alias']}"
    return f"removed {name}" if action["version"] is None else f"{name} → {action['version'][:12]}"


def _retired(action: dict[str, Any]) -> str:
    versions = action["versions"]
    return (
        f"retired {versions[0][0][:12]}: {versions[0][1]}"
        if len(versions) == 1
        else f"retired {len(versions)} versions"
    )


def _pinned(action: dict[str, Any]) -> str:
    return f"{action['do']} {action['id'][:12]}: {action['why'] or 'all'}"


_SENTENCES: dict[str, Callable[[dict[str, Any]], str]] = {
    "version": lambda action: f"added {action['artifact']}:{action['number']}",
    "alias": _alias,
    "metric": lambda action: f"metrics of {action['id'][:12]}: {metrics_line(action['metrics'])}",
    "retire": _retired,
    "undo": lambda action: f"took back record {action['serial']}: {len(action['versions'])} versions",
    "policy": lambda action: f"policy {action['pattern']}: {action['rules'] or 'removed'}",
    "pin": _pinned,
    "unpin": _pinned,
    "link": lambda action: f"link {action['child'][:12]} → {action['parent'][:12]}",
    "forget": lambda action: f"swept {action['id'][:12]}",
}


def _short(value: Any) -> str:
    return str(len(value)) if isinstance(value, list) else str(value)
