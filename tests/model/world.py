"""The world of the model: catalogs, the store's bytes, everybody at work, and all that may happen next

Everything is a value. A step is one transaction, one file system call or one request: what happens at once or not at
all. A crash is a process that never takes another step, a pause is one that takes it late, so both are everywhere.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from tests.model.rules import Rules

INCS = 8
ENDED = -1
PRESENT = ("live", "condemned")
Row = tuple[str, int, int]
Local = tuple[Any, ...]
Entry = tuple[Any, ...]
Step = tuple[tuple[Any, ...], "State"]
_HOLD = 64
_OFFERED = 8
_MARKS = 16
_HURT = 24
_TOLD = 32


class Catalog(NamedTuple):
    """Rows of one catalog

    rows: of each object None or (state, incarnation, base); held: of each version its version_blob, a mask of objects;
    leases: ENDED, or a mask of pinned names and held versions; marked: versions with an alias or a person's pin;
    journal: entries, their serial is their place; exported: serials that are marked so.
    """

    rows: tuple[Row | None, ...]
    held: tuple[int, ...]
    versions: tuple[str, ...]
    leases: tuple[int, ...]
    marked: int = 0
    journal: tuple[Entry, ...] = ()
    exported: int = 0


class State(NamedTuple):
    """One moment

    disk: names that exist; doomed: names whose delete was sent and may arrive once more; promised: versions that were
    acknowledged and not retired since, and, shifted, processes that may acknowledge one yet; ident: the catalog that
    artstore.json names; begun: catalogs whose rebuild left its marker; files: of each catalog the records that were exported; era: how
    often a backup was put back; spare: that backup.
    """

    catalogs: tuple[Catalog | None, ...]
    disk: int
    doomed: int
    promised: int
    procs: tuple[Local, ...]
    ident: int = 0
    begun: int = 0
    files: tuple[frozenset[tuple[int, Entry]], ...] = (frozenset(),)
    era: int = 0
    spare: Catalog | None = None

    @property
    def current(self) -> Catalog | None:
        """The catalog that the store names; None while it is being made"""
        return self.catalogs[self.ident]


class Process(Protocol):
    """Somebody at work. `slots`: leases, and incarnations, that it may use"""

    @property
    def slots(self) -> int: ...

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


# hashed by what it is, not by all it holds: it is asked a million times
@dataclass(frozen=True, eq=False)
class Scope:
    """Who and what there is

    Worlds begin empty, with `garbage` (objects that no version needs), and with the versions `saved` before.
    """

    name: str
    versions: tuple[Version, ...]
    processes: tuple[Process, ...]
    rules: Rules = field(default_factory=Rules)
    garbage: tuple[int, ...] = ()
    saved: tuple[int, ...] = ()
    journal: bool = False
    rebuilds: int = 0
    backups: bool = False
    invariants: tuple[Callable[["Scope", State], str | None], ...] = ()
    slots: tuple[int, ...] = field(init=False)
    twins: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        counts = [process.slots for process in self.processes]
        slots = tuple(sum(counts[:me]) for me in range(len(counts)))
        pairs = zip(self.processes, self.processes[1:], strict=False)
        twins = tuple(me for me, (one, other) in enumerate(pairs, 1) if one == other and not one.slots)
        object.__setattr__(self, "slots", slots)
        object.__setattr__(self, "twins", twins)
        if self.leases >= INCS:
            raise ValueError("More incarnations than a name has room for")

    def makers(self, version: int) -> int:
        """The bits, in `promised`, of those who may acknowledge a version"""
        return sum(offered(me) for me, one in enumerate(self.processes) if getattr(one, "version", None) == version)

    @property
    def leases(self) -> int:
        return sum(process.slots for process in self.processes)

    def inc(self, me: int, attempt: int) -> int:
        """The incarnation that a process gives to what it uploads; 0 is what was there at the beginning"""
        if not self.rules.incarnations:
            return 0
        return 1 + self.slots[me] + (attempt if self.rules.fresh_restart else 0)

    def starts(self) -> Iterable[State]:
        """The worlds it begins with"""
        if not self.journal:
            yield self._start((), ())
            if self.garbage:
                yield self._start(self.garbage, ())
        if self.saved:
            yield self._start(self.garbage, self.saved)

    def _start(self, garbage: tuple[int, ...], saved: tuple[int, ...]) -> State:
        there = {*garbage, *(o for version in saved for o in self.versions[version].objects)}
        objects = 1 + max(o for version in self.versions for o in version.objects)
        entries = tuple(
            (
                (-1, 0, at),
                "save",
                (v, tuple((o, 0, -1) for o in self.versions[v].objects)),
                (-1, 0, at - 1) if at else None,
            )
            for at, v in enumerate(saved)
        )
        catalog = Catalog(
            rows=tuple(("live", 0, -1) if o in there else None for o in range(objects)),
            held=tuple(mask(needs.blobs) if v in saved else 0 for v, needs in enumerate(self.versions)),
            versions=tuple("active" if v in saved else "none" for v in range(len(self.versions))),
            leases=(ENDED,) * self.leases,
            journal=entries if self.journal else (),
            exported=mask(range(len(entries))) if self.backups else 0,
        )
        none = (None,) * self.rebuilds
        files = (frozenset(enumerate(catalog.journal)), *(frozenset() for _ in none))
        procs = tuple(process.start() for process in self.processes)
        return State((catalog, *none), sum(name(o, 0) for o in there), 0, mask(saved), procs, files=files)

    def steps(self, state: State) -> Iterator[Step]:
        """Everything that may happen next"""
        for me, process in enumerate(self.processes):
            for label, after in process.steps(self, state, me):
                yield label, self._sorted(after)
        for at, catalog in enumerate(state.catalogs):
            for lease, pins in enumerate(catalog.leases if catalog is not None else ()):
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


def moved(state: State, me: int, local: Local, cat: int = 0, catalog: Catalog | None = None) -> State:
    """The state after a step of one process, which may have changed a catalog"""
    catalogs = state.catalogs if catalog is None else put(state.catalogs, cat, catalog)
    return state._replace(catalogs=catalogs, procs=put(state.procs, me, local))


def gone(state: State, bits: int) -> State:
    """The state after these names were deleted"""
    return state._replace(disk=state.disk & ~bits, doomed=state.doomed | bits)


def name(o: int, inc: int) -> int:
    """The bit of a physical object"""
    return 1 << (o * INCS + inc)


def names(bits: int) -> Iterator[tuple[int, int]]:
    """(object, incarnation) of every bit"""
    while bits:
        low = bits & -bits
        yield divmod(low.bit_length() - 1, INCS)
        bits ^= low


def hold(version: int) -> int:
    """The bit, in a lease, of a version that is being read"""
    return 1 << (_HOLD + version)


def offered(me: int) -> int:
    """The bit, in `promised`, of a process that committed a version which was not retired since"""
    return 1 << (_OFFERED + me)


def hurt(version: int) -> int:
    """The bit, in `promised`, of a version of which something was found damaged since it was last saved"""
    return 1 << (_HURT + version)


def told(promised: int) -> int:
    """The same with those hurt of whom nobody was told yet that they are whole again"""
    return promised | (promised >> _TOLD << _HURT)


def hurt_untold(version: int) -> int:
    """The bit, in `promised`, of a version that was hurt, until somebody is told that it is saved again"""
    return 1 << (_TOLD + version)


def present(scope: Scope, catalog: Catalog, o: int) -> bool:
    """Whether an object is there to be adopted: live or condemned, and so is what it is based on"""
    row = catalog.rows[o]
    if row is None or row[0] not in PRESENT:
        return False
    base = catalog.rows[row[2]] if row[2] != -1 and scope.rules.delta_needs_base else row
    return base is not None and base[0] in PRESENT


def marks(version: int) -> int:
    """The bit, in `promised`, of a version whose mark was acknowledged"""
    return 1 << (_MARKS + version)


def mask(numbers: Iterable[int]) -> int:
    """Numbers as bits"""
    bits = 0
    for number in numbers:
        bits |= 1 << number
    return bits


def put(items: tuple[Any, ...], at: int, item: Any) -> tuple[Any, ...]:
    """The tuple with one item replaced"""
    return (*items[:at], item, *items[at + 1 :])


def pinned(catalog: Catalog) -> int:
    """What active leases pin and hold"""
    bits = 0
    for pins in catalog.leases:
        if pins != ENDED:
            bits |= pins
    return bits


def row_names(catalog: Catalog) -> int:
    """Names that rows have, in any state"""
    bits = 0
    for o, row in enumerate(catalog.rows):
        if row is not None:
            bits |= name(o, row[1])
    return bits
