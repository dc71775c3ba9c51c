"""Saves: transaction D, all or nothing, and what it takes to know whether it happened"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import rfc8785
import sqlalchemy as sa
from sqlalchemy import Connection

from artifactstore.catalog.aliases import move, target
from artifactstore.catalog.artifacts import Locked, ensure
from artifactstore.catalog.base import Best, Committed, Draft, Healed, Written
from artifactstore.catalog.batches import insert_new
from artifactstore.catalog.journal import Action, append, knows, lock_head
from artifactstore.catalog.leases import end, lost
from artifactstore.catalog.links import bind_links
from artifactstore.catalog.notes import write_metrics
from artifactstore.catalog.objects import Settled, settle
from artifactstore.catalog.sql import Database
from artifactstore.catalog.tables import blob, file, lease, manifest, metric, tensor_summary, version, version_blob
from artifactstore.catalog.version_rows import version_info
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
        return self._database.write(
            lambda connection: _commit(connection, draft, self._database.now(connection)),
            settle=lambda: self._settled(draft.lease, draft.txid),
        )

    def heal(self, lease_id: str, txid: str, written: Sequence[Written], manifests: Sequence[Written] = ()) -> Healed:
        """A repair's step D: damaged objects become the written ones, for every version that needs them"""

        def work(connection: Connection) -> Healed:
            _end(connection, lease_id)
            blobs = settle(connection, blob, written)
            rows = settle(connection, manifest, manifests, ".json")
            lost_ones = tuple(each.grant for each in (*blobs, *rows) if each.lost)
            if not any(each.how == "set" for each in (*blobs, *rows)):
                return Healed(lock_head(connection)[0], lost_ones)
            at = self._database.now(connection)
            return Healed(append(connection, txid, [_heal(blobs, rows)], at), lost_ones)

        return self._database.write(work, settle=lambda: self._settled(lease_id, txid))

    def _settled(self, lease_id: str, txid: str) -> bool:
        """A COMMIT raised. True: it took place; LeaseLost: it never can"""
        if self._database.read(lambda connection: knows(connection, txid)):
            return True
        # waits for the old transaction, which holds the row until it has ended
        if self._database.write(lambda connection: end(connection, lease_id, "reaped")):
            raise lost(lease_id)
        state = sa.select(lease.c.state).where(lease.c.id == lease_id)
        if self._database.read(lambda connection: connection.execute(state).scalar()) == "done":
            return True
        raise lost(lease_id)


def _end(connection: Connection, lease_id: str) -> None:
    # the fence (R6): of this commit and any reaper exactly one hits the row
    if not end(connection, lease_id, "done"):
        raise lost(lease_id)


def _check(draft: Draft) -> None:
    sizes = {written.grant.digest: written.size for written in draft.blobs}
    needed = {info.digest: info.size for info in draft.manifest.blobs}
    if sizes != needed or len(sizes) != len(draft.blobs):
        raise Invalid("A draft holds other blobs than its manifest names (R2)", code="draft")
    if draft.manifest_object.grant.digest != draft.manifest.id:
        raise Invalid("A draft holds another manifest than its own", code="draft")


def _commit(connection: Connection, draft: Draft, at: int) -> Committed:
    _end(connection, draft.lease)
    document = draft.manifest
    line = ensure(connection, document.artifact)
    known = connection.execute(sa.select(version.c.id, version.c.state).where(version.c.digest == document.id)).first()
    blobs = settle(connection, blob, draft.blobs)
    rows = settle(connection, manifest, [draft.manifest_object], ".json")
    existed = known is not None and known.state == "active"
    actions: list[Action] = []
    if existed and any(each.how == "set" for each in (*blobs, *rows)):
        actions.append(_heal(blobs, rows))
    row = known.id if known is not None else _insert(connection, draft, line)
    if not existed:
        _hold(connection, row, blobs)
        number = sa.select(version.c.number).where(version.c.id == row)
        actions.append(_version(draft, connection.execute(number).scalar_one(), blobs, rows[0]))
    actions += write_metrics(connection, row, document.id, draft.metrics, at)
    actions += _move_aliases(connection, draft, line, row, at)
    serial = lock_head(connection)[0]
    if known is None:
        # under the head's lock, so that of a child and its parent the later commit sees the earlier one
        bind_links(connection, row, document)
    if actions:
        serial = append(connection, draft.txid, actions, at)
    return Committed(
        version=version_info(connection, row),
        serial=serial,
        txid=draft.txid,
        lost=tuple(each.grant for each in (*blobs, *rows) if each.lost),
        existed=existed,
    )


def _insert(connection: Connection, draft: Draft, line: Locked) -> int:
    last = sa.select(sa.func.max(version.c.number)).where(version.c.artifact_id == line.row)
    number = (connection.execute(last).scalar() or 0) + 1
    document = draft.manifest
    summary = _summary(document)
    values = {
        "digest": document.id,
        "artifact_id": line.row,
        "number": number,
        "created": document.created,
        "taken": draft.taken,
        "phase": document.phase,
        "step": document.step,
        "epoch": document.epoch,
        "request_id": document.request_id,
        "license": document.license,
        "nbytes": document.nbytes,
        "file_count": len(document.files),
        "tensor_count": sum(count for count, _ in summary.values()),
        "formats": ",".join(sorted({entry.format for entry in document.files})),
        "dtypes": ",".join(sorted(summary, key=lambda dtype: (-summary[dtype][1], dtype))),
        "metadata": rfc8785.dumps(dict(document.metadata)).decode(),
        "state": "active",
    }
    key = connection.execute(sa.insert(version), values).inserted_primary_key
    assert key is not None
    row: int = key[0]
    _describe(connection, row, document, summary)
    return row


def _summary(document: Manifest) -> dict[str, tuple[int, int]]:
    count: Counter[str] = Counter()
    nbytes: Counter[str] = Counter()
    for entry in document.files:
        for tensor in entry.tensors:
            count[tensor.dtype] += 1
            nbytes[tensor.dtype] += tensor.end - tensor.begin
    return {dtype: (count[dtype], nbytes[dtype]) for dtype in count}


def _describe(connection: Connection, row: int, document: Manifest, summary: dict[str, tuple[int, int]]) -> None:
    files = [
        {
            "version_id": row,
            "position": position,
            "path": entry.path,
            "size": entry.size,
            "sha256": entry.sha256,
            "format": entry.format,
        }
        for position, entry in enumerate(document.files)
    ]
    connection.execute(sa.insert(file), files)
    tensors = [
        {"version_id": row, "dtype": dtype, "count": count, "nbytes": nbytes}
        for dtype, (count, nbytes) in summary.items()
    ]
    if tensors:
        connection.execute(sa.insert(tensor_summary), tensors)


def _hold(connection: Connection, row: int, blobs: Sequence[Settled]) -> None:
    active = sa.update(version).where(version.c.id == row, version.c.state != "active")
    connection.execute(active.values(state="active", retired_at=None))
    rows = [{"version_id": row, "blob_id": each.row} for each in blobs]
    insert_new(connection, version_blob, sorted(rows, key=lambda held: held["blob_id"]))


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
