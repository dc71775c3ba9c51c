"""What must hold at every moment, and what must still be possible from it"""

from functools import cache

from tests.model.collectors import Collector
from tests.model.savers import Saver
from tests.model.versions import Janitor, Reader
from tests.model.world import ENDED, PRESENT, Catalog, Scope, State, name


def readable(scope: Scope, state: State) -> str | None:
    """R2, R7: every object of an active version is there, under the incarnation its row names"""
    for version, is_now in enumerate(state.catalogs[0].versions):
        if is_now == "active" and (problem := _missing(scope, state, state.catalogs[0], version)):
            return f"R2: version {version} is active, and {problem}"
    return None


def _missing(scope: Scope, state: State, catalog: Catalog, version: int) -> str | None:
    for o in scope.versions[version].objects:
        row = catalog.rows[o]
        if row is None or row[0] != "live":
            return f"the row of its object {o} is {row}"
        if not state.disk & name(o, row[1]):
            return f"incarnation {row[1]} of its object {o} does not exist"
    return None


def unreachable(scope: Scope, state: State) -> str | None:
    """R7: nothing that counts as present has a name whose delete may still arrive"""
    for catalog in state.catalogs:
        for o, row in enumerate(catalog.rows):
            if row is not None and row[0] in PRESENT and state.doomed & name(o, row[1]):
                return f"R7: object {o} counts as present under incarnation {row[1]}, which has a delete under way"
    return None


def kept(scope: Scope, state: State) -> str | None:
    """What was acknowledged and not retired is there; R1: so is what has an alias or a person's pin"""
    catalog = state.catalogs[0]
    for version, is_now in enumerate(catalog.versions):
        if is_now != "active" and state.promised >> version & 1:
            return f"version {version} was acknowledged, and is {is_now}"
        if is_now != "active" and catalog.marked >> version & 1:
            return f"R1: version {version} is marked, and is {is_now}"
    return None


def undisturbed(scope: Scope, state: State) -> str | None:
    """Nobody whose lease is active loses what it pinned or held"""
    for me, process in enumerate(scope.processes):
        at, cat, *rest = state.procs[me]
        catalog = state.catalogs[cat]
        if isinstance(process, Saver) and at == "lost" and catalog.leases[scope.slots[me] + rest[0]] != ENDED:
            return f"A: saver {me} has an active lease and lost what it had pinned"
        if isinstance(process, Reader) and at == "read" and catalog.leases[scope.slots[me]] != ENDED:
            problem = _missing(scope, state, catalog, process.version)
            if problem:
                return f"Reader {me} has an active lease on version {process.version}, and {problem}"
    return None


def collectable(scope: Scope, state: State) -> str | None:
    """When everybody has gone, a collector can still remove all that no version needs"""
    alone = _alone(scope)
    if alone is None:
        return None
    catalog = state.catalogs[0]._replace(leases=(ENDED,) * scope.leases)
    procs = tuple(process.start() for process in alone.processes)
    if _ends_clean(alone, State((catalog,), state.disk, 0, 0, procs)):
        return None
    return "Some of what no version needs will never be removed"


@cache
def _alone(scope: Scope) -> Scope | None:
    if not any(isinstance(process, Collector) for process in scope.processes):
        return None
    # it releases what is retired, too; retiring more is not its business
    return Scope("alone", scope.versions, (Collector(), Janitor(retires=False)), scope.rules)


@cache
def _ends_clean(scope: Scope, start: State) -> bool:
    stack, seen = [start], {start}
    while stack:
        state = stack.pop()
        if _clean(scope, state):
            return True
        for _, after in scope.steps(state):
            if after not in seen:
                seen.add(after)
                stack.append(after)
    return False


def _clean(scope: Scope, state: State) -> bool:
    catalog = state.catalogs[0]
    needed = {o for v, needs in enumerate(scope.versions) if catalog.versions[v] == "active" for o in needs.objects}
    rows = {o: row for o, row in enumerate(catalog.rows) if row is not None}
    return rows.keys() <= needed and state.disk == sum(name(o, row[1]) for o, row in rows.items())


ALWAYS = (readable, unreachable, kept, undisturbed, collectable)
