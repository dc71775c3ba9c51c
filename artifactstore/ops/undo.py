"""Undo: a record of the journal taken back by a new one, where nothing has come between"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from artifactstore.catalog.notes import to_moment
from artifactstore.core.digest import Digest
from artifactstore.core.errors import NotFound, Refused
from artifactstore.core.names import AliasName, ArtifactName
from artifactstore.depot import Depot
from artifactstore.ops.transfer.fetch import load_manifest

_LOOKED_AT = 1000
_Action = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class UndoReport:
    """What was taken back: the record, the versions that came back, and every change in words"""

    serial: int
    versions: tuple[Digest, ...]
    changes: tuple[str, ...]


def run(depot: Depot, serial: int | None = None) -> UndoReport:
    """Take a record back: a retirement, a move of an alias, a pin; the newest such record without a serial

    Raise NotFound when there is no such record, Refused when it is of another kind, or something has come between:
    bytes were swept, the alias has moved on.
    """
    depot.check_writable()
    wanted, actions = _record(depot, serial)
    versions: tuple[Digest, ...] = ()
    changes: list[str] = []
    depot.step("undo.commit.before")
    for action in actions:
        match action["do"]:
            case "retire":
                versions = _restore(depot, wanted)
                changes += [f"{depot.catalog.versions.get(one).ref} is back" for one in versions]
            case "alias":
                changes.append(_move_back(depot, action))
            case "pin":
                changes.append(_pin_back(depot, action))
    depot.step("undo.commit.after")
    depot.acknowledge()
    return UndoReport(wanted, versions, tuple(changes))


def _record(depot: Depot, serial: int | None) -> tuple[int, list[_Action]]:
    for record in depot.catalog.journal.log(_LOOKED_AT):
        if serial is not None and record.serial != serial:
            continue
        actions = json.loads(record.body)["actions"]
        if _can_undo(depot, record.serial, actions, asked=serial is not None):
            return record.serial, actions
        if serial is not None:
            kinds = ", ".join(sorted({action["do"] for action in actions}))
            raise Refused(
                f"Record {serial} ({kinds}) cannot be taken back; undo takes back retirements that are not swept, "
                "moves of aliases, and pins",
                code="undo",
                serial=serial,
            )
    if serial is not None:
        raise NotFound(
            f"No record {serial} among the last {_LOOKED_AT}; see artstore log", code="record", serial=serial
        )
    raise NotFound("Nothing was done lately that could be taken back; see artstore log", code="undo")


def _can_undo(depot: Depot, serial: int, actions: list[_Action], *, asked: bool) -> bool:
    kinds = {action["do"] for action in actions}
    if kinds == {"retire"}:
        # one that was swept is refused by name to who asks for it, and passed over else
        retired = depot.catalog.retirements.undoable(serial)
        return bool(retired) and (asked or not any(retired.values()))
    return bool(kinds) and kinds <= {"alias", "pin"}


def _restore(depot: Depot, serial: int) -> tuple[Digest, ...]:
    versions = depot.catalog.retirements.undoable(serial)
    swept = [version for version, is_swept in versions.items() if is_swept]
    if swept:
        raise _swept(swept[0])
    needed = {version: _blobs(depot, version) for version in versions}
    return depot.catalog.retirements.restore(serial, needed).versions


def _blobs(depot: Depot, version: Digest) -> list[Digest]:
    try:
        return [info.digest for info in load_manifest(depot, version).blobs]
    except NotFound as e:
        raise _swept(version) from e


def _swept(version: Digest) -> Refused:
    return Refused(
        f"Version {version.hex()[:12]} was swept; it cannot come back from here, take it from a mirror or bundle",
        code="gone",
        gone=[str(version)],
    )


def _pin_back(depot: Depot, action: _Action) -> str:
    version, why = Digest.parse(action["id"]), action["why"]
    ends = {pin.why: pin.until for pin in depot.catalog.notes.pins(version)}
    if why not in ends or ends[why] != to_moment(action["until"]):
        raise Refused(f"Pin {why!r} of {version.hex()[:12]} has changed since; set it as it should be", code="undo")
    if "before" not in action:
        depot.catalog.notes.unpin(version, why)
        return f"pin {why!r} removed"
    depot.catalog.notes.pin(version, why, to_moment(action["before"]))
    return f"pin {why!r} back as it was"


def _move_back(depot: Depot, action: _Action) -> str:
    artifact, alias = ArtifactName(action["artifact"]), AliasName(action["alias"])
    moves = depot.catalog.aliases.history(artifact, alias)
    generation = action["generation"]
    if moves[0].generation != generation:
        raise Refused(
            f"{artifact}@{alias} has moved on since (generation {moves[0].generation}, was {generation}); "
            "set it where it should be",
            code="undo",
        )
    before = next((move.version for move in moves if move.generation == generation - 1), None)
    if before is None:
        depot.catalog.aliases.remove(artifact, alias)
        return f"alias {artifact}@{alias} removed"
    moved = depot.catalog.aliases.set(artifact, alias, before, expected=generation)
    return f"alias {artifact}@{alias} back at {depot.catalog.versions.get(moved.version or before).ref}"
