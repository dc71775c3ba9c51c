"""Usage: bytes that groups of versions ask for, hold, and share with others"""

from collections.abc import Mapping, Sequence
from typing import Literal

import sqlalchemy as sa
from sqlalchemy import Connection

from artifactstore.catalog.base import UsageRow
from artifactstore.catalog.batches import pairs, select_in
from artifactstore.catalog.sql import Database
from artifactstore.catalog.tables import artifact, blob, version, version_blob
from artifactstore.core.digest import Digest

Group = Literal["artifact", "phase"]
_GROUPS: dict[str, sa.ColumnElement[str]] = {
    "artifact": artifact.c.name,
    "phase": sa.func.coalesce(version.c.phase, "-"),
}
_ACTIVE = version.c.state == "active"
_STAYS = 1 << 53


class Usage:
    """Counted from rows; a blob counts once in each group that uses it"""

    def __init__(self, database: Database) -> None:
        self._database = database

    def by(self, group: Group) -> list[UsageRow]:
        """One row per artifact or phase (`-` for none), the largest first"""
        key = _GROUPS[group].label("key")
        versions = (
            sa.select(key, sa.func.count().label("versions"), sa.func.sum(version.c.nbytes).label("logical"))
            .join_from(version, artifact)
            .where(_ACTIVE)
            .group_by(key)
        )
        held = _held(key)

        def work(connection: Connection) -> list[UsageRow]:
            bytes_of = {row.key: (int(row.stored), int(row.alone)) for row in connection.execute(held)}
            return [
                UsageRow(row.key, row.versions, int(row.logical), *bytes_of.get(row.key, (0, 0)))
                for row in connection.execute(versions)
            ]

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
        other = version_blob.alias("other")
        shared = sa.exists().where(
            other.c.blob_id == version_blob.c.blob_id, other.c.version_id != version_blob.c.version_id
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


def _held(key: sa.Label[str]) -> sa.Select[tuple[str, int, int]]:
    uses = (
        sa.select(key, version_blob.c.blob_id)
        .distinct()
        .join_from(version, artifact)
        .join(version_blob, version_blob.c.version_id == version.c.id)
        .where(_ACTIVE)
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
