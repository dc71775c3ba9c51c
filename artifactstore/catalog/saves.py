"""Saves: transaction D, all or nothing, and what it takes to know whether it happened"""

import math
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from artifactstore.catalog.aliases import move, target
from artifactstore.catalog.artifacts import Locked, ensure
from artifactstore.catalog.base import Best, Committed, Draft, Healed, Written
from artifactstore.catalog.journal import Action, append, knows, lock_head
from artifactstore.catalog.leases import end, lost
from artifactstore.catalog.links import check_needs, insert_links, match_links
from artifactstore.catalog.notes import write_metrics
from artifactstore.catalog.objects import Settled, settle
from artifactstore.catalog.sql import Database
from artifactstore.catalog.tables import blob, lease, lease_pin, manifest, metric, version
from artifactstore.catalog.version_rows import version_info
from artifactstore.catalog.version_write import bring_back, complete, hold, insert_version, next_number
from artifactstore.core.errors import Invalid
from artifactstore.core.manifest import Manifest


class Saves:
    """Makes written objects and the version they are for visible at once"""

    def __init__(self, database: Database) -> None:
        self._database = database

    def commit(self, draft: Draft) -> Committed:
        """Step D; raise LeaseLost when it can never happen, and the save must start again at A with a new lease

        When the version is there already only what the draft asks for beside it is done. Unavailable with the code
        `unavailable.commit-unknown` means that nothing the save wrote may be removed.
        """
        _check(draft)
        committed = self._database.write(
            lambda connection: _commit(connection, draft, self._database.now(connection)),
            settle=lambda: self._settled(draft.lease, draft.txid),
        )
        self._database.told.txid = committed.txid
        return committed

    def heal(
        self,
        lease_id: str,
        txid: str,
        written: Sequence[Written],
        manifests: Sequence[Written] = (),
        documents: Sequence[Manifest] = (),
    ) -> Healed:
        """A repair's step D: damaged objects become the written ones, for every version that needs them

        documents: what the manifests say, for versions of which a rebuild could not tell as much.
        """

        def work(connection: Connection) -> Healed:
            _end(connection, lease_id, (*written, *manifests))
            blobs = settle(connection, blob, written)
            rows = settle(connection, manifest, manifests, ".json")
            for document in documents:
                complete(connection, document)
            lost_ones = tuple(each.grant for each in (*blobs, *rows) if each.lost)
            if not any(each.how == "set" for each in (*blobs, *rows)):
                serial, head, _ = lock_head(connection)
                return Healed(serial, head, lost_ones)
            at = self._database.now(connection)
            return Healed(append(connection, txid, [_heal(blobs, rows)], at), txid, lost_ones)

        healed = self._database.write(work, settle=lambda: self._settled(lease_id, txid))
        self._database.told.txid = healed.txid
        return healed

    def _settled(self, lease_id: str, txid: str) -> bool:
        """A COMMIT raised. True: it took place; LeaseLost: it never can"""
        if self._database.read(lambda connection: knows(connection, txid)):
            return True
        # waits for the old transaction, which holds the row until it has ended
        if self._database.write(lambda connection: end(connection, lease_id, "reaped")):
            raise lost(lease_id, doubt=True)
        state = sa.select(lease.c.state).where(lease.c.id == lease_id)
        if self._database.read(lambda connection: connection.execute(state).scalar()) == "done":
            return True
        raise lost(lease_id, doubt=True)


def _end(connection: Connection, lease_id: str, written: Sequence[Written]) -> None:
    pins = sa.select(sa.func.count()).where(lease_pin.c.lease_id == lease_id)
    granted = {(each.grant.digest, each.grant.inc) for each in written}
    # a catalog restored from a backup may know the lease and not its pins: nothing kept a collector from these objects
    all_pinned = connection.execute(pins).scalar_one() >= len(granted)
    # the fence (R6): of this commit and any reaper exactly one hits the row
    if not end(connection, lease_id, "done") or not all_pinned:
        raise lost(lease_id)


def _check(draft: Draft) -> None:
    sizes = {written.grant.digest: written.size for written in draft.blobs}
    needed = {info.digest: info.size for info in draft.manifest.blobs}
    if sizes != needed or len(sizes) != len(draft.blobs):
        raise Invalid("A draft holds other blobs than its manifest names (R2)", code="draft")
    if draft.manifest_object.grant.digest != draft.manifest.id:
        raise Invalid("A draft holds another manifest than its own", code="draft")


def _commit(connection: Connection, draft: Draft, at: int) -> Committed:
    _end(connection, draft.lease, (*draft.blobs, draft.manifest_object))
    document = draft.manifest
    line = ensure(connection, document.artifact)
    of_it = sa.select(version.c.id, version.c.number, version.c.state).where(version.c.digest == document.id)
    known = connection.execute(of_it).first()
    blobs = settle(connection, blob, draft.blobs)
    rows = settle(connection, manifest, [draft.manifest_object], ".json")
    existed = known is not None and known.state == "active"
    actions: list[Action] = []
    if existed and any(each.how == "set" for each in (*blobs, *rows)):
        actions.append(_heal(blobs, rows))
        complete(connection, document)
    if known is None:
        number = next_number(connection, line.row)
        row = insert_version(connection, document, artifact=line.row, number=number, taken=draft.taken)
    else:
        row, number = known.id, known.number
    if not existed:
        bring_back(connection, row, document)
        hold(connection, row, [each.row for each in blobs])
        actions.append(_version(draft, number, blobs, rows[0]))
    actions += write_metrics(connection, row, document.id, draft.metrics, at)
    actions += _move_aliases(connection, draft, line, row, at)
    serial, txid, _ = lock_head(connection)
    if known is None:
        # under the head's lock, so that of a child and its parent the later commit sees the earlier one
        insert_links(connection, row, document.id, document.parents)
        actions += match_links(connection, row, document)
    if not existed:
        # a lease holds those that were here when the save began
        check_needs(connection, [row])
    if actions:
        serial, txid = append(connection, draft.txid, actions, at), draft.txid
    return Committed(
        version=version_info(connection, row),
        serial=serial,
        txid=txid,
        lost=tuple(each.grant for each in (*blobs, *rows) if each.lost),
        existed=existed,
    )


def _move_aliases(connection: Connection, draft: Draft, line: Locked, row: int, at: int) -> list[Action]:
    names = [*draft.aliases, *(best.alias for best in draft.best if _beats(connection, draft, best, line))]
    to = (row, draft.manifest.id)
    return [action for name in dict.fromkeys(names) for action in move(connection, line, name, to, at)]


def _beats(connection: Connection, draft: Draft, best: Best, line: Locked) -> bool:
    ours = draft.metrics.get(best.metric)
    if ours is None or not math.isfinite(ours):
        return False
    holder = target(connection, line, best.alias)
    query = sa.select(metric.c.value).where(metric.c.version_id == holder, metric.c.name == best.metric)
    theirs: float | None = connection.execute(query).scalar()
    if theirs is None or not math.isfinite(theirs):
        return True
    return ours < theirs if best.mode == "min" else ours > theirs


def _version(draft: Draft, number: int, blobs: Sequence[Settled], document: Settled) -> Action:
    return {
        "do": "version",
        "id": str(draft.manifest.id),
        "artifact": str(draft.manifest.artifact),
        "number": number,
        "manifest": document.inc,
        "taken": draft.taken,
        "blobs": [each.to_json() for each in blobs],
    }


def _heal(blobs: Sequence[Settled], manifests: Sequence[Settled]) -> dict[str, Any]:
    return {
        "do": "heal",
        "blobs": [each.to_json() for each in blobs],
        "manifests": [each.to_json() for each in manifests],
    }
