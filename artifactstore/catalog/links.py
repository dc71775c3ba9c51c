"""Links: what a version came from, bound to the parent's row once that is here"""

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import rfc8785
import sqlalchemy as sa
from sqlalchemy import Connection

from artifactstore.catalog.base import LinkInfo
from artifactstore.catalog.batches import chunks, select_in
from artifactstore.catalog.journal import Action
from artifactstore.catalog.tables import artifact, blob, file, link, version, version_blob
from artifactstore.core.digest import Digest
from artifactstore.core.errors import Refused
from artifactstore.core.lineage import Link, Relation
from artifactstore.core.manifest import Manifest
from artifactstore.core.verdict import NEEDED

_ACTIVE = version.c.state == "active"


def insert_links(connection: Connection, row: int, child: Digest, parents: Sequence[Link]) -> None:
    """Write the links of a new version, bind those that name a version here by its id, and others' that name this"""
    wanted = [parent.id for parent in parents if parent.id is not None]
    query = sa.select(version.c.digest, version.c.id)
    here = {found.digest: found.id for found in select_in(connection, query, version.c.digest, wanted)}
    rows = [
        {
            "child_id": row,
            "position": position,
            "relation": str(parent.relation),
            "ref": parent.ref,
            "parent_id": here.get(parent.id) if parent.id is not None else None,
            "parent_digest": parent.id,
            "weight": parent.weight,
            "params": rfc8785.dumps(dict(parent.params)).decode(),
            "name": parent.name,
            "sha256": parent.sha256,
            "evidence": "hash" if parent.id in here else None,
        }
        for position, parent in enumerate(parents)
    ]
    if rows:
        connection.execute(sa.insert(link), rows)
    waiting = sa.update(link).where(link.c.parent_digest == child, link.c.parent_id.is_(None))
    connection.execute(waiting.values(parent_id=row, evidence="hash"))


def match_links(connection: Connection, row: int, document: Manifest) -> list[Action]:
    """Bind what names content or an artifact only, look for shared tensors; what was found, for the journal"""
    _bind_own(connection, row)
    _bind_waiting(connection, row, document)
    tensors = _tensor_blobs(connection, document)
    mine = sa.or_(link.c.child_id == row, link.c.parent_id == row)
    bound = sa.select(link).where(mine, link.c.parent_id.is_not(None)).order_by(link.c.child_id, link.c.position)
    found = connection.execute(bound).all()
    others = {one.parent_id if one.child_id == row else one.child_id for one in found}
    sharing = _sharing(connection, others, tensors)
    for one in found:
        if (one.parent_id if one.child_id == row else one.child_id) in sharing:
            _set(connection, one.child_id, one.position, evidence="tensors")
    return _changed(connection, mine)


def check_needs(connection: Connection, rows: Sequence[int]) -> None:
    """Raise Refused when one of these versions needs one that is retired and may yet be swept"""
    needed = sa.select(artifact.c.name, version.c.number, version.c.retired_by)
    needed = needed.join_from(link, version, version.c.id == link.c.parent_id).join(artifact)
    waits = (version.c.state == "retired", version.c.swept_at.is_(None), link.c.relation.in_(sorted(NEEDED)))
    for row in select_in(connection, needed.where(*waits), link.c.child_id, rows):
        parent = f"{row.name}:{row.number}"
        raise Refused(
            f"It needs {parent}, which is retired; bring that back first: artstore undo {row.retired_by}",
            code="parent",
            parent=parent,
        )


def apply_link(connection: Connection, action: Mapping[str, Any]) -> None:
    """Bind a link as a journal record says"""
    child, parent = (_row(connection, Digest.parse(action[name])) for name in ("child", "parent"))
    digest = Digest.parse(action["parent"])
    _set(
        connection,
        child,
        action["position"],
        parent_id=parent,
        parent_digest=digest,
        evidence=action["evidence"],
    )


def _row(connection: Connection, digest: Digest) -> int:
    row: int = connection.execute(sa.select(version.c.id).where(version.c.digest == digest)).scalar_one()
    return row


def _set(connection: Connection, child: int, position: int, **values: object) -> None:
    here = sa.update(link).where(link.c.child_id == child, link.c.position == position)
    connection.execute(here.values(**values))


def _bind_own(connection: Connection, row: int) -> None:
    unbound = sa.select(link).where(link.c.child_id == row, link.c.parent_id.is_(None))
    for one in connection.execute(unbound).all():
        newest = sa.select(version.c.id, version.c.digest).where(_ACTIVE, version.c.id != row)
        newest = newest.order_by(version.c.id.desc()).limit(1)
        if one.sha256 is not None:
            holds = sa.select(file.c.version_id).where(file.c.sha256 == one.sha256)
            found = connection.execute(newest.where(version.c.id.in_(holds))).first()
        elif one.name is not None:
            named = newest.join_from(version, artifact).where(artifact.c.name == one.name)
            found = connection.execute(named).first()
        else:
            found = None
        if found is not None:
            evidence = None if one.sha256 is None else "hash"
            _set(connection, row, one.position, parent_id=found.id, parent_digest=found.digest, evidence=evidence)


def _bind_waiting(connection: Connection, row: int, document: Manifest) -> None:
    mine = {"parent_id": row, "parent_digest": document.id}
    waits = (link.c.parent_id.is_(None), link.c.parent_digest.is_(None), link.c.child_id != row)
    for chunk in chunks([entry.sha256 for entry in document.files]):
        holds = sa.update(link).where(link.c.sha256.in_(chunk), *waits)
        connection.execute(holds.values(**mine, evidence="hash"))
    named = sa.update(link).where(link.c.name == document.artifact, link.c.sha256.is_(None), *waits)
    connection.execute(named.values(**mine))


def _tensor_blobs(connection: Connection, document: Manifest) -> list[int]:
    """Rows of the blobs that hold bytes of tensors: headers and small files that are equal prove nothing"""
    digests: dict[Digest, None] = {}
    for entry in document.files:
        begin = min((tensor.begin for tensor in entry.tensors), default=entry.size)
        runs = document.runs(entry)
        digests |= dict.fromkeys(info.digest for offset, info, extent in runs if offset + extent.length > begin)
    return [found.id for found in select_in(connection, sa.select(blob.c.id), blob.c.digest, list(digests))]


def _sharing(connection: Connection, others: set[int], tensors: Sequence[int]) -> set[int]:
    query = sa.select(version_blob.c.version_id).distinct().where(version_blob.c.version_id.in_(others))
    found = select_in(connection, query, version_blob.c.blob_id, tensors) if others else ()
    return {row.version_id for row in found}


def _changed(connection: Connection, mine: sa.ColumnElement[bool]) -> list[Action]:
    above, below = version.alias("above"), version.alias("below")
    query = (
        sa.select(link.c.position, link.c.evidence, below.c.digest.label("child"), above.c.digest.label("parent"))
        .join_from(link, below, below.c.id == link.c.child_id)
        .join(above, above.c.id == link.c.parent_id)
        .where(mine)
        .order_by(link.c.child_id, link.c.position)
    )
    return [
        {
            "do": "link",
            "child": str(Digest(one.child)),
            "position": one.position,
            "parent": str(Digest(one.parent)),
            "evidence": one.evidence,
        }
        for one in connection.execute(query)
    ]


def link_documents(connection: Connection, row: int) -> list[dict[str, Any]]:
    """The links of a version as its manifest says them"""
    found = connection.execute(sa.select(link).where(link.c.child_id == row).order_by(link.c.position))
    return [
        Link(
            relation=Relation(one.relation),
            ref=one.ref,
            # one that names an artifact only was bound later, which other records say
            id=None if one.parent_digest is None or one.name is not None else Digest(one.parent_digest),
            weight=one.weight,
            params=json.loads(one.params),
        ).to_json()
        for one in found
    ]


def select_links(connection: Connection, *, child: int | None = None, parent: int | None = None) -> list[LinkInfo]:
    """The links of a child in their order, or those that point at a parent, oldest child first"""
    here = link.c.child_id == child if parent is None else link.c.parent_id == parent
    above, below = version.alias("above"), version.alias("below")
    query = (
        sa.select(link, below.c.digest.label("child"), above.c.digest.label("parent"))
        .join_from(link, below, below.c.id == link.c.child_id)
        .outerjoin(above, above.c.id == link.c.parent_id)
        .where(here)
        .order_by(link.c.child_id, link.c.position)
    )
    return _infos(connection.execute(query).all())


def _infos(rows: Sequence[sa.Row[Any]]) -> list[LinkInfo]:
    return [
        LinkInfo(
            child=Digest(row.child),
            position=row.position,
            relation=row.relation,
            ref=row.ref,
            parent=None if row.parent is None else Digest(row.parent),
            weight=row.weight,
            params=MappingProxyType(json.loads(row.params)),
            evidence=row.evidence,
        )
        for row in rows
    ]
