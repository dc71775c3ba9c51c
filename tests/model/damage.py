"""Damage that is found and healed, and blobs that are packed anew against another"""

from collections.abc import Iterator
from dataclasses import dataclass

from tests.model.journal import record, turn
from tests.model.world import (
    ENDED,
    PRESENT,
    Catalog,
    Local,
    Row,
    Scope,
    State,
    Step,
    gone,
    hurt,
    hurt_untold,
    moved,
    name,
    put,
)


@dataclass(frozen=True)
class Verifier:
    """Finds damage in any object at any moment, and moves its bytes aside"""

    times: int = 1
    slots: int = 0

    def start(self) -> Local:
        return ("idle", 0, self.times)

    def steps(self, scope: Scope, state: State, me: int) -> Iterator[Step]:
        return turn(self, scope, state, me)

    def _idle(self, scope: Scope, state: State, me: int, cat: int, left: int) -> Iterator[Step]:
        """The row first, so that the digest counts as absent from now on"""
        catalog = state.catalogs[cat]
        assert catalog is not None
        for o, row in enumerate(catalog.rows):
            if left and row is not None and row[0] in PRESENT:
                then = ("aside", cat, left - 1, name(o, row[1]))
                after = catalog._replace(rows=put(catalog.rows, o, ("damaged", *row[1:])))
                found = record(scope, state, me, cat, after, ("damaged", ((o, *row[1:]),)), then)
                if not scope.rules.damage_exported:
                    found = moved(found, me, then)
                yield ("verify.damage", me, o), found._replace(promised=found.promised | spoiled(scope, catalog, o))

    def _aside(self, scope: Scope, state: State, me: int, cat: int, left: int, bit: int) -> Iterator[Step]:
        """Its place is empty from now on; what lies in quarantine is no part of the model"""
        yield ("verify.quarantine", me), gone(moved(state, me, ("idle", cat, left)), bit)


@dataclass(frozen=True)
class Repairer:
    """Writes a damaged object anew, from a donor"""

    target: int
    slots: int = 1

    def start(self) -> Local:
        return ("start", 0)

    def steps(self, scope: Scope, state: State, me: int) -> Iterator[Step]:
        return turn(self, scope, state, me)

    def _start(self, scope: Scope, state: State, me: int, cat: int) -> Iterator[Step]:
        cat = state.ident
        catalog = state.current
        row = catalog.rows[self.target] if catalog else None
        if catalog and row and row[0] == "damaged":
            after = catalog._replace(leases=put(catalog.leases, scope.slots[me], name(self.target, scope.inc(me, 0))))
            yield ("repair.pin", me), moved(state, me, ("write", cat), cat, after)

    def _write(self, scope: Scope, state: State, me: int, cat: int) -> Iterator[Step]:
        disk = state.disk | name(self.target, scope.inc(me, 0))
        yield ("save.publish", me), moved(state, me, ("commit", cat))._replace(disk=disk)

    def _commit(self, scope: Scope, state: State, me: int, cat: int) -> Iterator[Step]:
        """A repair's D: damaged, deleting and absent rows become its own, which no version need hold"""
        catalog = state.catalogs[cat]
        row = catalog.rows[self.target]
        if row is not None and row[0] in PRESENT:
            yield ("repair.lost", me), moved(state, me, ("done", cat), cat, ended(scope, catalog, me))
        else:
            yield ("repair.commit", me), replaced(scope, state, me, cat, self.target, -1)


@dataclass(frozen=True)
class Repacker:
    """Packs one object as a delta against another"""

    target: int
    base: int
    slots: int = 1

    def start(self) -> Local:
        return ("start", 0)

    def steps(self, scope: Scope, state: State, me: int) -> Iterator[Step]:
        return turn(self, scope, state, me)

    def _start(self, scope: Scope, state: State, me: int, cat: int) -> Iterator[Step]:
        cat = state.ident
        catalog = state.current
        row, base = (catalog.rows[self.target], catalog.rows[self.base]) if catalog else (None, None)
        if row and base and row[::2] == ("live", -1) and base[::2] == ("live", -1):
            after = catalog._replace(leases=put(catalog.leases, scope.slots[me], name(self.target, scope.inc(me, 0))))
            yield ("repack.pin", me), moved(state, me, ("write", cat, row[1]), cat, after)

    def _write(self, scope: Scope, state: State, me: int, cat: int, inc: int) -> Iterator[Step]:
        disk = state.disk | name(self.target, scope.inc(me, 0))
        yield ("repack.publish", me), moved(state, me, ("commit", cat, inc))._replace(disk=disk)

    def _commit(self, scope: Scope, state: State, me: int, cat: int, inc: int) -> Iterator[Step]:
        """What was read is still what counts, the base is here and raw, and nobody is based on the target"""
        catalog = state.catalogs[cat]
        if self._may(scope, catalog, inc):
            yield ("repack.commit", me), replaced(scope, state, me, cat, self.target, self.base)
        else:
            yield ("repack.lost", me), moved(state, me, ("done", cat), cat, ended(scope, catalog, me))

    def _may(self, scope: Scope, catalog: Catalog, inc: int) -> bool:
        row, base = catalog.rows[self.target], catalog.rows[self.base]
        rules = scope.rules
        if base is None or row != ("live", inc, -1):
            return False
        if rules.repack_depth and (base[2] != -1 or any(one and one[2] == self.target for one in catalog.rows)):
            return False
        return base[0] in PRESENT or not rules.repack_base_here


def replaced(scope: Scope, state: State, me: int, cat: int, o: int, base: int) -> State:
    """The state after a transaction that is fenced, and gives an object the incarnation that the process wrote"""
    catalog = state.catalogs[cat]
    lease = catalog.leases[scope.slots[me]]
    inc = scope.inc(me, 0)
    if (scope.rules.fence and lease == ENDED) or (scope.rules.commit_pinned and not lease & name(o, inc)):
        return moved(state, me, ("done", cat), cat, ended(scope, catalog, me))
    rows = put(catalog.rows, o, ("live", inc, base))
    if base != -1 and rows[base][0] == "condemned":
        rows = put(rows, base, ("live", *rows[base][1:]))
    after = ended(scope, catalog, me)._replace(rows=rows)
    state = record(scope, state, me, cat, after, ("heal", ((o, inc, base),)), ("done", cat))
    whole = sum(hurt(v) for v in range(len(scope.versions)) if not damaged(scope, after, v))
    return state._replace(promised=state.promised & ~whole) if cat == state.ident else state


def ended(scope: Scope, catalog: Catalog, me: int) -> Catalog:
    """The catalog without the lease of a process"""
    return catalog._replace(leases=put(catalog.leases, scope.slots[me], ENDED))


def parts(scope: Scope, catalog: Catalog, version: int) -> set[int]:
    """Objects of a version, and what they are based on"""
    objects = {*scope.versions[version].objects}
    return objects | {row[2] for o in objects if (row := catalog.rows[o]) is not None and row[2] != -1}


def damaged(scope: Scope, catalog: Catalog, version: int) -> bool:
    """Whether something of a version is in quarantine"""
    rows: list[Row | None] = [catalog.rows[o] for o in parts(scope, catalog, version)]
    return any(row is not None and row[0] == "damaged" for row in rows)


def spoiled(scope: Scope, catalog: Catalog, o: int) -> int:
    """The bits, in `promised`, of versions that are hurt by the loss of an object"""
    return sum(hurt(v) | hurt_untold(v) for v in range(len(scope.versions)) if o in parts(scope, catalog, v))
