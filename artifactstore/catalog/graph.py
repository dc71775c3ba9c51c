"""Lineage: all ancestors and descendants of a version, each direction in one recursive statement"""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import CTE, Connection

from artifactstore.catalog.batches import keys
from artifactstore.catalog.tables import Key, artifact, link, version
from artifactstore.catalog.version_rows import aliases_of, known_row, words
from artifactstore.core.digest import Digest
from artifactstore.core.graph import Edge, Graph, Node, State, check_depth
from artifactstore.core.graph import Key as NodeKey

# up to here SQL counts the levels; with more, the rows of each version at each of them would be too many
_LEVELS = 32
_LINK = (
    *(link.c.child_id, link.c.parent_id, link.c.ref, link.c.relation),
    *(link.c.weight, link.c.position, link.c.evidence),
)
_NODE = (
    *(version.c.id, version.c.digest, artifact.c.name, version.c.number, version.c.state, version.c.swept_at),
    *(version.c.created, version.c.phase, version.c.step, version.c.license, version.c.nbytes, version.c.dtypes),
)
# in the order of _LINK
_Links = Sequence[Sequence[Any]]


def select_graph(
    connection: Connection, version_id: Digest, *, up: bool, down: bool, depth: int | None = None
) -> Graph:
    """A version in any state with its ancestors and descendants, those at most `depth` links away; raise NotFound

    Links by a name that was bound later may form a ring, in which both directions meet.
    """
    if depth is not None:
        check_depth(depth)
    root = known_row(connection, version_id)
    above = _links(connection, root, upwards=True, depth=depth) if up else ()
    below = _links(connection, root, upwards=False, depth=depth) if down else ()
    found = {root, *[row[1] for row in above if row[1] is not None], *[row[0] for row in below]}
    ids, nodes = _nodes(connection, sorted(found))
    nodes |= {ref: Node(ref) for _, parent, ref, *_ in above if parent is None}
    graph = Graph(version_id, nodes, _edges(above, ids), _edges(below, ids))
    return graph if depth is None or depth <= _LEVELS else graph.within(depth)


def _links(connection: Connection, root: int, *, upwards: bool, depth: int | None) -> _Links:
    """Each link that is reached, in the order they were committed"""
    here, there = (link.c.child_id, link.c.parent_id) if upwards else (link.c.parent_id, link.c.child_id)
    reached = _closure(root, here, there) if depth is None or depth > _LEVELS else _levels(root, here, there, depth)
    query = sa.select(*_LINK).join_from(reached, link, here == reached.c.id)
    return connection.execute(query.order_by(link.c.child_id, link.c.position)).all()


def _closure(root: int, here: sa.ColumnElement[int], there: sa.ColumnElement[int]) -> CTE:
    """The root and all that links lead to from it; UNION drops what was reached before, so that a ring ends"""
    reached = sa.select(sa.literal(root, Key).label("id")).cte("reached", recursive=True)
    step = sa.select(there).join_from(reached, link, here == reached.c.id)
    return reached.union(step.where(there.is_not(None)))


def _levels(root: int, here: sa.ColumnElement[int], there: sa.ColumnElement[int], depth: int) -> CTE:
    """The root and what fewer than `depth` links lead to"""
    start = sa.select(sa.literal(root, Key).label("id"), sa.literal(1).label("level"))
    levels = start.cte("levels", recursive=True)
    step = sa.select(there, levels.c.level + 1).join_from(levels, link, here == levels.c.id)
    levels = levels.union(step.where(there.is_not(None), levels.c.level < depth))
    return sa.select(levels.c.id).distinct().cte("reached")


def _nodes(connection: Connection, rows: Sequence[int]) -> tuple[dict[int, Digest], dict[NodeKey, Node]]:
    """The ids of the rows, and the nodes"""
    wanted = keys(connection, rows)
    query = (
        sa.select(*_NODE)
        .join_from(wanted, version, version.c.id == wanted.c.key)
        .join(artifact, artifact.c.id == version.c.artifact_id)
    )
    found = connection.execute(query.order_by(version.c.id)).all()
    aliases = aliases_of(connection, rows)
    ids = {columns[0]: Digest(columns[1]) for columns in found}
    return ids, {ids[columns[0]]: _node(columns, ids, aliases) for columns in found}


def _node(columns: Sequence[Any], ids: Mapping[int, Digest], aliases: Mapping[int, Sequence[str]]) -> Node:
    row, _, name, number, active, swept, created, phase, step, license_, nbytes, dtypes = columns
    state: State = "active" if active == "active" else "retired" if swept is None else "swept"
    own = tuple(aliases[row]) if row in aliases else ()
    facts = (name, number, created, phase, step, license_, nbytes, words(dtypes), own)
    return Node(f"{name}:{number}", ids[row], state, *facts)


def _edges(links: _Links, ids: Mapping[int, Digest]) -> tuple[Edge, ...]:
    return tuple(
        [
            Edge(ids[child], ids.get(parent), ref, relation, weight, position, evidence)
            for child, parent, ref, relation, weight, position, evidence in links
        ]
    )
