"""Collectors: steps 1 to 5; step 0, the end of a lease, may happen at any moment and is the world's"""

from collections.abc import Iterator
from dataclasses import dataclass

from tests.model.journal import publish, record, turn
from tests.model.world import Catalog, Local, Scope, State, Step, gone, moved, name, names, pinned, put, row_names


@dataclass(frozen=True)
class Collector:
    """Releases, condemns, deletes and clears orphans for ever, with a grace of zero; all of them are alike"""

    slots: int = 0

    def start(self) -> Local:
        return ("idle", 0)

    def steps(self, scope: Scope, state: State, me: int) -> Iterator[Step]:
        return turn(self, scope, state, me)

    def _idle(self, scope: Scope, state: State, me: int, cat: int) -> Iterator[Step]:
        catalog = state.catalogs[cat]
        for o, row in enumerate(catalog.rows):
            if row is not None:
                yield from self._advance(scope, state, me, cat, o)
        for version, is_now in enumerate(catalog.versions):
            if is_now in ("retired", "swept") and catalog.held[version]:
                if scope.rules.release_retired:
                    yield self._released(state, me, cat, version)
                else:
                    yield ("gc.look", me, version), moved(state, me, ("release", cat, version))
        if scope.rules.list_first:
            for o, inc in names(state.disk):
                yield ("gc.list", me, o, inc), moved(state, me, ("listed", cat, o, inc))
        else:
            known = row_names(catalog) | pinned(catalog)
            yield ("gc.look", me), moved(state, me, ("looked", cat, known))

    def _released(self, state: State, me: int, cat: int, version: int) -> Step:
        """A retired version gives up one of its blobs; not journaled, since it follows from the retirement"""
        catalog = state.catalogs[cat]
        held = catalog.held[version]
        after = catalog._replace(held=put(catalog.held, version, held & (held - 1)))
        return ("gc.release", me, version), moved(state, me, ("idle", cat), cat, after)

    def _release(self, scope: Scope, state: State, me: int, cat: int, version: int) -> Iterator[Step]:
        """A mutant: it was retired when it was looked at"""
        yield self._released(state, me, cat, version)

    def _advance(self, scope: Scope, state: State, me: int, cat: int, o: int) -> Iterator[Step]:
        catalog = state.catalogs[cat]
        row = catalog.rows[o]
        assert row is not None
        due = ("condemned", "damaged") if scope.rules.collect_damaged else ("condemned",)
        if row[0] == "live" and unneeded(scope, catalog, o, unheld=scope.rules.condemn_unheld):
            after = catalog._replace(rows=put(catalog.rows, o, ("condemned", *row[1:])))
            yield ("gc.condemn", me, o), moved(state, me, ("idle", cat), cat, after)
        elif row[0] in due and unneeded(scope, catalog, o, unpinned=scope.rules.intent_unpinned):
            if scope.rules.one_transaction:
                yield self._intend(scope, state, me, cat, o)
            else:
                yield ("gc.look", me, o), moved(state, me, ("due", cat, o))
        elif row[0] == "deleting":
            then = ("trash", cat, o, row[1])
            resumed = moved(state, me, then)
            exports = scope.journal and scope.rules.resume_exports
            yield ("gc.resume", me, o), publish(scope, resumed, me, cat) if exports else resumed

    def _intend(self, scope: Scope, state: State, me: int, cat: int, o: int) -> Step:
        """2: a version whose manifest goes cannot come back; its row stays, as a memory"""
        catalog = state.catalogs[cat]
        _, inc, base = catalog.rows[o]
        versions = tuple(
            "swept" if is_now == "retired" and scope.versions[v].manifest == o else is_now
            for v, is_now in enumerate(catalog.versions)
        )
        after = catalog._replace(rows=put(catalog.rows, o, ("deleting", inc, base)), versions=versions)
        then = ("trash", cat, o, inc)
        named = record(scope, state, me, cat, after, ("intent", ((o, inc, base),)), then)
        return ("gc.intent", me, o), named if scope.rules.intent_exported else moved(named, me, then)

    def _due(self, scope: Scope, state: State, me: int, cat: int, o: int) -> Iterator[Step]:
        """A mutant: it looked before, and now writes"""
        row = state.catalogs[cat].rows[o]
        if row is not None and row[0] == "condemned":
            yield self._intend(scope, state, me, cat, o)
        else:
            yield ("gc.pass", me, o), moved(state, me, ("idle", cat))

    def _trash(self, scope: Scope, state: State, me: int, cat: int, o: int, inc: int) -> Iterator[Step]:
        """3"""
        yield ("gc.trash", me, o, inc), gone(moved(state, me, ("drop", cat, o, inc)), name(o, inc))

    def _drop(self, scope: Scope, state: State, me: int, cat: int, o: int, inc: int) -> Iterator[Step]:
        """4"""
        catalog = state.catalogs[cat]
        row = catalog.rows[o]
        hit = row is not None and (row[:2] == ("deleting", inc) or not scope.rules.drop_exact)
        after = catalog._replace(rows=put(catalog.rows, o, None)) if hit else catalog
        yield ("gc.drop", me, o, inc), moved(state, me, ("idle", cat), cat, after)

    def _listed(self, scope: Scope, state: State, me: int, cat: int, o: int, inc: int) -> Iterator[Step]:
        """5: the catalog is asked after the listing"""
        catalog = state.catalogs[cat]
        known = row_names(catalog) | (pinned(catalog) if scope.rules.orphans_unpinned else 0)
        if known & name(o, inc):
            yield ("gc.orphans", me, o, inc), moved(state, me, ("idle", cat))
            return
        then = ("stray", cat, o, inc)
        if scope.rules.strays_intended:
            after = record(scope, state, me, cat, catalog, ("strays", ((o, inc, -1),)), then)
        else:
            after = moved(state, me, then)
            after = publish(scope, after, me, cat) if scope.journal and scope.rules.strays_exported else after
        yield ("gc.orphans", me, o, inc), after

    def _looked(self, scope: Scope, state: State, me: int, cat: int, known: int) -> Iterator[Step]:
        """A mutant: the catalog was asked before the listing"""
        for o, inc in names(state.disk & ~known):
            yield ("gc.list", me, o, inc), moved(state, me, ("stray", cat, o, inc))

    def _stray(self, scope: Scope, state: State, me: int, cat: int, o: int, inc: int) -> Iterator[Step]:
        yield ("gc.trash", me, o, inc), gone(moved(state, me, ("idle", cat)), name(o, inc))


def unneeded(scope: Scope, catalog: Catalog, o: int, *, unheld: bool = True, unpinned: bool = True) -> bool:
    """No version, no active pin, and no row in any state that is based on it, keeps an object"""
    row = catalog.rows[o]
    assert row is not None
    wanted = (name(1, 0) - 1) * name(o, 0) if scope.rules.pins_by_digest else name(o, row[1])
    if unpinned and pinned(catalog) & wanted:
        return False
    rows = [one for one in catalog.rows if one is not None and (one[0] == "live" or scope.rules.base_of_any)]
    if any(one[2] == o for one in rows):
        return False
    if not unheld:
        return True
    if scope.rules.manifest_of_active:
        for version, is_now in enumerate(catalog.versions):
            if is_now == "active" and scope.versions[version].manifest == o:
                return False
    return not any(held >> o & 1 for held in catalog.held)


@dataclass(frozen=True)
class Network:
    """Sends every request that was ever sent once more, as late as it likes: deletes, and puts of what was deleted"""

    slots: int = 0

    def start(self) -> Local:
        return ("idle", 0)

    def steps(self, scope: Scope, state: State, me: int) -> Iterator[Step]:
        for o, inc in names(state.doomed & state.disk):
            yield ("network.delete", o, inc), state._replace(disk=state.disk & ~name(o, inc))
        for o, inc in names(state.doomed & ~state.disk):
            yield ("network.put", o, inc), state._replace(disk=state.disk | name(o, inc))
