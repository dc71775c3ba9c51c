"""Versions: found by what a person typed, listed, searched, and what each holds"""

import fnmatch
import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy import Connection

from artifactstore.catalog.base import LinkInfo, Place, StoredFile, TensorSummary, VersionInfo
from artifactstore.catalog.batches import CHUNK, select_in, upsert
from artifactstore.catalog.graph import select_graph
from artifactstore.catalog.links import select_links
from artifactstore.catalog.objects import place_query, to_place
from artifactstore.catalog.resolve import resolve, resolve_known
from artifactstore.catalog.search import matches
from artifactstore.catalog.sql import Database
from artifactstore.catalog.tables import artifact, blob, file, load, manifest, tensor_summary, version, version_blob
from artifactstore.catalog.version_rows import (
    active_row,
    known_row,
    select_infos,
    to_infos,
    version_info,
    version_query,
)
from artifactstore.core.digest import Digest, Sha256
from artifactstore.core.errors import Invalid, NotFound
from artifactstore.core.graph import Graph
from artifactstore.core.names import Reference, SafePath

# the method `list` would hide the type inside the class
VersionInfos = list[VersionInfo]
LinkInfos = list[LinkInfo]
StoredFiles = list[StoredFile]
TensorSummaries = list[TensorSummary]
_SORTS: dict[str, sa.ColumnElement[object]] = {
    "created": version.c.created,
    "taken": version.c.taken,
    "loaded": load.c.last_load,
    "name": artifact.c.name,
    "number": version.c.number,
    "size": version.c.nbytes,
    "files": version.c.file_count,
    "tensors": version.c.tensor_count,
    "step": version.c.step,
    "epoch": version.c.epoch,
}


class Versions:
    """Active versions. One that was retired is found by `known` only, and told of by id as far as rows still say"""

    def __init__(self, database: Database) -> None:
        self._database = database

    def resolve(self, ref: Reference) -> VersionInfo:
        """The one version a reference means

        Raise NotFound with close names, or with how to bring back what was retired; Invalid when it means several.
        """
        return self._database.read(lambda connection: resolve(connection, ref, self._database.now))

    def known(self, ref: Reference) -> VersionInfo:
        """As `resolve`, and what was retired is found too by its number, id or request id"""
        return self._database.read(lambda connection: resolve_known(connection, ref))

    def get(self, version_id: Digest) -> VersionInfo:
        """By its id; raise NotFound"""
        return self._database.read(lambda connection: version_info(connection, active_row(connection, version_id)))

    def by_request(self, request_id: str, artifact_glob: str | None = None) -> VersionInfo | None:
        """The newest version that carries a request id, of artifacts a pattern allows"""
        found = self._database.read(lambda connection: select_infos(connection, version.c.request_id == request_id))
        return next((one for one in found if fnmatch.fnmatchcase(one.artifact, artifact_glob or "*")), None)

    def search(self, text: str) -> VersionInfos:
        """Versions whose name, phase, request id, license, paths, metadata, aliases or digests hold the text"""
        condition = matches(text)
        return self._database.read(lambda connection: select_infos(connection, condition))

    def files(self, version_id: Digest) -> StoredFiles:
        """In their order"""
        columns = (file.c.path, file.c.size, file.c.sha256, file.c.format)
        query = sa.select(*columns).order_by(file.c.position)

        def work(connection: Connection) -> StoredFiles:
            rows = connection.execute(query.where(file.c.version_id == known_row(connection, version_id)))
            return [StoredFile(SafePath(row.path), row.size, Sha256(row.sha256), row.format) for row in rows]

        return self._database.read(work)

    def metadata(self, version_id: Digest) -> dict[str, Any]:
        """What the giver said about it, beyond labels"""
        query = sa.select(version.c.metadata)

        def work(connection: Connection) -> str:
            row = known_row(connection, version_id)
            text: str = connection.execute(query.where(version.c.id == row)).scalar_one()
            return text

        return cast("dict[str, Any]", json.loads(self._database.read(work)))

    def tensors(self, version_id: Digest) -> TensorSummaries:
        """Tensors by dtype, the most bytes first"""
        columns = (tensor_summary.c.dtype, tensor_summary.c.count, tensor_summary.c.nbytes)
        query = sa.select(*columns).order_by(tensor_summary.c.nbytes.desc(), tensor_summary.c.dtype)

        def work(connection: Connection) -> TensorSummaries:
            rows = connection.execute(query.where(tensor_summary.c.version_id == known_row(connection, version_id)))
            return [TensorSummary(dtype, count, nbytes) for dtype, count, nbytes in rows]

        return self._database.read(work)

    def parents(self, version_id: Digest) -> LinkInfos:
        """The links of a version, in their order"""
        return self._database.read(lambda connection: select_links(connection, child=known_row(connection, version_id)))

    def children(self, version_id: Digest) -> LinkInfos:
        """The links that point at a version"""
        return self._database.read(
            lambda connection: select_links(connection, parent=known_row(connection, version_id))
        )

    def graph(self, version_id: Digest, *, up: bool = True, down: bool = True, depth: int | None = None) -> Graph:
        """Its ancestors (`up`) and descendants (`down`) in any state, those at most `depth` links away

        Raise NotFound, Invalid for a depth below 1.
        """
        return self._database.read(
            lambda connection: select_graph(connection, version_id, up=up, down=down, depth=depth)
        )

    def refs(self, ids: Sequence[Digest]) -> dict[Digest, str]:
        """References of versions in any state; an id that was never one is left out"""
        query = sa.select(version.c.digest, artifact.c.name, version.c.number)
        query = query.join_from(version, artifact, artifact.c.id == version.c.artifact_id)

        def work(connection: Connection) -> dict[Digest, str]:
            rows = select_in(connection, query, version.c.digest, ids)
            return {Digest(row.digest): f"{row.name}:{row.number}" for row in rows}

        return self._database.read(work)

    def active(self, ids: Sequence[Digest] | None = None) -> frozenset[Digest]:
        """Which of the ids, or of all there are, are those of active versions"""
        query = sa.select(version.c.digest).where(version.c.state == "active")

        def work(connection: Connection) -> frozenset[Digest]:
            rows = connection.execute(query) if ids is None else select_in(connection, query, version.c.digest, ids)
            return frozenset(Digest(row.digest) for row in rows)

        return self._database.read(work)

    def holding(self, sha256: Sha256) -> VersionInfos:
        """Versions with a file of this content"""
        has = version.c.id.in_(sa.select(file.c.version_id).where(file.c.sha256 == sha256))
        return self._database.read(lambda connection: select_infos(connection, has))

    def with_blobs(self, digests: Sequence[Digest]) -> dict[Digest, list[str]]:
        """References of the versions that need each blob; a blob nobody needs is left out"""
        query = sa.select(blob.c.digest, artifact.c.name, version.c.number).where(version.c.state == "active")
        query = (
            query.join_from(blob, version_blob)
            .join(version, version.c.id == version_blob.c.version_id)
            .join(artifact, artifact.c.id == version.c.artifact_id)
            .order_by(artifact.c.name, version.c.number)
        )

        def work(connection: Connection) -> dict[Digest, list[str]]:
            refs: dict[Digest, list[str]] = defaultdict(list)
            for row in select_in(connection, query, blob.c.digest, digests):
                refs[Digest(row.digest)].append(f"{row.name}:{row.number}")
            return dict(refs)

        return self._database.read(work)

    def ids_with_blob(self, digest: Digest) -> list[Digest]:
        """Ids of the versions that need a blob, the oldest first"""
        query = sa.select(version.c.digest).where(version.c.state == "active", blob.c.digest == digest)
        query = query.join_from(version, version_blob).join(blob, blob.c.id == version_blob.c.blob_id)
        rows = self._database.rows(query.order_by(version.c.id))
        return [Digest(row.digest) for row in rows]

    def manifest_place(self, version_id: Digest) -> Place:
        """Where a version's manifest lies; raise NotFound"""
        query = place_query(manifest).where(manifest.c.digest == version_id)
        row = self._database.read(lambda connection: connection.execute(query).first())
        if row is None:
            raise NotFound(f"No version {version_id}", code="version", version=str(version_id))
        return to_place(row)

    def loaded(self, version_id: Digest, at: int) -> None:
        """It was loaded at a moment, microseconds since 1970 UTC"""
        self._database.write(
            lambda connection: upsert(
                connection, load, [{"version_id": active_row(connection, version_id), "last_load": at}]
            )
        )

    def matching(self, where: str, now: int | None = None) -> frozenset[Digest]:
        """Ids for which a filter holds at a moment, microseconds since 1970 UTC, by default now; raise Invalid"""
        from artifactstore.catalog.filter import matching  # noqa: PLC0415  # as below
        from artifactstore.core.filter import parse  # noqa: PLC0415

        expression = parse(where)

        def work(connection: Connection) -> frozenset[Digest]:
            at = self._database.now(connection) if now is None else now
            return frozenset(matching(connection, expression, at).values())

        return self._database.read(work)

    def list(
        self,
        *,
        glob: str | None = None,
        where: Sequence[str] = (),
        sort: str = "created:desc",
        limit: int | None = None,
    ) -> VersionInfos:
        """Versions of artifacts that match a pattern and for which all filters hold; raise Invalid for an unknown order

        where: as `core/filter` reads it; raise Invalid for what it does not.
        sort: created taken loaded name number size files tensors step epoch, `:asc` (as without) or `:desc`; what has
        no such value comes last.
        """
        query = version_query().order_by(*_order(sort))
        narrowed = _narrowed(where) if where else None
        if limit is not None and limit < 0:
            raise Invalid(f"A limit of {limit} versions makes no sense; give 1 or more", code="limit")

        def work(connection: Connection) -> VersionInfos:
            found = query.where(narrowed(self._database.now(connection))) if narrowed else query
            if glob is None:
                return to_infos(connection, connection.execute(found.limit(limit)).all())
            names = connection.execute(sa.select(artifact.c.id, artifact.c.name)).all()
            keys = {key for key, name in names if fnmatch.fnmatchcase(name, glob)}
            if len(keys) <= CHUNK:
                some = found.where(version.c.artifact_id.in_(keys)).limit(limit)
                return to_infos(connection, connection.execute(some).all())
            rows = [row for row in connection.execute(found) if fnmatch.fnmatchcase(row.name, glob)]
            return to_infos(connection, rows[:limit])

        return self._database.read(work)


def _narrowed(where: Sequence[str]) -> Callable[[int], sa.ColumnElement[bool]]:
    # ten milliseconds that only filters need
    from artifactstore.catalog.filter import all_hold  # noqa: PLC0415
    from artifactstore.core.filter import parse  # noqa: PLC0415

    expressions = [parse(one) for one in where]
    return lambda now: all_hold(expressions, now)


def _order(sort: str) -> tuple[sa.ColumnElement[object], ...]:
    key, _, direction = sort.partition(":")
    if key not in _SORTS or direction not in {"", "asc", "desc"}:
        raise Invalid(f"Cannot sort by {sort[:40]!r}; use one of {', '.join(_SORTS)}, with :asc or :desc", code="sort")
    column = _SORTS[key]
    # the commit's order settles ties
    if direction == "desc":
        return column.desc().nulls_last(), version.c.id.desc()
    return column.asc().nulls_last(), version.c.id.asc()
