"""The world of the model: catalogs, the store's bytes, and everybody at work; the rules, each of which can be left out

Everything is a value. A step is one transaction, one file system call or one request: what happens at once or not at
all. A crash is a process that never takes another step, a pause is one that takes it late, so both are everywhere.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

INCS = 8
ENDED = -1
Row = tuple[str, int, int]
Local = tuple[Any, ...]
Record = tuple[Any, ...]
Step = tuple[tuple[Any, ...], "State"]


class Catalog(NamedTuple):
    """Rows. `rows` of objects: None or (state, inc, base); `held` of versions: version_blob as a mask of objects

    `leases`: ENDED, or a mask of pinned names.
    """

    rows: tuple[Row | None, ...]
    held: tuple[int, ...]
    versions: tuple[str, ...]
    leases: tuple[int, ...]
    journal: tuple[Record, ...] = ()


class State(NamedTuple):
    """One moment. `disk`: names that exist; `doomed`: names whose delete was sent and may arrive once more"""

    catalogs: tuple[Catalog, ...]
    disk: int
    doomed: int
    procs: tuple[Local, ...]


@dataclass(frozen=True)
class Rules:
    """The sentences of the protocol. A mutant leaves one out"""

    fence: bool = True  # D: the lease ends in the same transaction, and was active
    incarnations: bool = True  # R3: each upload has a name of its own
    fresh_restart: bool = True  # D: restart with new incarnations, reusing nothing
    pin_first: bool = True  # A comes before B (R5)
    pin_adopted: bool = True  # A: what is there is pinned
    deleting_is_absent: bool = True  # D: a deleting row is not adopted
    condemn_unheld: bool = True  # 1: no version needs it
    intent_unpinned: bool = True  # 2: condemned and still no active pin
    one_transaction: bool = True  # 2: looks and writes at once (READ COMMITTED without the lock does not)
    drop_exact: bool = True  # 4: WHERE state='deleting' AND inc=?
    list_first: bool = True  # 5: the listing is older than the look into the catalog
    orphans_unpinned: bool = True  # 5: no active pin


class Process(Protocol):
    """Somebody at work. `slots`: leases, and incarnations, that it may use"""

    slots: int

    def start(self) -> Local: ...

    def steps(self, scope: "Scope", state: State, me: int) -> Iterator[Step]: ...


@dataclass(frozen=True)
class Version:
    """Objects that a version needs: blobs, and its manifest where the scope has one"""

    blobs: tuple[int, ...]
    manifest: int | None = None

    @property
    def objects(self) -> tuple[int, ...]:
        return self.blobs if self.manifest is None else (*self.blobs, self.manifest)


@dataclass(frozen=True)
class Scope:
    """Who and what there is. `garbage`: objects that may lie there unneeded at the beginning"""

    name: str
    versions: tuple[Version, ...]
    processes: tuple[Process, ...]
    rules: Rules = field(default_factory=Rules)
    garbage: tuple[int, ...] = ()
    invariants: tuple[Callable[["Scope", State], str | None], ...] = ()

    def __post_init__(self) -> None:
        slots, taken = [], 0
        for process in self.processes:
            slots.append(taken)
            taken += process.slots
        if taken >= INCS:
            raise ValueError("More incarnations than a name has room for")
        objects = 1 + max(o for version in self.versions for o in version.objects)
        put_all = object.__setattr__
        put_all(self, "slots", tuple(slots))
        put_all(self, "leases", taken)
        put_all(self, "objects", objects)
        put_all(
            self,
            "twins",
            [
                me
                for me in range(1, len(slots))
                if self.processes[me] == self.processes[me - 1] and not self.processes[me].slots
            ],
        )

    def inc(self, me: int, attempt: int) -> int:
        """The incarnation that a process gives to what it uploads; 0 is what was there at the beginning"""
        if not self.rules.incarnations:
            return 0
        return 1 + self.slots[me] + (attempt if self.rules.fresh_restart else 0)

    def starts(self) -> Iterable[State]:
        """An empty store, and one with garbage in it"""
        local = tuple(process.start() for process in self.processes)
        for some in (self.garbage, ()) if self.garbage else ((),):
            rows = tuple(("live", 0, -1) if o in some else None for o in range(self.objects))
            none = (0,) * len(self.versions)
            catalog = Catalog(rows, none, ("none",) * len(self.versions), (ENDED,) * self.leases)
            yield State((catalog,), sum(name(o, 0) for o in some), 0, local)

    def steps(self, state: State) -> Iterator[Step]:
        """Everything that may happen next"""
        for me, process in enumerate(self.processes):
            for label, after in process.steps(self, state, me):
                yield label, self._sorted(after)
        for at, catalog in enumerate(state.catalogs):
            for lease, pins in enumerate(catalog.leases):
                if pins != ENDED:
                    ended = catalog._replace(leases=put(catalog.leases, lease, ENDED))
                    yield ("gc.reap", lease), state._replace(catalogs=put(state.catalogs, at, ended))

    def _sorted(self, state: State) -> State:
        """Equal processes that own nothing are told apart by nothing, so one order of them stands for all"""
        for me in self.twins:
            if state.procs[me] < state.procs[me - 1]:
                swapped = put(put(state.procs, me, state.procs[me - 1]), me - 1, state.procs[me])
                return self._sorted(state._replace(procs=swapped))
        return state

    def check(self, state: State) -> str | None:
        """The first invariant that does not hold, or None"""
        for invariant in self.invariants:
            if problem := invariant(self, state):
                return problem
        return None


def name(o: int, inc: int) -> int:
    """The bit of a physical object in a mask"""
    return 1 << (o * INCS + inc)


def names(mask: int) -> Iterator[tuple[int, int]]:
    """(object, incarnation) of every bit"""
    while mask:
        low = mask & -mask
        yield divmod(low.bit_length() - 1, INCS)
        mask ^= low


def put(items: tuple[Any, ...], at: int, item: Any) -> tuple[Any, ...]:
    """The tuple with one item replaced"""
    return (*items[:at], item, *items[at + 1 :])


def pinned(catalog: Catalog) -> int:
    """Names that an active lease pins"""
    mask = 0
    for pins in catalog.leases:
        if pins != ENDED:
            mask |= pins
    return mask


def row_names(catalog: Catalog) -> int:
    """Names that rows have, in any state"""
    mask = 0
    for o, row in enumerate(catalog.rows):
        if row is not None:
            mask |= name(o, row[1])
    return mask
