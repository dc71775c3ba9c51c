"""Journal: what was committed"""

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
    match action:
        case {"do": "version", "artifact": artifact, "number": number}:
            return f"added {artifact}:{number}"
        case {"do": "alias", "artifact": artifact, "alias": alias, "version": None}:
            return f"removed alias {artifact}@{alias}"
        case {"do": "alias", "artifact": artifact, "alias": alias, "version": version}:
            return f"alias {artifact}@{alias} → {version[:12]}"
        case {"do": "metric", "id": version, "metrics": metrics}:
            return f"metrics of {version[:12]}: {metrics_line(metrics)}"
        case {"do": "retire", "versions": [[version, why]]}:
            return f"retired {version[:12]}: {why}"
        case {"do": "retire", "versions": versions}:
            return f"retired {len(versions)} versions"
        case {"do": "undo", "serial": serial, "versions": versions}:
            return f"took back record {serial}: {len(versions)} versions"
        case {"do": "policy", "pattern": pattern, "rules": rules}:
            return f"policy {pattern}: {rules or 'removed'}"
        case {"do": "pin" | "unpin" as kind, "id": version, "why": why}:
            return f"{kind} {version[:12]}: {why or 'all'}"
        case {"do": "link", "child": child, "parent": parent}:
            return f"link {child[:12]} → {parent[:12]}"
        case {"do": "forget", "id": version}:
            return f"swept {version[:12]}"
        case {"do": kind, **rest}:
            return " ".join([kind, *(f"{name} {_short(value)}" for name, value in rest.items())])
    return str(action)


def _short(value: Any) -> str:
    return str(len(value)) if isinstance(value, list) else str(value)
