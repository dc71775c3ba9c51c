"""The journal: records of transactions, their export, and what a catalog is when they are replayed

An entry is (txid, kind, payload, previous txid); its serial is its place. In a scope without a journal nothing is written down.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any

from tests.model.world import Catalog, Entry, Local, Process, Row, Scope, State, Step, mask, moved, put

Named = tuple[int, int, int]
Written = tuple[int, Entry]


def record(
    scope: Scope, state: State, me: int, cat: int, after: Catalog, entry: tuple[str, tuple], then: Local
) -> State:
    """The state after a transaction that writes its record beside; what comes `then` waits for the export and for F"""
    if not scope.journal:
        return moved(state, me, then, cat, after)
    own = written(state, me, after.journal, *entry)
    after = after._replace(journal=(*after.journal, own))
    return publish(scope, moved(state, me, then, cat, after), me, cat, own)


def written(state: State, me: int, journal: tuple[Entry, ...], kind: str, payload: tuple[Any, ...]) -> Entry:
    """A record: txid, kind, payload, and the txid before"""
    return (me, state.era, len(journal)), kind, payload, journal[-1][0] if journal else None


def publish(scope: Scope, state: State, me: int, cat: int, own: Entry | None = None) -> State:
    """The state in which all records up to now, or up to one's own, are exported before the process goes on"""
    catalog, then = state.catalogs[cat], state.procs[me]
    last = len(catalog.journal) - 1
    if scope.backups:
        return moved(state, me, ("export", cat, last, own, then))
    return moved(state, me, ("publish", cat, last, then))


def turn(process: Process, scope: Scope, state: State, me: int) -> Iterator[Step]:
    """What a process may do, by the first word of its state; nothing when that word means the end"""
    local = state.procs[me]
    common = _COMMON.get(local[0])
    if common is not None:
        return common(scope, state, me, *local[1:])
    step = getattr(process, "_" + local[0], None)
    steps = step(scope, state, me, *local[1:]) if step else iter(())
    return chain(_reopen(process, state, me), steps) if scope.journal else steps


def _reopen(process: Process, state: State, me: int) -> Iterator[Step]:
    """Who works for ever may begin anew with the catalog that the store names now, when that one knows its journal"""
    at, cat, *rest = state.procs[me]
    now = state.ident
    if at == "idle" and cat != now and knows(state, now):
        yield ("open", me), moved(state, me, ("idle", now, *rest))
    if at == "refused" and process.start() == ("idle", 0) and knows(state, now):
        yield ("open", me), moved(state, me, ("idle", now))


def _publish(scope: Scope, state: State, me: int, cat: int, last: int, then: Local) -> Iterator[Step]:
    """E: records up to one's own, each a file of its own, that come into being in any order

    Later ones may be exported with them, but that is what their own writers may do at this moment, too.
    """
    todo = frozenset(enumerate(state.catalogs[cat].journal[: last + 1])) - state.files[cat]
    for one in todo:
        files = put(state.files, cat, state.files[cat] | {one})
        yield ("journal.export", me, one[0]), state._replace(files=files)
    if not todo:
        yield from _assure(scope, state, me, cat, then)


def _export(scope: Scope, state: State, me: int, cat: int, last: int, own: Entry | None, then: Local) -> Iterator[Step]:
    """E, where a backup may be put back: what is pending is read once, and may be written when the catalog lost it"""
    catalog = state.catalogs[cat]
    assert catalog is not None
    if own is not None and scope.rules.export_own and catalog.journal[last : last + 1] != (own,):
        yield ("journal.gone", me), moved(state, me, ("refused", cat))
        return
    pending = frozenset(one for one in enumerate(catalog.journal) if not catalog.exported >> one[0] & 1)
    at = ("send", cat, pending, pending, then) if pending else ("assure", cat, then)
    yield ("journal.pending", me), moved(state, me, at)


def _send(
    scope: Scope, state: State, me: int, cat: int, left: frozenset[Written], sent: frozenset[Written], then: Local
) -> Iterator[Step]:
    for one in left:
        files = put(state.files, cat, state.files[cat] | {one})
        after = moved(state, me, ("send", cat, left - {one}, sent, then))
        yield ("journal.export", me, one[0]), after._replace(files=files)
    if not left:
        at = "look" if scope.rules.look_before_mark else "mark"
        yield from _COMMON[at](scope, state, me, cat, sent, then)


def _look(scope: Scope, state: State, me: int, cat: int, sent: frozenset[Written], then: Local) -> Iterator[Step]:
    """Does the catalog know all that the store's journal says? Another record in the place of ours is another's"""
    if scope.rules.confirm_known and not knows(state, cat):
        yield ("journal.refuse", me), moved(state, me, ("refused", cat))
    else:
        at = ("mark", cat, sent, then) if scope.rules.look_before_mark else ("assure", cat, then)
        yield ("journal.look", me), moved(state, me, at)


def _mark(scope: Scope, state: State, me: int, cat: int, sent: frozenset[Written], then: Local) -> Iterator[Step]:
    """The catalog remembers that these need not be exported again"""
    catalog = state.catalogs[cat]
    assert catalog is not None
    known = frozenset(enumerate(catalog.journal))
    done = mask(one[0] for one in sent if one in known or not scope.rules.mark_by_txid)
    at = ("assure", cat, then) if scope.rules.look_before_mark else ("look", cat, sent, then)
    yield ("journal.mark", me), moved(state, me, at, cat, catalog._replace(exported=catalog.exported | done))


def _assure(scope: Scope, state: State, me: int, cat: int, then: Local) -> Iterator[Step]:
    """F: is this still the catalog of the store?"""
    confirms = scope.rules.save_confirms if then[0] == "ack" else scope.rules.intent_confirms
    if confirms and state.ident != cat:
        yield ("journal.refuse", me), moved(state, me, ("refused", cat))
    else:
        yield ("journal.confirm", me), moved(state, me, then)


_COMMON: dict[str, Callable[..., Iterator[Step]]] = {
    "publish": _publish,
    "export": _export,
    "send": _send,
    "look": _look,
    "mark": _mark,
    "assure": _assure,
}


def knows(state: State, cat: int) -> bool:
    """Whether the catalog knows every record that the store's journal has under its id"""
    catalog = state.catalogs[cat]
    files = state.files[cat]
    return catalog is not None and (not files or files <= frozenset(enumerate(catalog.journal)))


def replay(scope: Scope, catalog: Catalog, entries: Iterable[Entry]) -> Catalog:
    """The catalog after these records"""
    named: dict[int, list[Row]] = {}
    banned: set[Named] = set()
    for _, kind, payload, _ in entries:
        catalog = _REPLAY[kind](scope, catalog, *payload)
        if kind in ("save", "heal"):
            for o, inc, base in payload[1] if kind == "save" else payload:
                named.setdefault(o, []).append(("live", inc, base))
        elif kind in ("intent", "strays"):
            banned |= {one[:2] for one in payload}
    if scope.rules.intent_is_final:
        return catalog
    rows = list(catalog.rows)
    for o, incs in named.items():
        left = [row for row in incs if (o, row[1]) not in banned]
        rows[o] = rows[o] or (left[-1] if left else None)
    return catalog._replace(rows=tuple(rows))


def _save(scope: Scope, catalog: Catalog, version: int, named: tuple[Named, ...]) -> Catalog:
    catalog = _heal(scope, catalog, *named)
    held = put(catalog.held, version, mask(scope.versions[version].blobs))
    return catalog._replace(held=held, versions=put(catalog.versions, version, "active"))


def _heal(scope: Scope, catalog: Catalog, *named: Named) -> Catalog:
    for o, inc, base in named:
        catalog = catalog._replace(rows=put(catalog.rows, o, ("live", inc, base)))
    return catalog


def _damaged(scope: Scope, catalog: Catalog, *named: Named) -> Catalog:
    for o, inc, base in named:
        row = catalog.rows[o]
        if row is not None and row[1] == inc:
            catalog = catalog._replace(rows=put(catalog.rows, o, ("damaged", inc, base)))
    return catalog


def _retire(scope: Scope, catalog: Catalog, version: int) -> Catalog:
    versions = put(catalog.versions, version, "retired")
    return catalog._replace(held=put(catalog.held, version, 0), versions=versions)


def _intent(scope: Scope, catalog: Catalog, *named: Named) -> Catalog:
    for o, inc, _ in named:
        row = catalog.rows[o]
        if row is not None and row[1] == inc:
            catalog = catalog._replace(rows=put(catalog.rows, o, None))
    return catalog


def _mark(scope: Scope, catalog: Catalog, version: int, bit: int) -> Catalog:
    return catalog._replace(marked=catalog.marked & ~(1 << version) | bit)


_REPLAY: dict[str, Callable[..., Catalog]] = {
    "save": _save,
    "heal": _heal,
    "damaged": _damaged,
    "retire": _retire,
    "intent": _intent,
    "strays": _intent,
    "mark": _mark,
}
