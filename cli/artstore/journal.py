"""Journal: what was committed"""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from itertools import groupby
from typing import Annotated, Any

import typer

from artstore.invocation import Invocation, with_invocation
from artstore.output import plural
from artstore.screen import Column, Screen
from artstore.versions import age, metrics_line

_SHOWN = 4
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
    names = _Names(record.get("refs", {}))
    told = []
    for do, run in groupby(record["actions"], key=lambda action: action["do"]):
        actions = list(run)
        # one sentence for all that a sweep took, which may be thousands
        told += [names.swept(actions)] if do == "forget" else [_sentence(names, action) for action in actions]
    return str(record["serial"]), record["at"], age(record["at"]), "; ".join(dict.fromkeys(told))


class _Names:
    """What versions are called; one whose row is gone by the start of its id"""

    def __init__(self, refs: Mapping[str, str]) -> None:
        self._refs = refs

    def of(self, version: str) -> str:
        return self._refs.get(version, version[:12])

    def some(self, versions: Iterable[str]) -> str:
        """The first of them, and how many more"""
        shown = sorted(map(self.of, versions), key=_by_number)
        more = f" and {len(shown) - _SHOWN:,} more" if len(shown) > _SHOWN else ""
        return ", ".join(shown[:_SHOWN]) + more

    def swept(self, actions: Iterable[Mapping[str, Any]]) -> str:
        return f"removed for good {self.some(action['id'] for action in actions)}"


def _by_number(ref: str) -> tuple[str, int]:
    name, _, number = ref.rpartition(":")
    return name, int(number) if number.isdecimal() else 0


def _sentence(names: _Names, action: dict[str, Any]) -> str:
    """What one action of a record did"""
    tell = _SENTENCES.get(action["do"])
    if tell is not None:
        return tell(names, action)
    return " ".join(f"{name} {_short(value)}" if name != "do" else str(value) for name, value in action.items())


def _alias(names: _Names, action: dict[str, Any]) -> str:
    name = f"alias {action['artifact']}@{action['alias']}"
    return f"removed {name}" if action["version"] is None else f"{name} → {names.of(action['version'])}"


def _retired(names: _Names, action: dict[str, Any]) -> str:
    versions = dict(action["versions"])
    why = f": {next(iter(versions.values()))}" if len(versions) == 1 else ""
    return f"retired {names.some(versions)}{why}"


def _pinned(names: _Names, action: dict[str, Any]) -> str:
    end = "" if action["until"] is None else f" until {datetime.fromtimestamp(action['until'] / 1e6, UTC):%Y-%m-%d}"
    return f"pinned {names.of(action['id'])}: {action['why']}{end}"


def _unpinned(names: _Names, action: dict[str, Any]) -> str:
    which = "all pins" if action["why"] is None else f"pin {action['why']!r}"
    return f"removed {which} of {names.of(action['id'])}"


def _rebuilt(_: _Names, action: dict[str, Any]) -> str:
    over = f", leaving out {', '.join(action['over'])}" if action["over"] else ""
    return f"rebuilt this catalog from {action['from']}, which had {action['serial']:,} records{over}"


def _objects(verb: str) -> Callable[[_Names, dict[str, Any]], str]:
    def tell(_: _Names, action: dict[str, Any]) -> str:
        counts = {name: int(_short(action[name])) for name in ("blobs", "manifests") if name in action}
        some = {name: count for name, count in counts.items() if count} or counts
        return f"{verb} {' and '.join(plural(count, name[:-1]) for name, count in some.items())}"

    return tell


def _remote(_: _Names, action: dict[str, Any]) -> str:
    if action["url"] is None:
        return f"forgot remote {action['name']}"
    kind = "origin" if action["origin"] else "mirror" if action["mirror"] else "remote"
    return f"{kind} {action['name']} is at {action['url']}"


def _seen(names: _Names, action: dict[str, Any]) -> str:
    told = [f"{verb} {names.some(action[key])}" for key, verb in _HOLDS.items() if action[key]]
    return f"remote {action['remote']} {' and '.join(told) or 'was seen'} at its record {action['serial']}"


_HOLDS = {"held": "holds", "gone": "no longer holds"}
_SENTENCES: dict[str, Callable[[_Names, dict[str, Any]], str]] = {
    "version": lambda _, action: f"added {action['artifact']}:{action['number']}",
    "alias": _alias,
    "metric": lambda names, action: f"metrics of {names.of(action['id'])}: {metrics_line(action['metrics'])}",
    "retire": _retired,
    "undo": lambda names, action: f"took back record {action['serial']}: {names.some(action['versions'])}",
    "policy": lambda _, action: f"policy {action['pattern']}: {action['rules'] or 'removed'}",
    "pin": _pinned,
    "unpin": _unpinned,
    "link": lambda names, action: f"{names.of(action['child'])} comes from {names.of(action['parent'])}",
    "intent": _objects("gave up"),
    "damaged": _objects("found damage of"),
    "heal": _objects("filled in"),
    "remote": _remote,
    "seen": _seen,
    "rebuilt": _rebuilt,
}


def _short(value: Any) -> str:
    return str(len(value)) if isinstance(value, list) else str(value)
