"""What must hold at every moment, and what must still be possible from it"""

from functools import cache
from typing import Any

from tests.model.catalogs import chains, empty, history, newest
from tests.model.collectors import Collector
from tests.model.damage import Verifier, parts
from tests.model.journal import knows, replay
from tests.model.world import ENDED, PRESENT, Catalog, Scope, State, hurt, marks, name, told


def _settled(state: State) -> Catalog | None:
    """The catalog, when there is one and it knows what was exported: nobody begins anything on another"""
    return state.current if knows(state, state.ident) else None


def readable(scope: Scope, state: State) -> str | None:
    """R2, R7: every object of an active version is there, under the incarnation its row names"""
    catalog = _settled(state)
    for version, is_now in enumerate(catalog.versions if catalog else ()):
        if is_now == "active" and (problem := _missing(scope, state, catalog, version)):
            return f"R2: version {version} is active, and {problem}"
    return None


def _missing(scope: Scope, state: State, catalog: Catalog, version: int) -> str | None:
    for o in parts(scope, catalog, version):
        row = catalog.rows[o]
        if row is not None and row[0] == "damaged" and state.promised & hurt(version):
            continue
        based = o not in scope.versions[version].objects
        if row is None or row[0] not in (PRESENT if based else ("live",)):
            return f"the row of its object {o} is {row}"
        if not state.disk & name(o, row[1]):
            return f"incarnation {row[1]} of its object {o} does not exist"
    return None


def unreachable(scope: Scope, state: State) -> str | None:
    """R7: nothing that counts as present has a name whose delete may still arrive"""
    catalog = _settled(state)
    for o, row in enumerate(catalog.rows if catalog else ()):
        if row is not None and row[0] in PRESENT and state.doomed & name(o, row[1]):
            return f"R7: object {o} counts as present under incarnation {row[1]}, which has a delete under way"
        if row is not None and row[0] in PRESENT and not state.disk & name(o, row[1]):
            return f"R7: object {o} counts as present under incarnation {row[1]}, which does not exist"
    return None


def kept(scope: Scope, state: State) -> str | None:
    """What was acknowledged and not retired is there; R1: so is what has an alias or a person's pin"""
    catalog = _settled(state)
    for version, is_now in enumerate(catalog.versions if catalog else ()):
        if is_now != "active" and state.promised >> version & 1:
            return f"version {version} was acknowledged, and is {is_now}"
        if state.promised & marks(version) and not catalog.marked >> version & 1:
            return f"the mark of version {version} was acknowledged, and is gone"
        if is_now != "active" and catalog.marked >> version & 1:
            return f"R1: version {version} is marked, and is {is_now}"
    return None


def recoverable(scope: Scope, state: State) -> str | None:
    """Should the catalog be lost at this moment, the store's journal gives back all that was promised"""
    if not scope.journal:
        return None
    return _recoverable(scope, state.files, state.disk, state.doomed, state.promised)


@cache
def _recoverable(scope: Scope, files: Any, disk: int, doomed: int, promised: int) -> str | None:
    problem = None
    state = State((), disk, doomed, told(promised), (), files=files)
    last = newest(scope, state)
    if last is None:
        return "Nobody can tell which catalog to go on from"
    for own in chains(scope, state, last):
        for entries in history(scope, state, own):
            catalog = replay(scope, empty(scope), entries)
            made = state._replace(catalogs=(catalog,), files=(frozenset(),))
            problem = readable(scope, made) or unreachable(scope, made) or kept(scope, made)
            if problem is None:
                return None
    return problem and f"Rebuilt from what was exported, {problem}"


def replayable(scope: Scope, state: State) -> str | None:
    """Every record replayed gives the catalog: whatever a transaction changed for good, it wrote down"""
    catalog = _settled(state)
    if not scope.journal or catalog is None:
        return None
    for entries in history(scope, state, list(catalog.journal)):
        if _gist(replay(scope, empty(scope), entries)) == _gist(catalog):
            return None
    return f"{catalog} is not what its journal says"


def _gist(catalog: Catalog) -> tuple[Any, ...]:
    """What outlives a rebuild: no lease, no verdict that can be reached again, nothing that is going anyway"""
    rows = tuple(
        None if row is None or row[0] == "deleting" else ("live" if row[0] in PRESENT else row[0], *row[1:])
        for row in catalog.rows
    )
    versions = tuple("retired" if is_now == "swept" else is_now for is_now in catalog.versions)
    held = tuple(held if is_now == "active" else 0 for held, is_now in zip(catalog.held, versions, strict=True))
    return rows, versions, held, catalog.marked


def undisturbed(scope: Scope, state: State) -> str | None:
    """Nobody whose lease is active loses what it pinned or held; damage and restored backups are excuses"""
    catalog = state.current
    if catalog is None or state.era or _is_damaged(scope):
        return None
    for me, lease in enumerate(scope.slots):
        at, cat, *rest = state.procs[me]
        if cat != state.ident:
            continue
        if at == "lost" and catalog.leases[lease + rest[0]] != ENDED:
            return f"A: saver {me} has an active lease and lost what it had pinned"
        if at == "read" and catalog.leases[lease] != ENDED:
            problem = _missing(scope, state, catalog, scope.processes[me].version)
            if problem:
                return f"Reader {me} has an active lease on its version, and {problem}"
    return None


@cache
def _is_damaged(scope: Scope) -> bool:
    return any(isinstance(process, Verifier) for process in scope.processes)


def collectable(scope: Scope, state: State) -> str | None:
    """When everybody has gone, a collector can still remove all that no version needs"""
    alone = _alone(scope)
    if alone is None or (catalog := _settled(state)) is None:
        return None
    catalog = catalog._replace(leases=(ENDED,) * scope.leases, journal=(), exported=0)
    procs = tuple(process.start() for process in alone.processes)
    if _ends_clean(alone, State((catalog,), state.disk, 0, 0, procs)):
        return None
    return "Some of what no version needs will never be removed"


@cache
def _alone(scope: Scope) -> Scope | None:
    if not any(isinstance(process, Collector) for process in scope.processes):
        return None
    return Scope("alone", scope.versions, (Collector(),), scope.rules)


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
    needed = {o for v, is_now in enumerate(catalog.versions) if is_now == "active" for o in parts(scope, catalog, v)}
    rows = {o: row for o, row in enumerate(catalog.rows) if row is not None}
    return rows.keys() <= needed and state.disk & ~sum(name(o, row[1]) for o, row in rows.items()) == 0


ALWAYS = (readable, unreachable, kept, recoverable, replayable, undisturbed, collectable)
