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
    """Take a record back: a retirement, a move of an alias, a pin, its removal; the newest such without a serial

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
                back = (depot.catalog.versions.get(one) for one in versions)
                changes += [f"{one.ref} is back" for one in sorted(back, key=lambda one: (one.artifact, one.number))]
            case "alias":
                changes.append(_move_back(depot, action))
            case "pin":
                changes.append(_pin_back(depot, action))
            case "unpin":
                changes += _pin_again(depot, wanted, action)
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
                "moves of aliases, pins and their removal",
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
    if not asked and not all(_has_effect(depot, serial, action) for action in actions):
        # nothing of it is left to take back, and an older record may be what is meant
        return False
    return bool(kinds) and kinds <= {"alias", "pin", "unpin"}


def _has_effect(depot: Depot, serial: int, action: _Action) -> bool:
    match action["do"]:
        case "pin":
            return _stands(depot, action)
        case "unpin":
            return bool(_taken_off(depot, serial, action))
    return True


def _stands(depot: Depot, action: _Action) -> bool:
    """The pin is as this action has set it"""
    ends = {pin.why: pin.until for pin in depot.catalog.notes.pins(Digest.parse(action["id"]))}
    return action["why"] in ends and ends[action["why"]] == to_moment(action["until"])


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
    if not _stands(depot, action):
        raise Refused(f"Pin {why!r} of {version.hex()[:12]} has changed since; set it as it should be", code="undo")
    if "before" not in action:
        depot.catalog.notes.unpin(version, why)
        return f"pin {why!r} removed"
    depot.catalog.notes.pin(version, why, to_moment(action["before"]))
    return f"pin {why!r} back as it was"


def _pin_again(depot: Depot, serial: int, action: _Action) -> list[str]:
    version, pins = Digest.parse(action["id"]), _taken_off(depot, serial, action)
    if not pins:
        raise Refused(
            f"What record {serial} took off {version.hex()[:12]} is there again, or the version is gone, or the pin is "
            f"older than the last {_LOOKED_AT} records; pin it as it should be",
            code="undo",
        )
    for why, until in pins.items():
        depot.catalog.notes.pin(version, why, to_moment(until))
    return [f"pin {why!r} is back" for why in pins]


def _taken_off(depot: Depot, serial: int, action: _Action) -> Mapping[str, int | None]:
    """The pins that an unpin took off and that are not there again, with their ends, as older records have set them"""
    version = Digest.parse(action["id"])
    try:
        depot.catalog.versions.get(version)
    except NotFound:
        return {}
    closed = {pin.why for pin in depot.catalog.notes.pins(version)}
    found: dict[str, int | None] = {}
    older = (record for record in depot.catalog.journal.log(_LOOKED_AT) if record.serial < serial)
    for one in (one for record in older for one in reversed(json.loads(record.body)["actions"])):
        if one.get("id") != action["id"] or one["do"] not in {"pin", "unpin"}:
            continue
        if one["do"] == "unpin" and one["why"] is None:
            break
        if one["do"] == "pin" and one["why"] not in closed and action["why"] in {None, one["why"]}:
            found[one["why"]] = one["until"]
        closed.add(one["why"])
    return found


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
