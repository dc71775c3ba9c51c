"""A store and its model side by side: acts are done to both, step by step, whole, crossed or killed"""

import dataclasses
import itertools
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from artifactstore.blobs.layout import journal_prefix
from artifactstore.blobs.memory import MemoryBlobs
from artifactstore.core.errors import Conflict, StoreError
from artifactstore.core.events import Event, Step
from artifactstore.depot import Depot
from artifactstore.journal import parse_name
from tests.crash import harness
from tests.machines.look import Look, Row, look
from tests.machines.model import Model, Use
from tests.machines.places import Copy, Place

# the same in every run, so that one that fails can be had again
_BEGINNING = 1_900_000_000_000_000
_EXPORTED = "journal.export.after"
_COMMITTED = {"save.commit.after", "gc.retire.after", "gc.intent.after", "undo.commit.after"}


_OVERTAKEN = ("conflict", "not-found.catalog", "unavailable")


@dataclass
class Deed:
    """An act about to be done. effects: what a reached step has changed; refused: codes that are right at this moment

    done: what else has changed at its end. killed: what follows when it dies on the way. renews: it makes a catalog anew,
    which may overtake everybody else.
    """

    run: Callable[[Depot], Any]
    effects: dict[str, Callable[[], None]] = field(default_factory=dict)
    refused: Callable[[], set[str]] = set
    done: Callable[[], None] = lambda: None
    killed: Callable[[], None] = lambda: None
    renews: bool = False
    # it changed rows that no journal has yet, and then a catalog was put back that has not got them
    pending: bool = False
    undone: bool = False


Hear = Callable[[int, str], None]


class Act(Protocol):
    """Something that may be done to a store"""

    def begin(self, world: "World") -> Deed:
        """Decide on what exactly, as things are"""


@dataclass(frozen=True)
class Backup:
    """A copy of the catalog, with what no journal tells of it"""

    copy: Copy
    catalog: str
    serial: int
    uses: dict[str, Use]
    # all it has, while the journal has less
    ahead: Model | None


class World:
    """One store, as the model has it and as it is"""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.model = Model()
        # what the journal beside the blobs says, while that is less than the catalog
        self.durable: Model | None = None
        # what may be instead, after an act that was overtaken before anybody acknowledged it
        self.doubt: Model | None = None
        self.donor = MemoryBlobs("donor")
        self.moment = _BEGINNING
        self.backups: list[Backup] = []
        self.depots: list[Depot] = []
        # the last one that was closed
        self.closed: list[Depot] = []
        self.deeds: list[Deed] = []
        self.renewed = 0
        self.copies = itertools.count()
        self.depot = place.open(self.now)
        self.depots.append(self.depot)

    def twin(self, twin_of: Callable[[Place], Place]) -> "World":
        """The same in a copy of its place, from when nobody is at work and no catalog was copied"""
        assert not self.deeds
        assert not self.backups
        self._let_go()
        other = World(twin_of(self.place))
        other.model, other.durable = self.model.copy(), self.durable and self.durable.copy()
        other.donor, other.moment, other.renewed = self.donor, self.moment, self.renewed
        return other

    def now(self) -> int:
        return self.moment

    def another(self) -> Depot:
        """As another process has it"""
        depot = self.place.again(self.depot)
        self.depots.append(depot)
        return depot

    @contextmanager
    def _of_another(self, deed: Deed) -> Iterator[Depot]:
        if deed.renews:
            # who makes a catalog anew opens none
            yield self.depot
            return
        depot = self.another()
        try:
            yield depot
        finally:
            self.close(depot)

    def close(self, depot: Depot) -> None:
        depot.close()
        self.depots.remove(depot)
        self.closed = [depot]

    def reopen(self) -> None:
        old, self.depot = self.depot, self.another()
        self.close(old)

    def remove(self) -> None:
        for depot in self.depots:
            depot.close()
        self._drop(lambda _: True)
        self.place.remove()

    def do(self, act: Act, hear: Hear = lambda number, step: None) -> bool:
        """Do it whole, and tell of every step, numbered from 0; False: it was refused, as it should be"""
        numbers = itertools.count()
        return self._perform(act.begin(self), self.depot, lambda step: hear(next(numbers), step))

    def beside(self, act: Act) -> bool:
        """Do it as another process does, in the middle of something else"""
        deed = act.begin(self)
        with ExitStack() as stack:
            try:
                depot = stack.enter_context(self._of_another(deed))
            except Conflict:
                assert any(each.renews for each in self.deeds), "nobody is making a catalog anew"
                return False
            return self._perform(deed, depot, lambda _: None)

    def die(self, act: Act, at: int | str) -> harness.Outcome:
        """Do it in a process that is killed at a step, by number or name, if it comes so far"""
        deed = act.begin(self)
        outcome = harness.run(lambda monitor: self._child(deed, monitor, at))
        for step in outcome.steps:
            self._reached(deed, step)
        if outcome.killed:
            deed.killed()
        elif outcome.answer == "done":
            deed.done()
        else:
            assert outcome.answer in deed.refused()
        return outcome

    def _child(self, deed: Deed, tell: Callable[[Event], None], at: int | str) -> str:
        numbers = itertools.count()

        def listen(event: Event) -> None:
            tell(event)
            if isinstance(event, Step):
                self._reached(deed, event.name)
                if at in {next(numbers), event.name}:
                    os.kill(os.getpid(), signal.SIGKILL)

        with self._of_another(deed) as depot:
            try:
                deed.run(dataclasses.replace(depot, monitor=listen))
            except StoreError as e:
                return e.code
            return "done"

    def _perform(self, deed: Deed, depot: Depot, hear: Callable[[str], None]) -> bool:
        def listen(event: Event) -> None:
            if isinstance(event, Step):
                self._reached(deed, event.name)
                hear(event.name)

        before, renewed = deed.refused(), self.renewed
        with self._under_way(deed):
            try:
                deed.run(dataclasses.replace(depot, monitor=listen))
            except StoreError as e:
                overtaken = self.renewed != renewed or any(each.renews for each in self.deeds if each is not deed)
                if not (overtaken and e.code.startswith(_OVERTAKEN)) and e.code not in before | deed.refused():
                    raise
                if overtaken:
                    self.doubt = self.durable
                return False
            assert not deed.undone, "what the catalog forgot meanwhile was acknowledged"
            deed.done()
            return True

    @contextmanager
    def _under_way(self, deed: Deed) -> Iterator[None]:
        self.deeds.append(deed)
        try:
            yield
        finally:
            self.deeds.remove(deed)
            # it may have gone on with a depot that was closed under it, and so opened it again
            for depot in self.closed:
                depot.close()

    def _reached(self, deed: Deed, step: str) -> None:
        if step == _EXPORTED:
            self.durable = None
            self.backups = [dataclasses.replace(backup, ahead=None) for backup in self.backups]
            for each in self.deeds:
                each.pending = False
        effect = deed.effects.get(step)
        if effect is not None:
            self.durable = self.durable or self.model.copy()
            deed.pending = deed.pending or step in _COMMITTED or step.endswith(".commit.after")
            effect()

    def back_up(self) -> None:
        """Copy the catalog as it is"""
        self._let_go()
        copy = self.place.catalog.copy(f"copy{next(self.copies)}")
        identity, serial = self.depot.info.catalog_id, self.depot.catalog.journal.head()[0]
        ahead = self.model.copy() if self.durable is not None else None
        self.backups.append(Backup(copy, identity, serial, dict(self.model.uses), ahead))

    def put_back(self, backup: Backup) -> None:
        """Put a copy in the catalog's place"""
        self._let_go()
        behind = self._last_exported() > backup.serial
        self.place.catalog.put_back(backup.copy)
        self._forget(backup.ahead)
        self.model.uses = {} if behind else dict(backup.uses)

    def lose(self) -> None:
        """Nothing is left of the catalog"""
        self._let_go()
        self.place.catalog.empty()
        self._forget()

    def renew(self) -> None:
        """The catalog was made anew; what copies of the old one say counts no more"""
        self.durable = None
        self.model.uses = {}
        self.renewed += 1
        self._drop(lambda _: True)
        self.reopen()

    def _let_go(self) -> None:
        # whoever has the old file open would go on in it: on a database server connections break
        for depot in self.depots:
            depot.close()

    def _forget(self, ahead: Model | None = None) -> None:
        """What no journal has is gone, but for what the copy has that was put back"""
        if self.durable is not None:
            had = self.model.visible()
            self.model, self.durable = (self.durable, None) if ahead is None else (ahead.copy(), self.durable)
            left = self.model.visible()
            self._drop(lambda backup: backup.ahead is not None and backup.ahead.visible() != left)
            for deed in self.deeds:
                deed.undone = deed.undone or (deed.pending and had != left)
                deed.pending = deed.pending and self.durable is not None
        self.renewed += 1

    def _drop(self, which: Callable[[Backup], bool]) -> None:
        for backup in filter(which, self.backups):
            backup.copy.remove()
        self.backups = [backup for backup in self.backups if not which(backup)]

    def _last_exported(self) -> int:
        names = map(parse_name, self.depot.blobs.keys(journal_prefix(self.depot.info.catalog_id)))
        return max((name.serial for name in names if name is not None), default=0)

    def settle(self) -> list[Row]:
        """Hold the catalog against the model; the rows of all objects"""
        seen = look(self.depot)
        states = {(row.kind, row.digest): row.state for row in seen.objects}
        if self.doubt is not None and seen.told == self.doubt.visible():
            self.model = self.doubt
        self.doubt = None
        self._note_damage(seen, states)
        self._note_condemned({row.digest: row for row in seen.objects if row.kind == "manifest"})
        for what, expected in self.model.visible().items():
            told = seen.told[what]
            assert told == expected, f"{what}: told {_beyond(told, expected)}, expected {_beyond(expected, told)}"
        active = self.model.active
        for version in active.values():
            assert {states.get(name) for name in version.objects} <= {"live", "damaged"}
        assert seen.needs == {one: {info.digest for info in v.document.blobs} for one, v in active.items()}
        for version in self.model.versions.values():
            missing = {name for name in version.objects if states.get(name) not in {"live", "condemned", "damaged"}}
            assert version.swept or missing <= self.model.lost
        return seen.objects

    def _note_damage(self, seen: Look, states: dict) -> None:
        """What was damaged is in quarantine until it is mended, or until nothing needs it any more"""
        model = self.model
        damaged = {name for name, state in states.items() if state == "damaged"}
        assert damaged <= model.damaged
        present = {name for name, state in states.items() if state in {"live", "condemned"}}
        model.lost = (model.lost | model.damaged) - present - damaged
        model.damaged = damaged
        for one, version in model.versions.items():
            if ("manifest", one) in model.lost and seen.told["versions"][one][2] and not version.swept:
                model.forget(one)

    def _note_condemned(self, manifests: dict) -> None:
        # since when something waits is in no journal
        for one, version in self.model.versions.items():
            row = manifests.get(one)
            since = row.condemned_at if row is not None and row.state == "condemned" else None
            if version.state == "retired" and not version.swept and version.condemned != since:
                assert self.renewed
                self.model.change(one, condemned=since)


def _beyond(some: dict, others: dict) -> dict:
    """What is other, or only here"""
    return {key: value for key, value in some.items() if key not in others or others[key] != value}
