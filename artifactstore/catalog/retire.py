"""Retirement: versions that go, checked once more as they go, and brought back while their bytes are here"""

import json
from collections.abc import Mapping, Sequence

import sqlalchemy as sa
from sqlalchemy import Connection

from artifactstore.catalog.base import Restored, Retired, Survey
from artifactstore.catalog.batches import chunks, select_in
from artifactstore.catalog.journal import Action, record
from artifactstore.catalog.links import check_needs
from artifactstore.catalog.objects import PRESENT, revive
from artifactstore.catalog.sql import Database
from artifactstore.catalog.tables import (
    alias,
    artifact,
    blob,
    copy,
    journal,
    lease,
    lease_hold,
    link,
    manifest,
    version,
    version_pin,
)
from artifactstore.catalog.version_rows import select_infos
from artifactstore.catalog.version_write import hold
from artifactstore.core.digest import Digest
from artifactstore.core.errors import NotFound, Refused
from artifactstore.core.lineage import Relation
from artifactstore.core.policy import Candidate
from artifactstore.core.reasons import Ground, Reason
from artifactstore.core.verdict import LAST, NEEDED, Need, needed_by

_ACTIVE = version.c.state == "active"
_NAMED = 3
Held = dict[Digest, tuple[Reason, ...]]


class Retirements:
    """What a policy retires stays in the catalog; a collection takes its bytes once the grace is over"""

    def __init__(self, database: Database) -> None:
        self._database = database

    def survey(self, artifact_name: str | None = None) -> Survey:
        """What policies decide on: every active version, or those of one artifact, in one snapshot"""

        def work(connection: Connection) -> Survey:
            where = [] if artifact_name is None else [artifact.c.name == artifact_name]
            found = select_infos(connection, *where)
            copies = _copies(connection)
            candidates = tuple(
                Candidate(
                    id=one.id,
                    ref=one.ref,
                    artifact=str(one.artifact),
                    number=one.number,
                    created=one.created,
                    last_load=one.last_load,
                    taken=one.taken,
                    phase=one.phase,
                    step=one.step,
                    metrics=one.metrics,
                    aliases=tuple(map(str, one.aliases)),
                    nbytes=one.nbytes,
                    resumable=one.step is not None,
                    copies=tuple(copies.get(one.id, ())),
                )
                for one in found
            )
            now = self._database.now(connection)
            return Survey(candidates, tuple(_needs(connection)), _held(connection, now), now)

        return self._database.read(work)

    def retire(self, versions: Mapping[Digest, str]) -> Retired:
        """Retire versions, each for its reason, in one transaction; what must stay by now stays and is told

        It must stay when it is aliased, pinned, held by a lease, needed by a version that stays, or the last of its
        artifact. One that is gone or retired already is left out.
        """

        def work(connection: Connection, at: int) -> tuple[tuple[list[Digest], Held], list[Action]]:
            rows = _rows(connection, list(versions))
            kept = _must_stay(connection, rows, at)
            going = {one: row for one, row in rows.items() if one not in kept}
            for one, row in going.items():
                change = sa.update(version).where(version.c.id == row)
                values = {"state": "retired", "retired_at": at, "retired_why": versions[one]}
                connection.execute(change.values(**values, retired_by=_next_serial))
            action = {"do": "retire", "versions": [[str(one), versions[one]] for one in going]}
            return (list(going), kept), [action] if going else []

        # beside no saver: one might just be committing what needs a version that goes
        (going, kept), serial = record(self._database, work, exclusive=True)
        return Retired(serial, tuple(going), kept)

    def undoable(self, serial: int) -> dict[Digest, bool]:
        """What the record with this serial retired and nobody brought back yet, and whether it was swept since

        Raise NotFound without that record.
        """
        query = sa.select(journal.c.body).where(journal.c.serial == serial)
        body = self._database.read(lambda connection: connection.execute(query).scalar())
        if body is None:
            raise NotFound(f"The journal has no record {serial}; see artstore log", code="record", serial=serial)
        ids = [
            Digest.parse(one)
            for action in json.loads(body)["actions"]
            if action["do"] == "retire"
            for one, _ in action["versions"]
        ]
        columns = sa.select(version.c.digest, version.c.swept_at)
        retired = columns.where(version.c.state == "retired", version.c.retired_by == serial)

        def work(connection: Connection) -> dict[Digest, bool]:
            found = select_in(connection, retired, version.c.digest, ids)
            return {Digest(row.digest): row.swept_at is not None for row in found}

        return self._database.read(work)

    def restore(self, serial: int, versions: Mapping[Digest, Sequence[Digest]]) -> Restored:
        """Undo: bring versions back with all their blobs

        Raise Refused, naming what is gone, unless all are here; also when what one is built on is retired and stays so.
        """

        def work(connection: Connection, _at: int) -> tuple[None, list[Action]]:
            retired = sa.select(version.c.id, version.c.digest).where(version.c.state == "retired")
            rows = {one.digest: one.id for one in select_in(connection, retired, version.c.digest, list(versions))}
            here = {one: blobs for one, blobs in versions.items() if one in rows}
            _revive(connection, manifest, list(here))
            wanted = list(dict.fromkeys(digest for blobs in here.values() for digest in blobs))
            keys = _revive(connection, blob, wanted)
            for one, blobs in here.items():
                hold(connection, rows[one], [keys[digest] for digest in blobs])
                values = {"state": "active"} | dict.fromkeys(("retired_at", "retired_by", "retired_why"))
                connection.execute(sa.update(version).where(version.c.id == rows[one]).values(values))
            check_needs(connection, [rows[one] for one in here])
            action = {"do": "undo", "serial": serial, "versions": [str(one) for one in here]}
            return None, [action] if here else []

        # beside no collector: one might just be deciding to delete what this brings back
        return Restored(record(self._database, work, exclusive=True)[1], tuple(versions))


_next_serial = sa.select(sa.text("head_serial + 1")).select_from(sa.text("store")).scalar_subquery()


def _rows(connection: Connection, versions: Sequence[Digest]) -> dict[Digest, int]:
    query = sa.select(version.c.id, version.c.digest).where(_ACTIVE)
    return {Digest(row.digest): row.id for row in select_in(connection, query, version.c.digest, versions)}


def _needs(connection: Connection) -> list[Need]:
    below, above = version.alias("below"), version.alias("above")
    query = (
        sa.select(below.c.digest, above.c.digest.label("parent"), link.c.relation, artifact.c.name, below.c.number)
        .join_from(link, below, below.c.id == link.c.child_id)
        .join(artifact, artifact.c.id == below.c.artifact_id)
        .join(above, above.c.id == link.c.parent_id)
        .where(link.c.relation.in_(sorted(NEEDED)), below.c.state == "active")
        .order_by(link.c.child_id, link.c.position)
    )
    return [
        Need(Digest(row.digest), Digest(row.parent), Relation(row.relation), f"{row.name}:{row.number}")
        for row in connection.execute(query)
    ]


def _copies(connection: Connection) -> dict[Digest, list[str]]:
    """Names of the remotes that were seen to hold each version"""
    copies: dict[Digest, list[str]] = {}
    for row in connection.execute(sa.select(version.c.digest, copy.c.remote).join_from(copy, version).where(_ACTIVE)):
        copies.setdefault(Digest(row.digest), []).append(row.remote)
    return {one: sorted(names) for one, names in copies.items()}


def _held(connection: Connection, now: int) -> Held:
    held: dict[Digest, list[Reason]] = {}
    until = sa.or_(version_pin.c.until.is_(None), version_pin.c.until > now)
    pins = sa.select(version.c.digest, version_pin.c.why).join_from(version_pin, version).where(until)
    for row in connection.execute(pins.order_by(version_pin.c.at, version_pin.c.why)):
        held.setdefault(Digest(row.digest), []).append(Reason(Ground.PIN, f"pinned: {row.why}"))
    users = (
        sa.select(version.c.digest, lease.c.kind, lease.c.pid, lease.c.host)
        .join_from(lease_hold, lease)
        .join(version, version.c.id == lease_hold.c.version_id)
        .where(lease.c.state == "active")
    )
    for use in connection.execute(users.order_by(lease.c.id)):
        held.setdefault(Digest(use.digest), []).append(
            Reason(Ground.USE, f"in use: {use.kind} (process {use.pid} on {use.host})")
        )
    return {one: tuple(dict.fromkeys(reasons)) for one, reasons in held.items()}


def _must_stay(connection: Connection, rows: Mapping[Digest, int], now: int) -> Held:
    """Those of `rows` that no longer may go, with the reasons"""
    kept = {one: reasons for one, reasons in _held(connection, now).items() if one in rows}
    names = sa.select(version.c.digest, alias.c.name).join_from(alias, version, version.c.id == alias.c.version_id)
    for row in select_in(connection, names, version.c.digest, list(rows)):
        one = Digest(row.digest)
        kept[one] = (*kept.get(one, ()), Reason(Ground.ALIAS, f"alias {row.name}"))
    needs = _needs(connection)
    others = {need.child for need in needs} - rows.keys()
    _add(kept, needed_by(others | kept.keys(), needs), rows)
    _add(kept, dict.fromkeys(_last(connection, rows, kept), (LAST,)), rows)
    _add(kept, needed_by(others | kept.keys(), needs), rows)
    return kept


def _add(kept: Held, reasons: Held, rows: Mapping[Digest, int]) -> None:
    for one in reasons.keys() & rows.keys():
        kept[one] = tuple(dict.fromkeys((*kept.get(one, ()), *reasons[one])))


def _last(connection: Connection, rows: Mapping[Digest, int], kept: Held) -> list[Digest]:
    """The newest of each artifact of which nothing would stay"""
    query = sa.select(version.c.artifact_id, version.c.digest).where(_ACTIVE)
    lines = sa.select(version.c.artifact_id).distinct()
    touched = {row.artifact_id for row in select_in(connection, lines, version.c.id, list(rows.values()))}
    going: dict[int, list[Digest]] = {}
    safe: set[int] = set()
    newest = query.order_by(version.c.created.desc(), version.c.number.desc())
    for chunk in chunks(sorted(touched)):
        for row in connection.execute(newest.where(version.c.artifact_id.in_(chunk))):
            one = Digest(row.digest)
            if one in rows and one not in kept:
                going.setdefault(row.artifact_id, []).append(one)
            else:
                safe.add(row.artifact_id)
    return [ids[0] for line, ids in going.items() if line not in safe]


def _revive(connection: Connection, table: sa.Table, digests: Sequence[Digest]) -> dict[Digest, int]:
    """Set live what is condemned; the rows by digest. Raise Refused unless all are live or condemned"""
    query = sa.select(table.c.id, table.c.digest, table.c.state)
    found = {Digest(row.digest): row for row in select_in(connection, query, table.c.digest, digests)}
    gone = [one for one in digests if one not in found or found[one].state not in PRESENT]
    if gone:
        names = ", ".join(one.hex()[:12] for one in gone[:_NAMED]) + (", …" if len(gone) > _NAMED else "")
        raise Refused(
            f"{len(gone)} of {len(digests)} {table.name}s are swept or damaged ({names}); what they were part of "
            "cannot come back from here, take it from a mirror or bundle",
            code="gone",
            gone=[str(one) for one in gone],
        )
    revive(connection, table, found.values())
    return {one: row.id for one, row in found.items()}
