"""Ordering: versions in which each comes after what it needs"""

from collections.abc import Iterable

from artifactstore.core.digest import Digest
from artifactstore.core.verdict import Need


def parents_first(ids: Iterable[Digest], needs: Iterable[Need]) -> list[Digest]:
    """The ids, each after those of them it needs, else in the order they come in

    Links by a name that was bound later may form a ring; it is broken where it is met first.
    """
    ordered = list(dict.fromkeys(ids))
    inside = set(ordered)
    parents: dict[Digest, list[Digest]] = {}
    for need in needs:
        if need.child in inside and need.parent in inside:
            parents.setdefault(need.child, []).append(need.parent)
    done: dict[Digest, None] = {}
    opened: set[Digest] = set()
    due = ordered[::-1]
    while due:
        one = due[-1]
        if one in opened:
            done[due.pop()] = None
            continue
        opened.add(one)
        due += [parent for parent in reversed(parents.get(one, [])) if parent not in opened]
    return list(done)
