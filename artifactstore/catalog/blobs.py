"""Rows of blobs and manifests: where each lies, what is damaged, what was checked when"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Table

from artifactstore.catalog.base import Place
from artifactstore.catalog.batches import CHUNK, chunks, select_in
from artifactstore.catalog.journal import Action, record
from artifactstore.catalog.objects import PRESENT, is_apart, place_query, to_place
from artifactstore.catalog.sql import Database
from artifactstore.catalog.tables import blob, manifest, version, version_blob
from artifactstore.catalog.version_write import memory
from artifactstore.core.digest import Digest

_HELD = (*PRESENT, "damaged")


class BlobRows:
    """Places of blobs, and of manifests where a method says so"""

    def __init__(self, database: Database) -> None:
        self._database = database

    def places(self, digests: Sequence[Digest]) -> dict[Digest, Place]:
        """The place of each digest that has a row, whatever its state"""

        def work(connection: Connection) -> dict[Digest, Place]:
            rows = select_in(connection, place_query(blob), blob.c.digest, digests)
            return {place.digest: place for place in map(to_place, rows)}

        return self._database.read(work)

    def all(self, *, versions: Sequence[Digest] | None = None, batch: int = 1000) -> Iterator[Place]:
        """Blobs that are live, condemned or damaged, all or those of some versions; each `batch` is one snapshot"""
        if versions is None:
            return self._scan(blob, batch)
        return self._picked(self._keys(versions), batch)

    def manifests(self, *, versions: Sequence[Digest] | None = None, batch: int = 1000) -> Iterator[Place]:
        """The same of manifests"""
        if versions is None:
            return self._scan(manifest, batch)
        query = place_query(manifest).where(manifest.c.state.in_(_HELD))
        rows = self._database.read(lambda connection: list(select_in(connection, query, manifest.c.digest, versions)))
        return iter([to_place(row) for row in rows])

    def totals(self) -> tuple[int, int]:
        """How many blobs are live, and their bytes at rest"""
        count, nbytes = sa.func.count().label("blobs"), sa.func.coalesce(sa.func.sum(blob.c.stored_size), 0)
        (found,) = self._database.rows(sa.select(count, nbytes.label("nbytes")).where(blob.c.state == "live"))
        return found.blobs, int(found.nbytes)

    def damage(self, places: Sequence[Place]) -> int:
        """Quarantine (R8): these exact incarnations count as absent from now on; the journal's serial"""
        return self._damage(blob, "blobs", places)

    def damage_manifests(self, places: Sequence[Place]) -> int:
        """The same of manifests"""
        return self._damage(manifest, "manifests", places)

    def damaged(self) -> list[Place]:
        """Blobs in quarantine"""
        return self._in_quarantine(blob)

    def damaged_manifests(self) -> list[Place]:
        """Manifests in quarantine"""
        return self._in_quarantine(manifest)

    def checked(self, digests: Sequence[Digest], at: int) -> None:
        """These blobs were read and found sound at a moment, microseconds since 1970 UTC"""

        def work(connection: Connection) -> None:
            for chunk in chunks(digests):
                connection.execute(sa.update(blob).where(blob.c.digest.in_(chunk)).values(checked_at=at))

        self._database.write(work)

    def _scan(self, table: Table, batch: int) -> Iterator[Place]:
        query = place_query(table).where(table.c.state.in_(_HELD)).order_by(table.c.id).limit(batch)
        last = 0
        while True:
            rows = self._database.rows(query.where(table.c.id > last))
            yield from map(to_place, rows)
            if len(rows) < batch:
                return
            last = rows[-1].id

    def _keys(self, versions: Sequence[Digest]) -> list[int]:
        query = sa.select(version_blob.c.blob_id).distinct().join_from(version_blob, version)

        def work(connection: Connection) -> set[int]:
            return {row.blob_id for row in select_in(connection, query, version.c.digest, versions)}

        return sorted(self._database.read(work))

    def _picked(self, keys: Sequence[int], batch: int) -> Iterator[Place]:
        query = place_query(blob).where(blob.c.state.in_(_HELD)).order_by(blob.c.id)
        step = min(batch, CHUNK)
        for start in range(0, len(keys), step):
            yield from map(to_place, self._database.rows(query.where(blob.c.id.in_(keys[start : start + step]))))

    def _damage(self, table: Table, what: str, places: Iterable[Place]) -> int:
        def work(connection: Connection, _at: int) -> tuple[None, list[Action]]:
            hit = [[str(place.digest), place.inc] for place in places if _set_damaged(connection, table, place)]
            action: dict[str, Any] = {"do": "damaged", what: hit}
            if table is manifest and hit:
                action["memories"] = _memories(connection, [digest for digest, _ in hit])
            return None, [action] if hit else []

        # beside no saver: one might just be adopting what this finds bad
        return record(self._database, work, exclusive=True)[1]

    def _in_quarantine(self, table: Table) -> list[Place]:
        query = place_query(table).where(is_apart(table, "damaged")).order_by(table.c.id)
        return [to_place(row) for row in self._database.rows(query)]


def _memories(connection: Connection, versions: Sequence[str]) -> list[Action]:
    """Of versions that nobody can read any more; of one without files nothing is known to begin with"""
    query = sa.select(version).where(version.c.swept_at.is_(None), version.c.file_count > 0)
    ids = [bytes.fromhex(one) for one in versions]
    return [memory(connection, row) for row in select_in(connection, query, version.c.digest, ids)]


def _set_damaged(connection: Connection, table: Table, place: Place) -> bool:
    exactly = (table.c.digest == place.digest, table.c.inc == place.inc, table.c.state.in_(PRESENT))
    change = sa.update(table).where(*exactly).values(state="damaged", condemned_at=None)
    return connection.execute(change).rowcount == 1
