"""Usage: bytes that groups of versions ask for, hold, and share with others"""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import sqlalchemy as sa
from sqlalchemy import Connection

from artifactstore.catalog.base import UsageRow
from artifactstore.catalog.batches import pairs, select_in
from artifactstore.catalog.sql import Database
from artifactstore.catalog.tables import artifact, blob, link, version, version_blob
from artifactstore.core.digest import Digest
from artifactstore.core.kinds import format_of, kind_of

Group = Literal["artifact", "phase", "kind", "format"]
GROUPS = get_args(Group)
_ACTIVE = version.c.state == "active"
_STAYS = 1 << 53


class Usage:
    """Counted from rows; a blob counts once in each group that uses it"""

    def __init__(self, database: Database) -> None:
        self._database = database

    def by(self, group: Group) -> list[UsageRow]:
        """One row per artifact, phase (`-` for none), kind of model or format, the largest first"""

        def work(connection: Connection) -> list[UsageRow]:
            keys = _keys(connection, group)
            names = sorted(set(keys.values()))
            numbers = {name: number for number, name in enumerate(names)}
            held = _held(connection, {row: numbers[name] for row, name in keys.items()})
            bytes_of = {names[row.key]: (int(row.stored), int(row.alone)) for row in connection.execute(held)}
            count: Counter[str] = Counter()
            logical: Counter[str] = Counter()
            for row in connection.execute(sa.select(version.c.id, version.c.nbytes).where(_ACTIVE)):
                count[keys[row.id]] += 1
                logical[keys[row.id]] += row.nbytes
            return [UsageRow(name, count[name], logical[name], *bytes_of.get(name, (0, 0))) for name in names]

        return sorted(self._database.read(work), key=lambda row: (-row.stored, row.key))

    def totals(self) -> UsageRow:
        """All versions as one group, named `total`"""
        versions = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(version.c.nbytes), 0)).where(_ACTIVE)
        used = sa.exists().where(
            version_blob.c.blob_id == blob.c.id, version_blob.c.version_id == version.c.id, _ACTIVE
        )
        stored = sa.select(sa.func.coalesce(sa.func.sum(blob.c.stored_size), 0)).where(used)

        def work(connection: Connection) -> UsageRow:
            count, logical = connection.execute(versions).one()
            nbytes = int(connection.execute(stored).scalar_one())
            return UsageRow("total", count, int(logical), nbytes, nbytes)

        return self._database.read(work)

    def unique(self, versions: Sequence[Digest]) -> dict[Digest, int]:
        """Bytes that only this one version uses: what its removal would free"""
        other, user = version_blob.alias("other"), version.alias("user")
        shared = sa.exists().where(
            other.c.blob_id == version_blob.c.blob_id,
            other.c.version_id != version_blob.c.version_id,
            user.c.id == other.c.version_id,
            user.c.state == "active",
        )
        query = (
            sa.select(version.c.digest, sa.func.sum(blob.c.stored_size).label("alone"))
            .join_from(version, version_blob)
            .join(blob, blob.c.id == version_blob.c.blob_id)
            .where(~shared)
            .group_by(version.c.digest)
        )

        def work(connection: Connection) -> dict[Digest, int]:
            found = {row.digest: int(row.alone) for row in select_in(connection, query, version.c.digest, versions)}
            return {one: found.get(one, 0) for one in versions}

        return self._database.read(work)

    def freed(self, versions: Sequence[Digest]) -> list[int]:
        """Bytes that go with each of these versions when they are removed one after another in this order

        Their sum is what removing all of them frees; what a version that stays needs counts nowhere.
        """

        def work(connection: Connection) -> list[int]:
            order = {digest: rank for rank, digest in enumerate(versions)}
            query = sa.select(version.c.id, version.c.digest, version.c.state)
            rows = connection.execute(query.where(version.c.swept_at.is_(None))).all()
            # a retired version that still holds blobs is gone already
            ranks = {row.id: -1 if row.state == "retired" else order.get(row.digest) for row in rows}
            picked = {row: rank for row, rank in ranks.items() if rank is not None}
            freed = [0] * len(versions)
            for row in connection.execute(_freed(connection, picked, few=3 * len(picked) < len(rows))):
                if row.rank >= 0:
                    freed[row.rank] = int(row.nbytes)
            return freed

        return self._database.read(work)


def _keys(connection: Connection, group: Group) -> dict[int, str]:
    """The group of each active version, by its row"""
    columns = (version.c.id, artifact.c.name, version.c.phase, version.c.step, version.c.formats, version.c.metadata)
    rows = connection.execute(sa.select(*columns).join_from(version, artifact).where(_ACTIVE)).all()
    match group:
        case "artifact":
            return {row.id: row.name for row in rows}
        case "phase":
            return {row.id: row.phase or "-" for row in rows}
        case "format":
            return {row.id: format_of(row.formats.split(",")) for row in rows}
    relations: dict[int, list[str]] = defaultdict(list)
    for child, relation in connection.execute(
        sa.select(link.c.child_id, link.c.relation).order_by(link.c.child_id, link.c.position)
    ):
        relations[child].append(relation)
    return {row.id: kind_of(json.loads(row.metadata), relations[row.id], is_step=row.step is not None) for row in rows}


def _held(connection: Connection, keys: Mapping[int, int]) -> sa.Select[tuple[int, int, int]]:
    group = pairs(connection, keys)
    uses = (
        sa.select(group.c.value.label("key"), version_blob.c.blob_id)
        .distinct()
        .join_from(group, version_blob, version_blob.c.version_id == group.c.key)
        .cte("uses")
    )
    groups = sa.select(uses.c.blob_id, sa.func.count().label("n")).group_by(uses.c.blob_id).cte("groups")
    alone = sa.case((groups.c.n == 1, blob.c.stored_size), else_=0)
    return (
        sa.select(uses.c.key, sa.func.sum(blob.c.stored_size).label("stored"), sa.func.sum(alone).label("alone"))
        .join_from(uses, groups, groups.c.blob_id == uses.c.blob_id)
        .join(blob, blob.c.id == uses.c.blob_id)
        .group_by(uses.c.key)
    )


def _freed(connection: Connection, picked: Mapping[int, int], *, few: bool) -> sa.Select[tuple[int, int]]:
    """(rank, bytes) of the blobs whose last user in the order of removal has this rank

    few: look at the blobs of the picked only, which is slower than looking at all when they are most.
    """
    gone = pairs(connection, picked)
    some = sa.select(version_blob.c.blob_id).where(version_blob.c.version_id.in_(sa.select(gone.c.key)))
    last = sa.func.max(sa.func.coalesce(gone.c.value, _STAYS))
    users = (
        sa.select(version_blob.c.blob_id, last.label("rank"))
        .select_from(version_blob.outerjoin(gone, gone.c.key == version_blob.c.version_id))
        .where(version_blob.c.blob_id.in_(some) if few else sa.true())
        .group_by(version_blob.c.blob_id)
        .having(last < _STAYS)
        .subquery()
    )
    total = sa.func.sum(blob.c.stored_size).label("nbytes")
    return sa.select(users.c.rank, total).join_from(users, blob, blob.c.id == users.c.blob_id).group_by(users.c.rank)
