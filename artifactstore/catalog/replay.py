"""Replay: records of the journal made rows again, by the statements that first wrote them where there are any"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import Connection, Row, Table
from sqlalchemy.exc import DataError, IntegrityError

from artifactstore.catalog.artifacts import ensure
from artifactstore.catalog.base import Place
from artifactstore.catalog.batches import chunks, select_in, upsert
from artifactstore.catalog.journal import Action, lock_head
from artifactstore.catalog.leases import end_all
from artifactstore.catalog.links import apply_link, insert_links
from artifactstore.catalog.notes import write_metrics
from artifactstore.catalog.objects import PRESENT, place_query, revive, to_place
from artifactstore.catalog.remotes import write_remote, write_seen
from artifactstore.catalog.sql import Database
from artifactstore.catalog.tables import (
    alias,
    alias_history,
    blob,
    journal,
    manifest,
    policy,
    store,
    version,
    version_blob,
    version_pin,
)
from artifactstore.catalog.version_write import (
    REMEMBERED,
    bring_back,
    complete,
    forget,
    hold,
    insert_memory,
    insert_version,
)
from artifactstore.core.decode import read_link
from artifactstore.core.digest import Digest, check_incarnation
from artifactstore.core.errors import Conflict, Corrupt, Invalid
from artifactstore.core.manifest import Manifest
from artifactstore.core.names import AliasName, ArtifactName
from artifactstore.core.record import Record

UNKNOWN = -1
Name = Callable[[Digest, str], str]
What = Literal["blobs", "manifests"]
OBJECTS: dict[What, Table] = {"blobs": blob, "manifests": manifest}


@dataclass(frozen=True, slots=True)
class Shelf:
    """What records speak of and do not hold. memories: `forget` actions of versions whose manifest is gone

    blob_key, manifest_key: where an incarnation of a digest lies.
    """

    manifests: Mapping[Digest, Manifest]
    memories: Mapping[Digest, Action]
    blob_key: Name
    manifest_key: Name


class Replays:
    """Brings a catalog that was restored from a backup, or that only ever follows, up to its journal"""

    def __init__(self, database: Database) -> None:
        self._database = database

    def forward(self, records: Sequence[Record], shelf: Shelf) -> int:
        """Replay what is not known yet, in one transaction; how many. Every lease ends: its pins may be lost

        Raise Conflict when the records do not follow the catalog's last one, and what `replay` raises.
        """

        def work(connection: Connection) -> int:
            serial, txid, _ = lock_head(connection)
            new = [record for record in records if record.serial > serial]
            if not new:
                return 0
            if (new[0].serial, new[0].previous) != (serial + 1, txid):
                raise Conflict(
                    f"Record {new[0].serial} of the journal does not follow record {serial} of the catalog; "
                    "run artstore catalog rebuild",
                    code="catalog-parted",
                )
            end_all(connection)
            replay(connection, new, shelf)
            return len(new)

        return self._database.write(work, exclusive=True)

    def manifests(self, versions: Sequence[Digest]) -> dict[Digest, str]:
        """Keys of manifests that have a row"""
        return self._database.read(lambda connection: manifest_keys(connection, versions))

    def versions(self, ids: Sequence[Digest]) -> set[bytes]:
        """Those that the catalog knows, retired and swept ones too"""
        query = sa.select(version.c.digest)

        def work(connection: Connection) -> set[bytes]:
            return {row.digest for row in select_in(connection, query, version.c.digest, ids)}

        return self._database.read(work)

    def measure(self, size_of: Callable[[str], int | None]) -> None:
        """Ask for the bytes of what no manifest told"""
        found = [(what, place, size_of(place.key)) for what, place in self._database.read(unmeasured)]
        if found:
            self._database.write(lambda connection: measure(connection, found), exclusive=True)


def replay(connection: Connection, records: Iterable[Record], shelf: Shelf) -> None:
    """Do what each record says, and keep it as the journal's; the last becomes the head

    Raise Invalid for an action this release does not know, Corrupt for one that cannot be done.
    """
    last: Record | None = None
    for record in records:
        turn = _Turn(connection, record, shelf)
        for action in record.actions:
            turn.do(action)
        row = {"serial": record.serial, "txid": record.txid, "previous": record.previous, "at": record.at}
        connection.execute(sa.insert(journal), {**row, "body": record.raw, "exported": True})
        last = record
    if last is not None:
        connection.execute(sa.update(store).values(head_serial=last.serial, head_txid=last.txid))


def manifest_keys(connection: Connection, versions: Sequence[Digest]) -> dict[Digest, str]:
    """Keys of manifests that have a row"""
    query = sa.select(manifest.c.digest, manifest.c.key)
    return {Digest(row.digest): row.key for row in select_in(connection, query, manifest.c.digest, versions)}


def unmeasured(connection: Connection) -> list[tuple[What, Place]]:
    """Objects whose size no manifest told, as theirs are gone or lost"""
    return [
        (what, to_place(row))
        for what, table in OBJECTS.items()
        for row in connection.execute(place_query(table).where(table.c.size == UNKNOWN).order_by(table.c.id))
    ]


def measure(connection: Connection, found: Iterable[tuple[What, Place, int | None]]) -> list[tuple[What, Place]]:
    """Note sizes, 0 of what is not here; that is damaged, as is a manifest, which would else have been read

    What was found damaged just now.
    """
    damaged = []
    for what, place, size in found:
        table = OBJECTS[what]
        values: dict[str, Any] = {"size": size or 0, "stored_size": size or 0}
        if size is None or what == "manifests":
            values["state"] = "damaged"
            damaged += [(what, place)] if place.state in PRESENT else []
        connection.execute(sa.update(table).where(table.c.digest == place.digest).values(values))
    return damaged


def release(connection: Connection) -> None:
    """Let retired versions go of their blobs, as a collection does; an undo takes them again"""
    retired = sa.select(version.c.id).where(version.c.state == "retired")
    connection.execute(sa.delete(version_blob).where(version_blob.c.version_id.in_(retired)))


class _Turn:
    """One record being replayed"""

    def __init__(self, connection: Connection, record: Record, shelf: Shelf) -> None:
        self._connection, self._record, self._shelf = connection, record, shelf

    def do(self, action: Action) -> None:
        """Raise Invalid for an action this release does not know, Corrupt for one that cannot be done"""
        known = _ACTIONS.get(action["do"])
        serial, txid = self._record.serial, self._record.txid
        if known is None:
            raise Invalid(
                f"Record {serial} of the journal has the action {action['do']!r:.40}, which this release does not "
                "know; take the release that wrote it, or a newer one",
                code="action",
                serial=serial,
                action=action["do"],
            )
        try:
            known(self, action)
        except (
            KeyError,
            TypeError,
            ValueError,
            AttributeError,
            OverflowError,
            IntegrityError,
            DataError,
            Invalid,
        ) as e:
            raise Corrupt(
                f"Record {serial} ({txid}) of the journal cannot be replayed: {action['do']} does not fit what was "
                f"before it ({str(e).splitlines()[0]:.200}); bring it back from a copy",
                code="journal",
                serial=serial,
                txid=txid,
            ) from e

    def rebuilt(self, action: Action) -> None:
        """Where the chain goes on; nothing that a catalog says changes"""

    def version(self, action: Action) -> None:
        digest, line = Digest.parse(action["id"]), ensure(self._connection, ArtifactName(action["artifact"]))
        document = self._shelf.manifests.get(digest)
        sizes = {} if document is None else {info.digest: info.size for info in document.blobs}
        rows = _count(self._connection, blob, action["blobs"], sizes, self._shelf.blob_key)
        if document is not None and (document.artifact != line.name or sizes.keys() != rows.keys()):
            raise ValueError("its manifest says another artifact or other blobs")
        self._count_manifests([[action["id"], action["manifest"], "set"]])
        row = self._find_version(digest)
        if row is None:
            new = {"artifact": line.row, "number": int(action["number"]), "taken": int(action["taken"])}
            row = self._insert(action, digest, new)
        if document is not None:
            bring_back(self._connection, row, document)
        else:
            self._activate(row)
        hold(self._connection, row, list(rows.values()))

    def heal(self, action: Action) -> None:
        _count(self._connection, blob, action["blobs"], {}, self._shelf.blob_key)
        self._count_manifests(action["manifests"])
        for digest in (Digest.parse(one) for one, _, _ in action["manifests"]):
            document = self._shelf.manifests.get(digest)
            if document is not None:
                complete(self._connection, document)

    def damaged(self, action: Action) -> None:
        for table, names in _named(action):
            for digest, inc in names.items():
                here = (table.c.digest == digest, table.c.inc == inc, table.c.state.in_(PRESENT))
                change = sa.update(table).where(*here)
                self._connection.execute(change.values(state="damaged", condemned_at=None))

    def intent(self, action: Action) -> None:
        for table, names in _named(action):
            found = _find(self._connection, table, list(names))
            ids = [row.id for digest, row in found.items() if row.inc == names[digest]]
            # of what a version needs, a removal is damage: it stays known, so that a repair can bring it back
            needed = _needed(self._connection, table, ids)
            for chunk in chunks(sorted(needed)):
                self._connection.execute(sa.update(table).where(table.c.id.in_(chunk)).values(state="damaged"))
            for chunk in chunks([one for one in ids if one not in needed]):
                if table is blob:
                    self._connection.execute(sa.delete(version_blob).where(version_blob.c.blob_id.in_(chunk)))
                self._connection.execute(sa.delete(table).where(table.c.id.in_(chunk)))

    def retire(self, action: Action) -> None:
        now = {"state": "retired", "retired_at": self._record.at, "retired_by": self._record.serial}
        for one, why in action["versions"]:
            change = sa.update(version).where(version.c.id == self._row(one))
            self._connection.execute(change.values(now | {"retired_why": str(why)}))

    def undo(self, action: Action) -> None:
        for one in action["versions"]:
            row, digest = self._row(one), Digest.parse(one)
            self._activate(row)
            _revive(self._connection, manifest, [digest])
            document = self._shelf.manifests.get(digest)
            if document is not None:
                # a collection may have let go of them meanwhile
                hold(self._connection, row, _revive(self._connection, blob, [info.digest for info in document.blobs]))

    def forget(self, action: Action) -> None:
        forget(self._connection, self._row(action["id"]), self._record.at)

    def link(self, action: Action) -> None:
        for end in ("child", "parent"):
            self._row(action[end])
        apply_link(self._connection, action)

    def alias(self, action: Action) -> None:
        line, name = ensure(self._connection, ArtifactName(action["artifact"])), AliasName(action["alias"])
        row = None if action["version"] is None else self._row(action["version"])
        moved = {"artifact_id": line.row, "name": name, "version_id": row, "generation": int(action["generation"])}
        self._connection.execute(sa.insert(alias_history), {**moved, "at": self._record.at})
        here = (alias.c.artifact_id == line.row, alias.c.name == name)
        self._connection.execute(sa.delete(alias).where(*here))
        if row is not None:
            self._connection.execute(sa.insert(alias), moved)

    def metric(self, action: Action) -> None:
        metrics = {name: float(value) for name, value in action["metrics"].items()}
        row = self._row(action["id"])
        write_metrics(self._connection, row, Digest.parse(action["id"]), metrics, self._record.at)

    def pin(self, action: Action) -> None:
        row = {"version_id": self._row(action["id"]), "why": str(action["why"]), "at": self._record.at}
        upsert(self._connection, version_pin, [{**row, "until": action["until"]}])

    def unpin(self, action: Action) -> None:
        gone = sa.delete(version_pin).where(version_pin.c.version_id == self._row(action["id"]))
        self._connection.execute(gone if action["why"] is None else gone.where(version_pin.c.why == action["why"]))

    def policy(self, action: Action) -> None:
        pattern, rules = str(action["pattern"]), action["rules"]
        if rules is None:
            self._connection.execute(sa.delete(policy).where(policy.c.pattern == pattern))
        else:
            upsert(self._connection, policy, [{"pattern": pattern, "rules": str(rules), "at": self._record.at}])

    def remote(self, action: Action) -> None:
        write_remote(self._connection, action)

    def seen(self, action: Action) -> None:
        write_seen(self._connection, action, self._record.at)

    def _insert(self, action: Action, digest: Digest, new: dict[str, int]) -> int:
        document = self._shelf.manifests.get(digest)
        if document is not None:
            row = insert_version(self._connection, document, **new)
            parents = document.parents
        else:
            # its manifest was removed later, or is lost: then what the record says is all there is
            memory = self._shelf.memories.get(digest, _nothing(action))
            row = insert_memory(self._connection, memory, **new)
            parents = tuple(read_link(parent) for parent in memory["parents"])
        insert_links(self._connection, row, digest, parents)
        return row

    def _activate(self, row: int) -> None:
        values = {"state": "active"} | dict.fromkeys(("retired_at", "retired_by", "retired_why"))
        self._connection.execute(sa.update(version).where(version.c.id == row).values(values))

    def _count_manifests(self, objects: Any) -> None:
        known = (self._shelf.manifests.get(Digest.parse(digest)) for digest, _, _ in objects)
        sizes = {document.id: len(document.raw) for document in known if document is not None}
        _count(self._connection, manifest, objects, sizes, self._shelf.manifest_key)

    def _find_version(self, digest: Digest) -> int | None:
        query = sa.select(version.c.id).where(version.c.digest == digest)
        row: int | None = self._connection.execute(query).scalar()
        return row

    def _row(self, version_id: Any) -> int:
        row = self._find_version(Digest.parse(version_id))
        if row is None:
            raise ValueError(f"there is no version {version_id}")
        return row


_ACTIONS: dict[str, Callable[[_Turn, Action], None]] = {
    "rebuilt": _Turn.rebuilt,
    "version": _Turn.version,
    "heal": _Turn.heal,
    "damaged": _Turn.damaged,
    "intent": _Turn.intent,
    "retire": _Turn.retire,
    "undo": _Turn.undo,
    "forget": _Turn.forget,
    "link": _Turn.link,
    "alias": _Turn.alias,
    "metric": _Turn.metric,
    "pin": _Turn.pin,
    "unpin": _Turn.unpin,
    "policy": _Turn.policy,
    "remote": _Turn.remote,
    "seen": _Turn.seen,
}


def _nothing(action: Action) -> Action:
    """The memory of a version of which nothing else is known"""
    empty = {"created": action["taken"], "formats": "", "dtypes": "", "parents": []}
    counts = dict.fromkeys(("nbytes", "file_count", "tensor_count"), 0)
    return dict.fromkeys(REMEMBERED) | empty | counts | {"id": action["id"]}


def _named(action: Action) -> Iterator[tuple[Table, dict[Digest, str]]]:
    for what, table in OBJECTS.items():
        yield table, dict(_exact(action.get(what, ())))


def _needed(connection: Connection, table: Table, ids: Sequence[int]) -> set[int]:
    """Those of the rows that an active version needs"""
    column: sa.ColumnElement[Any] = version_blob.c.blob_id if table is blob else manifest.c.id
    if table is blob:
        query = sa.select(column).join_from(version_blob, version)
    else:
        query = sa.select(column).join_from(manifest, version, version.c.digest == manifest.c.digest)
    return {row[0] for row in select_in(connection, query.where(version.c.state == "active"), column, ids)}


def _exact(names: Any) -> list[tuple[Digest, str]]:
    return [(Digest.parse(digest), check_incarnation(inc)) for digest, inc in names]


def _find(connection: Connection, table: Table, digests: Sequence[Digest]) -> dict[Digest, Row[Any]]:
    query = sa.select(table.c.id, table.c.digest, table.c.inc, table.c.state, table.c.size)
    return {Digest(row.digest): row for row in select_in(connection, query, table.c.digest, digests)}


def _revive(connection: Connection, table: Table, digests: Sequence[Digest]) -> list[int]:
    """Set live what is condemned; the rows of all that are here"""
    present = [row for row in _find(connection, table, digests).values() if row.state in PRESENT]
    revive(connection, table, present)
    return [row.id for row in present]


def _count(
    connection: Connection, table: Table, objects: Any, sizes: Mapping[Digest, int], key: Name
) -> dict[Digest, int]:
    """These incarnations, and no others of their digests, count from now on; their rows by digest"""
    names = dict(_exact((digest, inc) for digest, inc, _ in objects))
    before = _find(connection, table, list(names))
    new = [
        {"digest": digest, **_values(inc, sizes.get(digest, UNKNOWN), key(digest, inc))}
        for digest, inc in names.items()
        if digest not in before
    ]
    if new:
        connection.execute(sa.insert(table), new)
    known = {digest: sizes.get(digest, row.size or UNKNOWN) for digest, row in before.items()}
    changed = [
        {"row": row.id, **_values(names[digest], known[digest], key(digest, names[digest]))}
        for digest, row in before.items()
        if (row.inc, row.state, row.size) != (names[digest], "live", known[digest])
    ]
    if changed:
        connection.execute(sa.update(table).where(table.c.id == sa.bindparam("row")), changed)
    fresh = _find(connection, table, [digest for digest in names if digest not in before])
    return {digest: row.id for digest, row in (before | fresh).items()}


def _values(inc: str, size: int, key: str) -> dict[str, Any]:
    absent = dict.fromkeys(("codec", "base", "condemned_at", "owner", "checked_at"))
    return {"inc": inc, "size": size, "stored_size": size, "key": key, "start": 0, "state": "live", **absent}
