"""What must hold at every moment, and what must still be possible from it"""

from functools import cache

from tests.model.collectors import Collector
from tests.model.savers import PRESENT, Saver
from tests.model.world import ENDED, Scope, State, name


def readable(scope: Scope, state: State) -> str | None:
    """R2, R7: every object of an active version is there, under the incarnation its row names, and will stay"""
    catalog = state.catalogs[0]
    for version, needs in enumerate(scope.versions):
        if catalog.versions[version] != "active":
            continue
        for o in needs.objects:
            row = catalog.rows[o]
            if row is None or row[0] != "live":
                return f"R2: version {version} needs object {o}, whose row is {row}"
            if not state.disk & name(o, row[1]):
                return f"R2: version {version} needs object {o}, whose incarnation {row[1]} is gone"
    return None


def unreachable(scope: Scope, state: State) -> str | None:
    """R7: nothing that counts, or is about to, has a name whose delete may still arrive"""
    for catalog in state.catalogs:
        for o, row in enumerate(catalog.rows):
            if row is not None and row[0] in PRESENT and state.doomed & name(o, row[1]):
                return f"R7: object {o} counts as present under incarnation {row[1]}, which has a delete under way"
    return None


def undisturbed(scope: Scope, state: State) -> str | None:
    """A save whose lease is active never loses what it pinned"""
    for me, process in enumerate(scope.processes):
        if isinstance(process, Saver) and state.procs[me][0] == "lost":
            _, cat, attempt, *_ = state.procs[me]
            if state.catalogs[cat].leases[scope.slots[me] + attempt] != ENDED:
                return f"A: saver {me} has an active lease and lost what it had pinned"
    return None


def collectable(scope: Scope, state: State) -> str | None:
    """When everybody has gone, one collector can still remove all that no version needs, and nothing else"""
    catalog = state.catalogs[0]._replace(leases=(ENDED,) * scope.leases)
    collector = next((process for process in scope.processes if isinstance(process, Collector)), None)
    if collector is None or _ends_clean(scope, collector, State((catalog,), state.disk, 0, (collector.start(),))):
        return None
    return "R8: nobody will ever remove some of what no version needs"


@cache
def _ends_clean(scope: Scope, collector: Collector, start: State) -> bool:
    stack, seen = [start], {start}
    while stack:
        state = stack.pop()
        objects = _needed(scope, state)
        catalog = state.catalogs[0]
        kept = sum(name(o, row[1]) for o, row in enumerate(catalog.rows) if row is not None)
        if state.disk == kept and all(o in objects for o, row in enumerate(catalog.rows) if row is not None):
            return True
        for _, after in collector.steps(scope, state, 0):
            if after not in seen:
                seen.add(after)
                stack.append(after)
    return False


def _needed(scope: Scope, state: State) -> set[int]:
    active = [needs for v, needs in enumerate(scope.versions) if state.catalogs[0].versions[v] == "active"]
    return {o for needs in active for o in needs.objects}


ALWAYS = (readable, unreachable, undisturbed, collectable)
