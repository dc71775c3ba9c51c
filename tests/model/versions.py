"""What befalls whole versions: retired, released, brought back, marked by people, held by readers"""

from collections.abc import Iterator
from dataclasses import dataclass

from tests.model.journal import record, turn
from tests.model.savers import acknowledged
from tests.model.world import (
    ENDED,
    Catalog,
    Local,
    Scope,
    State,
    Step,
    hold,
    hurt,
    marks,
    mask,
    moved,
    offered,
    pinned,
    present,
    put,
)

FOREVER = -1


@dataclass(frozen=True)
class Janitor:
    """Retires versions, one at a time"""

    times: int = FOREVER
    slots: int = 0

    def start(self) -> Local:
        return ("idle", 0, self.times)

    def steps(self, scope: Scope, state: State, me: int) -> Iterator[Step]:
        return turn(self, scope, state, me)

    def _idle(self, scope: Scope, state: State, me: int, cat: int, left: int) -> Iterator[Step]:
        catalog = state.catalogs[cat]
        assert catalog is not None
        for version, is_now in enumerate(catalog.versions):
            if left and is_now == "active" and _may_go(catalog, version):
                if scope.rules.retire_evaluates:
                    yield self._retired(scope, state, me, cat, left, version)
                else:
                    yield ("gc.plan", me, version), moved(state, me, ("retire", cat, left, version))

    def _retire(self, scope: Scope, state: State, me: int, cat: int, left: int, version: int) -> Iterator[Step]:
        """A mutant: what was planned is done without another look"""
        yield self._retired(scope, state, me, cat, left, version)

    def _retired(self, scope: Scope, state: State, me: int, cat: int, left: int, version: int) -> Step:
        catalog = state.catalogs[cat]
        after = catalog._replace(versions=put(catalog.versions, version, "retired"))
        then = ("idle", cat, left - (left != FOREVER))
        promised = state.promised & ~(1 << version | scope.makers(version))
        retired = record(scope, state, me, cat, after, ("retire", (version,)), then)
        return ("gc.retire", me, version), retired._replace(promised=promised)


def _may_go(catalog: Catalog, version: int) -> bool:
    """No alias, no person's pin, no reader's lease keeps it"""
    return not catalog.marked >> version & 1 and not pinned(catalog) & hold(version)


@dataclass(frozen=True)
class Undoer:
    """Brings a retired version back; it has read its manifest before, which never changes"""

    version: int = 0
    times: int = FOREVER
    slots: int = 0

    def start(self) -> Local:
        return ("idle", 0, self.times)

    def steps(self, scope: Scope, state: State, me: int) -> Iterator[Step]:
        return turn(self, scope, state, me)

    def _idle(self, scope: Scope, state: State, me: int, cat: int, left: int) -> Iterator[Step]:
        catalog = state.catalogs[cat]
        assert catalog is not None
        after = undo(scope, catalog, self.version)
        if not left or catalog.versions[self.version] not in ("retired", "swept") or after is None:
            return
        named = tuple((o, *after.rows[o][1:]) for o in scope.versions[self.version].objects)
        again = ("idle", cat, left - (left != FOREVER))
        then = ("ack", cat, again) if scope.journal else again
        done = record(scope, state, me, cat, after, ("save", (self.version, named)), then)
        done = done._replace(promised=(done.promised | offered(me)) & ~hurt(self.version))
        yield ("undo.commit", me), done if scope.journal else acknowledged(done, me, self.version)

    def _ack(self, scope: Scope, state: State, me: int, cat: int, then: Local) -> Iterator[Step]:
        yield ("undo.acknowledge", me), acknowledged(moved(state, me, then), me, self.version)


def undo(scope: Scope, catalog: Catalog, version: int) -> Catalog | None:
    """One transaction: every object live or condemned, set live, else None"""
    needs = scope.versions[version]
    checked = {*(needs.blobs if scope.rules.undo_checks else ())}
    if needs.manifest is not None and scope.rules.undo_checks_manifest:
        checked.add(needs.manifest)
    rows = list(catalog.rows)
    for o in needs.objects:
        row = rows[o]
        if row is None or (o in checked and not present(scope, catalog, o)):
            return None
        if row[0] == "condemned" and scope.rules.undo_sets_live:
            rows[o] = ("live", *row[1:])
    held = put(catalog.held, version, mask(needs.blobs))
    return catalog._replace(rows=tuple(rows), held=held, versions=put(catalog.versions, version, "active"))


@dataclass(frozen=True)
class Owner:
    """Marks a version, by an alias or a pin, and takes the mark away"""

    version: int
    times: int = FOREVER
    slots: int = 0

    def start(self) -> Local:
        return ("idle", 0, self.times)

    def steps(self, scope: Scope, state: State, me: int) -> Iterator[Step]:
        return turn(self, scope, state, me)

    def _idle(self, scope: Scope, state: State, me: int, cat: int, left: int) -> Iterator[Step]:
        catalog = state.catalogs[cat]
        assert catalog is not None
        bit = 1 << self.version
        if left and (catalog.versions[self.version] == "active" or catalog.marked & bit):
            after = catalog._replace(marked=catalog.marked ^ bit)
            again = ("idle", cat, left - (left != FOREVER))
            then = ("ack", cat, again) if scope.journal else again
            # it is the only one who marks this version, so what it acknowledges last is what holds
            marked = record(scope, state, me, cat, after, ("mark", (self.version, after.marked & bit)), then)
            yield ("alias.commit", me), marked._replace(promised=marked.promised & ~marks(self.version))

    def _ack(self, scope: Scope, state: State, me: int, cat: int, then: Local) -> Iterator[Step]:
        catalog = state.catalogs[cat]
        marked = marks(self.version) if catalog.marked >> self.version & 1 else 0
        after = moved(state, me, then)
        yield ("alias.acknowledge", me), after._replace(promised=after.promised | marked)


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
