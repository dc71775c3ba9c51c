"""Ordering: versions in which each comes after what it needs"""

from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter

from artifactstore.core.digest import Digest
from artifactstore.core.verdict import Need


def parents_first(ids: Iterable[Digest], needs: Iterable[Need]) -> list[Digest]:
    """The ids, each after those of them it needs, else in the order they come in

    Links by a name that was bound later may form a ring; then they stay as they come in.
    """
    ordered = list(dict.fromkeys(ids))
    inside = set(ordered)
    graph = TopologicalSorter[Digest](dict.fromkeys(ordered, ()))
    for need in needs:
        if need.child in inside and need.parent in inside:
            graph.add(need.child, need.parent)
    try:
        return list(graph.static_order())
    except CycleError:
        return ordered
