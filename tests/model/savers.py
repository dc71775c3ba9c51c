"""Savers: steps A to F"""

from collections.abc import Iterator
from dataclasses import dataclass

from tests.model.journal import knows, publish, record, turn
from tests.model.world import (
    ENDED,
    Catalog,
    Local,
    Scope,
    State,
    Step,
    gone,
    hurt,
    hurt_untold,
    mask,
    moved,
    name,
    offered,
    present,
    put,
)


@dataclass(frozen=True)
class Saver:
    """Saves one version; a lease that was lost is followed by another try

    Its state: (at, catalog, attempt, uploads, left), masks of the objects it has an incarnation of its own for, and of
    those among them that are still to be published. unknown: its COMMIT may raise though it took place.
    """

    version: int
    attempts: int = 2
    unknown: bool = False

    @property
    def slots(self) -> int:
        return self.attempts

    def start(self) -> Local:
        return ("start", 0, 0, 0, 0)

    def steps(self, scope: Scope, state: State, me: int) -> Iterator[Step]:
        return turn(self, scope, state, me)

    def _start(
        self, scope: Scope, state: State, me: int, cat: int, attempt: int, uploads: int, left: int
    ) -> Iterator[Step]:
        """A: a new lease"""
        cat = state.ident
        catalog = state.current
        if catalog is None or not knows(state, cat):
            return
        blobs = scope.versions[self.version].blobs
        if not scope.rules.pin_first and left != ENDED:
            uploads, _ = self._grant(scope, catalog, me, attempt, blobs)
            at = ("write", cat, attempt, uploads, uploads) if uploads else ("start", cat, attempt, 0, ENDED)
            yield ("save.look", me), moved(state, me, at)
            return
        after = catalog._replace(leases=put(catalog.leases, scope.slots[me] + attempt, 0))
        yield ("save.lease", me), moved(state, me, ("pin", cat, attempt, uploads, left), cat, after)

    def _pin(
        self, scope: Scope, state: State, me: int, cat: int, attempt: int, uploads: int, left: int
    ) -> Iterator[Step]:
        """A: a pin on every blob, before looking at storage"""
        catalog = state.catalogs[cat]
        lease = scope.slots[me] + attempt
        if catalog.leases[lease] == ENDED:
            yield self._lose(state, me, cat, attempt, uploads)
            return
        granted, pins = self._grant(scope, catalog, me, attempt, scope.versions[self.version].blobs)
        uploads, left = (uploads, 0) if left else (granted, granted)
        after = catalog._replace(leases=put(catalog.leases, lease, pins))
        yield ("save.pin", me), moved(state, me, (self._next(scope, left), cat, attempt, uploads, left), cat, after)

    def _grant(
        self, scope: Scope, catalog: Catalog, me: int, attempt: int, objects: tuple[int, ...]
    ) -> tuple[int, int]:
        uploads = pins = 0
        for o in objects:
            if present(scope, catalog, o):
                pins |= name(o, catalog.rows[o][1]) if scope.rules.pin_adopted else 0
            else:
                uploads |= 1 << o
                pins |= name(o, scope.inc(me, attempt))
        return uploads, pins

    def _next(self, scope: Scope, left: int) -> str:
        if left:
            return "write"
        return "commit" if scope.versions[self.version].manifest is None else "manifest"

    def _write(
        self, scope: Scope, state: State, me: int, cat: int, attempt: int, uploads: int, left: int
    ) -> Iterator[Step]:
        """B: the name comes into being at once, however long ago its lease was lost"""
        low = left & -left
        left ^= low
        local: Local = (self._next(scope, left), cat, attempt, uploads, left)
        if not left and not scope.rules.pin_first:
            local = ("start", cat, attempt, uploads, ENDED)
        disk = state.disk | name(low.bit_length() - 1, scope.inc(me, attempt))
        yield ("save.publish", me), moved(state, me, local)._replace(disk=disk)

    def _manifest(
        self, scope: Scope, state: State, me: int, cat: int, attempt: int, uploads: int, left: int
    ) -> Iterator[Step]:
        """C: pinned like a blob"""
        catalog = state.catalogs[cat]
        lease = scope.slots[me] + attempt
        if catalog.leases[lease] == ENDED:
            yield self._lose(state, me, cat, attempt, uploads)
            return
        manifest = scope.versions[self.version].manifest
        assert manifest is not None
        ours, pins = self._grant(scope, catalog, me, attempt, (manifest,))
        after = catalog._replace(leases=put(catalog.leases, lease, catalog.leases[lease] | pins))
        local = ("record" if ours else "commit", cat, attempt, uploads | ours, ours)
        yield ("save.manifest", me), moved(state, me, local, cat, after)

    def _record(
        self, scope: Scope, state: State, me: int, cat: int, attempt: int, uploads: int, left: int
    ) -> Iterator[Step]:
        """C: written like a blob"""
        disk = state.disk | name(left.bit_length() - 1, scope.inc(me, attempt))
        yield ("save.manifest-write", me), moved(state, me, ("commit", cat, attempt, uploads, 0))._replace(disk=disk)

    def _commit(
        self, scope: Scope, state: State, me: int, cat: int, attempt: int, uploads: int, left: int
    ) -> Iterator[Step]:
        """D"""
        after = commit(
            scope, state.catalogs[cat], self.version, scope.slots[me] + attempt, scope.inc(me, attempt), uploads
        )
        if after is None:
            yield self._lose(state, me, cat, attempt, uploads)
            return
        yield ("save.commit", me), self._committed(scope, state, me, cat, attempt, uploads, after)
        if self.unknown:
            yield ("save.commit", me, "?"), moved(state, me, ("doubt", cat, attempt, uploads, 0))

    def _committed(
        self, scope: Scope, state: State, me: int, cat: int, attempt: int, uploads: int, after: Catalog
    ) -> State:
        inc = scope.inc(me, attempt)
        named = tuple((o, *after.rows[o][1:]) for o in scope.versions[self.version].objects)
        then = ("ack", cat) if scope.journal else ("done", cat)
        before = state.catalogs[cat]
        if scope.journal and before.versions[self.version] == "active" and before.rows == after.rows:
            # nothing to write down; what is there must be exported all the same before anybody is told that it is saved
            last = after.journal[-1] if scope.rules.export_found else None
            state = publish(scope, moved(state, me, then, cat, after), me, cat, last)
        else:
            state = record(scope, state, me, cat, after, ("save", (self.version, named)), then)
        losers = uploaded(uploads, inc) & ~sum(name(o, was) for o, was, _ in named)
        if losers:
            state = moved(state, me, ("drop", cat, losers, state.procs[me]))
        whole = hurt(self.version) if cat == state.ident else 0
        state = state._replace(promised=(state.promised | offered(me)) & ~whole)
        return state if scope.journal else acknowledged(state, me, self.version)

    def _doubt(
        self, scope: Scope, state: State, me: int, cat: int, attempt: int, uploads: int, left: int
    ) -> Iterator[Step]:
        """D, whose COMMIT raised: it may still take place, until its lease was ended"""
        catalog = state.catalogs[cat]
        lease, inc = scope.slots[me] + attempt, scope.inc(me, attempt)
        after = commit(scope, catalog, self.version, lease, inc, uploads)
        if after is not None:
            done = self._committed(scope, state, me, cat, attempt, uploads, after)
            unsure = ("unsure", cat, attempt, uploads, done.procs[me])
            yield ("save.commit", me, "late"), done._replace(procs=put(done.procs, me, unsure))
        ended = catalog._replace(leases=put(catalog.leases, lease, ENDED))
        if scope.rules.settle_by_reaping:
            left = 0 if scope.rules.doubt_deletes_nothing else uploads
            yield ("save.settle", me), moved(state, me, ("lost", cat, attempt, left, 0), cat, ended)
        elif uploaded(uploads, inc) & state.disk:
            yield ("save.clear", me), gone(state, uploaded(uploads, inc))

    def _unsure(
        self, scope: Scope, state: State, me: int, cat: int, attempt: int, uploads: int, then: Local
    ) -> Iterator[Step]:
        """D, whose COMMIT raised and took place: its txid tells, unless the catalog was replaced meanwhile"""
        catalog = state.catalogs[cat]
        if not scope.journal or any(entry[0][0] == me for entry in catalog.journal):
            yield ("save.settle", me), moved(state, me, then)
        else:
            left = 0 if scope.rules.doubt_deletes_nothing else uploads
            yield ("save.settle", me), moved(state, me, ("lost", cat, attempt, left, 0))

    def _drop(self, scope: Scope, state: State, me: int, cat: int, losers: int, then: Local) -> Iterator[Step]:
        """What lost to an adopted incarnation is dropped by its owner, after D is known"""
        yield ("save.drop", me), gone(moved(state, me, then), losers)

    def _ack(self, scope: Scope, state: State, me: int, cat: int) -> Iterator[Step]:
        """F"""
        yield ("save.acknowledge", me), acknowledged(moved(state, me, ("done", cat)), me, self.version)

    def _lose(self, state: State, me: int, cat: int, attempt: int, uploads: int) -> Step:
        return ("save.lost", me), moved(state, me, ("lost", cat, attempt, uploads, 0))

    def _lost(
        self, scope: Scope, state: State, me: int, cat: int, attempt: int, uploads: int, left: int
    ) -> Iterator[Step]:
        """The lease is ended, if it was not; what only it named may be deleted; then once more from A"""
        catalog = state.catalogs[cat]
        ended = catalog._replace(leases=put(catalog.leases, scope.slots[me] + attempt, ENDED))
        again = ("start", cat, attempt + 1, 0, 0) if attempt + 1 < self.attempts else ("done", cat)
        after = moved(state, me, again, cat, ended)
        yield ("save.restart", me), after
        ours = uploaded(uploads, scope.inc(me, attempt))
        if ours & state.disk and scope.rules.fresh_restart and scope.rules.incarnations:
            yield ("save.clear", me), gone(after, ours)


def acknowledged(state: State, me: int, version: int) -> State:
    """A promise, unless the version was retired since it was committed"""
    promised = state.promised & ~hurt_untold(version)
    return state._replace(promised=promised | 1 << version) if state.promised & offered(me) else state


def bits(objects: int) -> Iterator[int]:
    """The objects of a mask"""
    return (o for o in range(objects.bit_length()) if objects >> o & 1)


def uploaded(objects: int, inc: int) -> int:
    """The names of a mask of objects, all of one incarnation"""
    return sum(name(o, inc) for o in bits(objects))


def commit(scope: Scope, catalog: Catalog, version: int, lease: int, inc: int, uploads: int) -> Catalog | None:
    """Transaction D; None when it cannot be: the lease has ended, or what was to be adopted is gone"""
    if catalog.leases[lease] == ENDED and scope.rules.fence:
        return None
    if scope.rules.commit_pinned and scope.rules.fence and uploaded(uploads, inc) & ~catalog.leases[lease]:
        return None
    needs = scope.versions[version]
    rows = list(catalog.rows)
    for o in needs.objects:
        row = rows[o]
        if present(scope, catalog, o) or (row and row[0] == "deleting" and not scope.rules.deleting_is_absent):
            rows[o] = ("live", row[1], row[2])
        elif uploads >> o & 1:
            rows[o] = ("live", inc, -1)
        else:
            return None
    after = catalog._replace(rows=tuple(rows), leases=put(catalog.leases, lease, ENDED))
    if catalog.versions[version] != "none" and not scope.rules.save_reactivates:
        return after
    held = put(catalog.held, version, mask(needs.blobs))
    return after._replace(held=held, versions=put(catalog.versions, version, "active"))
