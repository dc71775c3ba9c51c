"""Savers: steps A to F"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.model.world import ENDED, Catalog, Local, Scope, State, Step, Version, name, put

PRESENT = ("live", "condemned")


@dataclass(frozen=True)
class Saver:
    """Saves one version; a lease that was lost is followed by another try

    Its state: (at, catalog, attempt, uploads, left): masks of the objects it has an incarnation of its own for, and
    of those among them that are still to be published.
    """

    version: int
    attempts: int = 2

    @property
    def slots(self) -> int:
        return self.attempts

    def start(self) -> Local:
        return ("start", 0, 0, 0, 0)

    def steps(self, scope: Scope, state: State, me: int) -> Iterator[Step]:
        local = state.procs[me]
        step = getattr(self, "_" + local[0], None)
        return step(scope, state, me, *local[1:]) if step else iter(())

    def _start(
        self, scope: Scope, state: State, me: int, cat: int, attempt: int, uploads: int, left: int
    ) -> Iterator[Step]:
        """A: a new lease"""
        catalog = state.catalogs[cat]
        if not scope.rules.pin_first and not left:
            uploads, _ = self._grant(scope, catalog, me, attempt)
            yield (
                ("save.look", me),
                moved(state, me, ("write" if uploads else "start", cat, attempt, uploads, uploads or -1)),
            )
            return
        after = catalog._replace(leases=put(catalog.leases, scope.slots[me] + attempt, 0))
        yield ("save.lease", me), moved(state, me, ("pin", cat, attempt, uploads, left), cat, after)

    def _pin(
        self, scope: Scope, state: State, me: int, cat: int, attempt: int, uploads: int, left: int
    ) -> Iterator[Step]:
        """A: a pin on everything, before looking at storage"""
        catalog = state.catalogs[cat]
        lease = scope.slots[me] + attempt
        if catalog.leases[lease] == ENDED:
            yield ("save.lost", me), moved(state, me, ("lost", cat, attempt, uploads, 0))
            return
        granted, pins = self._grant(scope, catalog, me, attempt)
        uploads, left = (uploads, 0) if left else (granted, granted)
        after = catalog._replace(leases=put(catalog.leases, lease, pins))
        yield ("save.pin", me), moved(state, me, (_next(left), cat, attempt, uploads, left), cat, after)

    def _grant(self, scope: Scope, catalog: Catalog, me: int, attempt: int) -> tuple[int, int]:
        uploads = pins = 0
        for o in scope.versions[self.version].blobs:
            row = catalog.rows[o]
            if row is not None and row[0] in PRESENT:
                pins |= name(o, row[1]) if scope.rules.pin_adopted else 0
            else:
                uploads |= 1 << o
                pins |= name(o, scope.inc(me, attempt))
        return uploads, pins

    def _write(
        self, scope: Scope, state: State, me: int, cat: int, attempt: int, uploads: int, left: int
    ) -> Iterator[Step]:
        """B: the name comes into being at once, however long ago its lease was lost"""
        low = left & -left
        disk = state.disk | name(low.bit_length() - 1, scope.inc(me, attempt))
        left ^= low
        local: Local = (_next(left), cat, attempt, uploads, left)
        if not left and not scope.rules.pin_first:
            local = ("start", cat, attempt, uploads, -1)
        yield ("save.publish", me), moved(state, me, local)._replace(disk=disk)

    def _commit(
        self, scope: Scope, state: State, me: int, cat: int, attempt: int, uploads: int, left: int
    ) -> Iterator[Step]:
        """D"""
        catalog = state.catalogs[cat]
        after = commit(scope, catalog, self.version, scope.slots[me] + attempt, scope.inc(me, attempt), uploads)
        if after is None:
            yield ("save.lost", me), moved(state, me, ("lost", cat, attempt, uploads, 0))
            return
        losers = 0
        for o in scope.versions[self.version].objects:
            if uploads >> o & 1 and after.rows[o][1] != scope.inc(me, attempt):
                losers |= 1 << o
        yield ("save.commit", me), moved(state, me, ("drop" if losers else "done", cat, attempt, losers, 0), cat, after)

    def _drop(
        self, scope: Scope, state: State, me: int, cat: int, attempt: int, losers: int, left: int
    ) -> Iterator[Step]:
        """What lost to an adopted incarnation is dropped by its owner, after D is known"""
        mask = uploaded(losers, scope.inc(me, attempt))
        after = moved(state, me, ("done", cat, 0, 0, 0))
        yield ("save.drop", me), after._replace(disk=state.disk & ~mask, doomed=state.doomed | mask)

    def _lost(
        self, scope: Scope, state: State, me: int, cat: int, attempt: int, uploads: int, left: int
    ) -> Iterator[Step]:
        """The lease is ended, if it was not; what only it named may be deleted; then once more from A"""
        catalog = state.catalogs[cat]
        ended = catalog._replace(leases=put(catalog.leases, scope.slots[me] + attempt, ENDED))
        again = ("start", cat, attempt + 1, 0, 0) if attempt + 1 < self.attempts else ("done", cat, 0, 0, 0)
        after = moved(state, me, again, cat, ended)
        yield ("save.restart", me), after
        mask = uploaded(uploads, scope.inc(me, attempt))
        if mask & state.disk and scope.rules.fresh_restart and scope.rules.incarnations:
            yield ("save.clear", me), after._replace(disk=state.disk & ~mask, doomed=state.doomed | mask)


def _next(left: int) -> str:
    return "write" if left else "commit"


def uploaded(objects: int, inc: int) -> int:
    """The names of a mask of objects, all of one incarnation"""
    mask = 0
    while objects:
        low = objects & -objects
        mask |= name(low.bit_length() - 1, inc)
        objects ^= low
    return mask


def commit(scope: Scope, catalog: Catalog, version: int, lease: int, inc: int, uploads: int) -> Catalog | None:
    """Transaction D; None when it cannot be: the lease has ended, or what was adopted is gone"""
    if catalog.leases[lease] == ENDED and scope.rules.fence:
        return None
    needs: Version = scope.versions[version]
    rows = list(catalog.rows)
    for o in needs.objects:
        row = rows[o]
        if row is not None and (row[0] in PRESENT or not (scope.rules.deleting_is_absent or row[0] == "damaged")):
            rows[o] = ("live", row[1], row[2])
        elif uploads >> o & 1:
            rows[o] = ("live", inc, -1)
        else:
            return None
    return catalog._replace(
        rows=tuple(rows),
        held=put(catalog.held, version, sum(1 << o for o in needs.blobs)),
        versions=put(catalog.versions, version, "active"),
        leases=put(catalog.leases, lease, ENDED),
    )


def moved(state: State, me: int, local: Local, cat: int = 0, catalog: Any = None) -> State:
    """The state after a step of one process, which may have changed a catalog"""
    catalogs = state.catalogs if catalog is None else put(state.catalogs, cat, catalog)
    return state._replace(catalogs=catalogs, procs=put(state.procs, me, local))
