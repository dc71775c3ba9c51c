"""Links: what a version came from, bound to the parent's row once that is here"""

import json
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import rfc8785
import sqlalchemy as sa
from sqlalchemy import Connection

from artifactstore.catalog.base import LinkInfo
from artifactstore.catalog.batches import select_in
from artifactstore.catalog.tables import link, version
from artifactstore.core.digest import Digest
from artifactstore.core.manifest import Manifest


def bind_links(connection: Connection, row: int, document: Manifest) -> None:
    """Write the links of a new version, and bind those of others that waited for it"""
    wanted = [parent.id for parent in document.parents if parent.id is not None]
    query = sa.select(version.c.digest, version.c.id)
    parents = {found.digest: found.id for found in select_in(connection, query, version.c.digest, wanted)}
    rows = [
        {
            "child_id": row,
            "position": position,
            "relation": str(parent.relation),
            "ref": parent.ref,
            "parent_id": None if parent.id is None else parents.get(parent.id),
            "parent_digest": parent.id,
            "weight": parent.weight,
            "params": rfc8785.dumps(dict(parent.params)).decode(),
            "declared": True,
        }
        for position, parent in enumerate(document.parents)
    ]
    if rows:
        connection.execute(sa.insert(link), rows)
    waiting = sa.update(link).where(link.c.parent_digest == document.id, link.c.parent_id.is_(None))
    connection.execute(waiting.values(parent_id=row))


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
            declared=row.declared,
        )
        for row in rows
    ]
