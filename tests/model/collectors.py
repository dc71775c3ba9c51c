"""Collectors: steps 0 to 5"""

from collections.abc import Iterator
from dataclasses import dataclass

from tests.model.savers import moved
from tests.model.world import Catalog, Local, Scope, State, Step, name, names, pinned, put, row_names


@dataclass(frozen=True)
class Collector:
    """Condemns, deletes and clears orphans for ever, with a grace of zero; all of them are alike"""

    slots: int = 0

    def start(self) -> Local:
        return ("idle", 0)

    def steps(self, scope: Scope, state: State, me: int) -> Iterator[Step]:
        local = state.procs[me]
        return getattr(self, "_" + local[0])(scope, state, me, *local[1:])

    def _idle(self, scope: Scope, state: State, me: int, cat: int) -> Iterator[Step]:
        catalog = state.catalogs[cat]
        for o, row in enumerate(catalog.rows):
            if row is None:
                continue
            if row[0] == "live" and unneeded(catalog, o, unheld=scope.rules.condemn_unheld):
                after = catalog._replace(rows=put(catalog.rows, o, ("condemned", *row[1:])))
                yield ("gc.condemn", me, o), moved(state, me, ("idle", cat), cat, after)
            elif row[0] == "condemned" and unneeded(catalog, o, unpinned=scope.rules.intent_unpinned):
                if scope.rules.one_transaction:
                    yield self._intend(state, me, cat, o)
                else:
                    yield ("gc.look", me, o), moved(state, me, ("looked", cat, o))
            elif row[0] == "deleting":
                yield ("gc.resume", me, o), moved(state, me, ("trash", cat, o, row[1]))
        if scope.rules.list_first:
            for o, inc in names(state.disk):
                yield ("gc.list", me, o, inc), moved(state, me, ("listed", cat, o, inc))
        else:
            known = row_names(catalog) | pinned(catalog)
            yield ("gc.known", me), moved(state, me, ("known", cat, known))

    def _intend(self, state: State, me: int, cat: int, o: int) -> Step:
        catalog = state.catalogs[cat]
        row = catalog.rows[o]
        after = catalog._replace(rows=put(catalog.rows, o, ("deleting", *row[1:])))
        return ("gc.intent", me, o), moved(state, me, ("trash", cat, o, row[1]), cat, after)

    def _looked(self, scope: Scope, state: State, me: int, cat: int, o: int) -> Iterator[Step]:
        row = state.catalogs[cat].rows[o]
        if row is not None and row[0] == "condemned":
            yield self._intend(state, me, cat, o)
        else:
            yield ("gc.pass", me, o), moved(state, me, ("idle", cat))

    def _trash(self, scope: Scope, state: State, me: int, cat: int, o: int, inc: int) -> Iterator[Step]:
        bit = name(o, inc)
        after = moved(state, me, ("drop", cat, o, inc))
        yield ("gc.trash", me, o, inc), after._replace(disk=state.disk & ~bit, doomed=state.doomed | bit)

    def _drop(self, scope: Scope, state: State, me: int, cat: int, o: int, inc: int) -> Iterator[Step]:
        catalog = state.catalogs[cat]
        row = catalog.rows[o]
        hit = row is not None and ((row[0] == "deleting" and row[1] == inc) or not scope.rules.drop_exact)
        after = catalog._replace(rows=put(catalog.rows, o, None)) if hit else catalog
        yield ("gc.drop", me, o, inc), moved(state, me, ("idle", cat), cat, after)

    def _listed(self, scope: Scope, state: State, me: int, cat: int, o: int, inc: int) -> Iterator[Step]:
        catalog = state.catalogs[cat]
        known = row_names(catalog) | (pinned(catalog) if scope.rules.orphans_unpinned else 0)
        local = ("idle", cat) if known & name(o, inc) else ("stray", cat, o, inc)
        yield ("gc.orphans", me, o, inc), moved(state, me, local)

    def _known(self, scope: Scope, state: State, me: int, cat: int, known: int) -> Iterator[Step]:
        """A mutant: the catalog was looked at before the listing"""
        for o, inc in names(state.disk & ~known):
            yield ("gc.list", me, o, inc), moved(state, me, ("stray", cat, o, inc))

    def _stray(self, scope: Scope, state: State, me: int, cat: int, o: int, inc: int) -> Iterator[Step]:
        bit = name(o, inc)
        after = moved(state, me, ("idle", cat))
        yield ("gc.trash", me, o, inc), after._replace(disk=state.disk & ~bit, doomed=state.doomed | bit)


def unneeded(catalog: Catalog, o: int, *, unheld: bool = True, unpinned: bool = True) -> bool:
    """No version, no active pin (and no row that is based on it) keeps an object"""
    row = catalog.rows[o]
    if unpinned and pinned(catalog) & name(o, row[1]):
        return False
    return not (unheld and any(held >> o & 1 for held in catalog.held))
