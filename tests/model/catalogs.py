"""Catalogs that are made anew from what was exported, and backups of catalogs that are put back"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.model.journal import replay, turn, written
from tests.model.world import ENDED, Catalog, Entry, Local, Scope, State, Step, mask, moved, put, told


@dataclass(frozen=True)
class Rebuilder:
    """Rebuilds the catalog once, as number `number`"""

    number: int
    slots: int = 0

    def start(self) -> Local:
        return ("start", 0)

    def steps(self, scope: Scope, state: State, me: int) -> Iterator[Step]:
        return turn(self, scope, state, me)

    def _start(self, scope: Scope, state: State, me: int, cat: int) -> Iterator[Step]:
        """The new id comes first, so that whoever confirmed the old one exported before the listing"""
        if not scope.rules.identity_first:
            yield from self._list(scope, state, me, self.number)
            return
        named = moved(state, me, ("begin", self.number))
        yield ("rebuild.identity", me), named._replace(ident=self.number)

    def _begin(self, scope: Scope, state: State, me: int, cat: int) -> Iterator[Step]:
        """Then a marker, for other rebuilds to see"""
        begun = state.begun | 1 << cat
        yield ("rebuild.begin", me), moved(state, me, ("list", cat))._replace(begun=begun)

    def _list(self, scope: Scope, state: State, me: int, cat: int) -> Iterator[Step]:
        """Then the listing, and the replay of what the newest catalog exported"""
        parent = newest(scope, state)
        found = chains(scope, state, parent) if parent is not None else []
        if len(found) != 1:
            yield ("rebuild.refuse", me), moved(state, me, ("done", cat))
            return
        own = found[0]
        over = tuple(
            one for one, files in enumerate(state.files) if state.begun >> one & 1 and not files and one != cat
        )
        opening = written(state, me, (), "open", (parent, len(own), own[-1][0], over if scope.rules.over_named else ()))
        made = replay(scope, empty(scope), next(history(scope, state, own)))._replace(journal=(opening,), exported=1)
        at = "confirm" if scope.rules.identity_first else "identity"
        yield ("rebuild.list", me), moved(state, me, (at, cat, made))

    def _identity(self, scope: Scope, state: State, me: int, cat: int, made: Catalog) -> Iterator[Step]:
        """A mutant: the listing came first"""
        named = moved(state, me, ("open", cat, made))
        yield ("rebuild.identity", me), named._replace(ident=cat, begun=state.begun | 1 << cat)

    def _confirm(self, scope: Scope, state: State, me: int, cat: int, made: Catalog) -> Iterator[Step]:
        """Is this still the newest rebuild?"""
        goes_on = state.ident == cat or not scope.rules.rebuild_confirms
        yield ("rebuild.confirm", me), moved(state, me, ("open", cat, made) if goes_on else ("done", cat))

    def _open(self, scope: Scope, state: State, me: int, cat: int, made: Catalog) -> Iterator[Step]:
        """Its first record says what it was made from; with that in the store's journal it is open for work"""
        files = put(state.files, cat, frozenset({(0, made.journal[0])}))
        yield ("rebuild.export", me), moved(state, me, ("replay", cat, made))._replace(files=files)

    def _replay(self, scope: Scope, state: State, me: int, cat: int, made: Catalog) -> Iterator[Step]:
        after = moved(state, me, ("done", cat), cat, made)
        yield ("rebuild.replay", me), after._replace(promised=told(state.promised))


@dataclass(frozen=True)
class Backup:
    """Takes a copy of the catalog at any moment, and puts it back at any later one, under everybody's feet"""

    slots: int = 0

    def start(self) -> Local:
        return ("start", 0)

    def steps(self, scope: Scope, state: State, me: int) -> Iterator[Step]:
        return turn(self, scope, state, me)

    def _start(self, scope: Scope, state: State, me: int, cat: int) -> Iterator[Step]:
        if state.current is not None:
            yield ("backup.take", me), moved(state, me, ("taken", state.ident))._replace(spare=state.current)

    def _taken(self, scope: Scope, state: State, me: int, cat: int) -> Iterator[Step]:
        back = moved(state, me, ("done", cat), cat, state.spare)
        yield ("backup.restore", me), back._replace(era=state.era + 1, spare=None, promised=told(state.promised))


@dataclass(frozen=True)
class Replayer:
    """Takes a catalog that was put back forward, to what was exported"""

    slots: int = 0

    def start(self) -> Local:
        return ("idle", 0)

    def steps(self, scope: Scope, state: State, me: int) -> Iterator[Step]:
        return turn(self, scope, state, me)

    def _idle(self, scope: Scope, state: State, me: int, cat: int) -> Iterator[Step]:
        catalog = state.catalogs[cat]
        assert catalog is not None
        head = len(catalog.journal)
        ahead = [one for one in chains(scope, state, cat) if tuple(one[:head]) == catalog.journal]
        if len(ahead) != 1 or len(ahead[0]) == head:
            return
        after = catalog._replace(leases=(ENDED,) * scope.leases) if scope.rules.replay_ends_leases else catalog
        new = ahead[0][head:]
        after = replay(scope, after, new)._replace(journal=(*catalog.journal, *new))
        after = after._replace(exported=catalog.exported | mask(range(head, head + len(new))))
        yield ("catalog.replay", me), moved(state, me, ("idle", cat), cat, after)


def empty(scope: Scope) -> Catalog:
    """A catalog of nothing"""
    objects = 1 + max(o for version in scope.versions for o in version.objects)
    none = (0,) * len(scope.versions)
    return Catalog((None,) * objects, none, ("none",) * len(scope.versions), (ENDED,) * scope.leases)


def newest(scope: Scope, state: State) -> int | None:
    """The catalog to go on from: the one that no other was made from, or passed over; None when there are several"""
    first = {one: dict(files)[0] for one, files in enumerate(state.files) if any(serial == 0 for serial, _ in files)}
    old: set[int] = set()
    for _, kind, payload, _ in first.values():
        if kind == "open":
            old |= {payload[0], *payload[3]}
    left = [one for one in first if one not in old]
    return left[0] if len(left) == 1 else None


def chains(scope: Scope, state: State, cat: int) -> list[list[Entry]]:
    """The exported records of one catalog, in order, as far as each names the one before

    More than one such order is a fork: a process from before a restore wrote late, and people have to decide.
    """
    if not scope.rules.gapless:
        return [[entry for _, entry in sorted(state.files[cat], key=lambda one: one[0])]]
    after: dict[Any, list[Entry]] = {}
    for serial, entry in state.files[cat]:
        after.setdefault((serial, entry[3]), []).append(entry)
    whole, growing = [], [[entry] for entry in after.get((0, None), [])]
    while growing:
        entries = growing.pop()
        longer = after.get((len(entries), entries[-1][0]), [])
        growing += [[*entries, entry] for entry in longer]
        whole += [] if longer else [entries]
    return whole or [[]]


def history(scope: Scope, state: State, own: list[Entry]) -> Iterator[list[Entry]]:
    """All records that led to a catalog: those of the one it was made from, as far as it says, and its own"""
    if not own or own[0][1] != "open":
        yield own
        return
    parent, taken, head, _ = own[0][2]
    for before in chains(scope, state, parent):
        if scope.rules.head_named and (len(before) < taken or before[taken - 1][0] != head):
            continue
        for entries in history(scope, state, before[:taken] if scope.rules.head_named else before):
            yield entries + own[1:]
