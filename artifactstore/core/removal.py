"""Removal: the order in which versions go, so that stopping anywhere leaves nothing without what it needs"""

import heapq
from collections.abc import Iterable

from artifactstore.core.digest import Digest
from artifactstore.core.policy import Candidate
from artifactstore.core.verdict import NEEDED, Need


def removal_order(going: Iterable[Candidate], needs: Iterable[Need]) -> list[Digest]:
    """The oldest first, but never a version before all that need it; those that need each other go last"""
    by_id = {one.id: one for one in going}
    parents: dict[Digest, set[Digest]] = {one: set() for one in by_id}
    blockers = dict.fromkeys(by_id, 0)
    for need in needs:
        inside = need.child in by_id and need.parent in by_id and need.child != need.parent
        if inside and need.relation in NEEDED and need.parent not in parents[need.child]:
            parents[need.child].add(need.parent)
            blockers[need.parent] += 1
    ready = [_key(one) for one in by_id.values() if not blockers[one.id]]
    heapq.heapify(ready)
    order: list[Digest] = []
    while ready:
        version = heapq.heappop(ready)[-1]
        order.append(version)
        for parent in parents[version]:
            blockers[parent] -= 1
            if not blockers[parent]:
                heapq.heappush(ready, _key(by_id[parent]))
    done = set(order)
    return order + [one.id for one in sorted(by_id.values(), key=_key) if one.id not in done]


def _key(one: Candidate) -> tuple[int, int, Digest]:
    return one.created, one.number, one.id
