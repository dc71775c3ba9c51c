"""What befalls whole versions: retired, released, brought back, marked by people, held by readers"""

from collections.abc import Iterator
from dataclasses import dataclass

from tests.model.world import (
    ENDED,
    PRESENT,
    Catalog,
    Local,
    Scope,
    State,
    Step,
    hold,
    mask,
    moved,
    offered,
    pinned,
    put,
    turn,
)


@dataclass(frozen=True)
class Janitor:
    """Retires versions, and lets retired ones give up their blobs, one at a time; any number of times"""

    retires: bool = True
    slots: int = 0

    def start(self) -> Local:
        return ("idle", 0)

    def steps(self, scope: Scope, state: State, me: int) -> Iterator[Step]:
        return turn(self, scope, state, me)

    def _idle(self, scope: Scope, state: State, me: int, cat: int) -> Iterator[Step]:
        catalog = state.catalogs[cat]
        for version, is_now in enumerate(catalog.versions):
            if self.retires and is_now == "active" and _may_go(catalog, version):
                if scope.rules.retire_evaluates:
                    yield self._retired(state, me, cat, version)
                else:
                    yield ("gc.plan", me, version), moved(state, me, ("retire", cat, version))
            if is_now in ("retired", "swept") and catalog.held[version]:
                if scope.rules.release_retired:
                    yield self._released(state, me, cat, version)
                else:
                    yield ("gc.plan", me, version), moved(state, me, ("release", cat, version))

    def _retire(self, scope: Scope, state: State, me: int, cat: int, version: int) -> Iterator[Step]:
        """A mutant: what was planned is done without another look"""
        yield self._retired(state, me, cat, version)

    def _release(self, scope: Scope, state: State, me: int, cat: int, version: int) -> Iterator[Step]:
        """A mutant: it was retired when it was looked at"""
        yield self._released(state, me, cat, version)

    def _retired(self, state: State, me: int, cat: int, version: int) -> Step:
        catalog = state.catalogs[cat]
        after = catalog._replace(versions=put(catalog.versions, version, "retired"))
        promised = state.promised & ~(1 << version | offered(version))
        return ("gc.retire", me, version), moved(state, me, ("idle", cat), cat, after)._replace(promised=promised)

    def _released(self, state: State, me: int, cat: int, version: int) -> Step:
        catalog = state.catalogs[cat]
        held = catalog.held[version]
        after = catalog._replace(held=put(catalog.held, version, held & (held - 1)))
        return ("gc.release", me, version), moved(state, me, ("idle", cat), cat, after)


def _may_go(catalog: Catalog, version: int) -> bool:
    """No alias, no person's pin, no reader's lease keeps it"""
    return not catalog.marked >> version & 1 and not pinned(catalog) & hold(version)


@dataclass(frozen=True)
class Undoer:
    """Brings retired versions back, any number of times; it has read their manifests before, which never change"""

    slots: int = 0

    def start(self) -> Local:
        return ("idle", 0)

    def steps(self, scope: Scope, state: State, me: int) -> Iterator[Step]:
        return turn(self, scope, state, me)

    def _idle(self, scope: Scope, state: State, me: int, cat: int) -> Iterator[Step]:
        for version, is_now in enumerate(state.catalogs[cat].versions):
            after = undo(scope, state.catalogs[cat], version)
            if is_now in ("retired", "swept") and after is not None:
                promised = state.promised | 1 << version | offered(version)
                yield (
                    ("undo.commit", me, version),
                    moved(state, me, ("idle", cat), cat, after)._replace(promised=promised),
                )


def undo(scope: Scope, catalog: Catalog, version: int) -> Catalog | None:
    """One transaction: every object live or condemned, set live, else None"""
    needs = scope.versions[version]
    checked = {*(needs.blobs if scope.rules.undo_checks else ())}
    if needs.manifest is not None and scope.rules.undo_checks_manifest:
        checked.add(needs.manifest)
    rows = list(catalog.rows)
    for o in needs.objects:
        row = rows[o]
        if row is None or (o in checked and row[0] not in PRESENT):
            return None
        if row[0] == "condemned" and scope.rules.undo_sets_live:
            rows[o] = ("live", *row[1:])
    held = put(catalog.held, version, mask(needs.blobs))
    return catalog._replace(rows=tuple(rows), held=held, versions=put(catalog.versions, version, "active"))


@dataclass(frozen=True)
class Owner:
    """Marks a version, by an alias or a pin, and takes the mark away"""

    version: int
    slots: int = 0

    def start(self) -> Local:
        return ("idle", 0)

    def steps(self, scope: Scope, state: State, me: int) -> Iterator[Step]:
        return turn(self, scope, state, me)

    def _idle(self, scope: Scope, state: State, me: int, cat: int) -> Iterator[Step]:
        catalog = state.catalogs[cat]
        bit = 1 << self.version
        if catalog.versions[self.version] == "active" or catalog.marked & bit:
            after = catalog._replace(marked=catalog.marked ^ bit)
            yield ("alias.commit", me), moved(state, me, ("idle", cat), cat, after)


@dataclass(frozen=True)
class Reader:
    """Holds a version while it reads"""

    version: int
    slots: int = 1

    def start(self) -> Local:
        return ("start", 0)

    def steps(self, scope: Scope, state: State, me: int) -> Iterator[Step]:
        return turn(self, scope, state, me)

    def _start(self, scope: Scope, state: State, me: int, cat: int) -> Iterator[Step]:
        catalog = state.catalogs[cat]
        after = catalog._replace(leases=put(catalog.leases, scope.slots[me], 0))
        yield ("read.lease", me), moved(state, me, ("hold", cat), cat, after)

    def _hold(self, scope: Scope, state: State, me: int, cat: int) -> Iterator[Step]:
        """Fenced on the lease, and on the version being active"""
        catalog = state.catalogs[cat]
        if catalog.leases[scope.slots[me]] == ENDED:
            yield ("read.lost", me), moved(state, me, ("done", cat))
        elif catalog.versions[self.version] in (
            ("active",) if scope.rules.hold_active else ("active", "retired", "swept")
        ):
            after = catalog._replace(leases=put(catalog.leases, scope.slots[me], hold(self.version)))
            yield ("read.hold", me), moved(state, me, ("read", cat), cat, after)

    def _read(self, scope: Scope, state: State, me: int, cat: int) -> Iterator[Step]:
        catalog = state.catalogs[cat]
        after = catalog._replace(leases=put(catalog.leases, scope.slots[me], ENDED))
        yield ("read.end", me), moved(state, me, ("done", cat), cat, after)
