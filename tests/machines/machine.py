"""The state machine of retention: every act whole, crossed by another, or killed, in any order"""

import sys
from contextlib import suppress

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from artifactstore.catalog.dump import dump
from artifactstore.core.errors import StoreError
from artifactstore.ops import verify
from tests.machines.acts import (
    Measure,
    MoveAlias,
    Pin,
    RemoveAlias,
    RemovePolicy,
    Save,
    SaveAgain,
    SaveAhead,
    SetPolicy,
    Unpin,
    pick,
)
from tests.machines.keeping import Collect, Damage, Gc, Repair, Undo, UndoAlias
from tests.machines.look import assert_bare, assert_listed, assert_there, read_back
from tests.machines.paused import Reader, Writer
from tests.machines.places import Maker
from tests.machines.renewing import BackUp, Jump, PutBack, Rebuild
from tests.machines.retention import Rule
from tests.machines.world import World

WHICH = st.integers(0, 7)
TWO = st.integers(0, 1)
DAYS = st.sampled_from([0, 1, 3, 10])
RULES = st.builds(
    Rule,
    last=st.none() | st.integers(1, 3),
    best=st.none() | st.just(1),
    every=st.none() | st.just(2),
    alias=st.none() | st.sampled_from(["prod", "l*"]),
    older=st.none() | st.sampled_from([2, 5]),
).filter(str)
SAVES = st.builds(
    Save,
    name=st.integers(0, 2),
    first=st.integers(0, 6),
    second=st.integers(0, 6),
    age=DAYS,
    step=st.none() | st.integers(0, 4),
    parent=st.none() | WHICH,
    relation=st.sampled_from(["adapter", "merge", "quantize", "resume"]),
    ahead=st.just(False) | st.booleans(),
    loss=st.none() | st.integers(0, 3),
    alias=st.none() | TWO,
)
GCS = st.builds(
    Gc,
    rule=st.just(Rule(last=1)) | st.none() | RULES,
    grace=st.sampled_from([0, 0, 4]),
    force=st.booleans() | st.just(True),
)
NOTES = st.one_of(
    st.builds(MoveAlias, WHICH, TWO),
    st.builds(RemoveAlias, st.integers(0, 2), TWO),
    st.builds(UndoAlias, st.integers(0, 2), TWO),
    st.builds(Measure, WHICH, st.integers(0, 3)),
    st.builds(Pin, WHICH, TWO, st.none() | st.sampled_from([1, 6])),
    st.builds(Unpin, WHICH, st.none() | TWO),
    st.builds(SetPolicy, st.integers(0, 2), RULES),
    st.builds(RemovePolicy, st.integers(0, 2)),
)
SAVED_BEFORE = st.builds(SaveAgain, WHICH, st.none() | st.just(1)) | st.builds(SaveAhead, st.integers(0, 1))
ACTS = st.one_of(
    SAVES,
    SAVED_BEFORE,
    GCS,
    st.builds(Collect, st.sampled_from([0, 4]), st.booleans()),
    st.builds(Undo, WHICH),
    NOTES,
    st.builds(Damage, WHICH, st.integers(0, 2)),
    st.builds(Repair),
)
ALL = ACTS | st.builds(PutBack, WHICH) | st.builds(Rebuild, st.booleans())
AT = st.integers(0, 4) | st.integers(5, 24)
MINUTE = 60_000_000
HOUR = 60 * MINUTE
JUMPS = st.sampled_from([-7 * MINUTE, 16 * MINUTE, 25 * HOUR, -25 * HOUR, 100 * HOUR, 200 * HOUR])


class RetentionMachine(RuleBasedStateMachine):
    """Every act of one process and, through `crash` and `cross`, of two"""

    maker: Maker

    @initialize(first=SAVES, second=SAVES)
    def begin(self, first, second):
        self.world = World(self.maker())
        self.count = 0
        self.writer = self.reader = None
        self.world.do(first)
        self.world.do(second)

    @rule(act=SAVES)
    def save(self, act):
        self.world.do(act)

    @rule(act=SAVED_BEFORE)
    def save_again(self, act):
        self.world.do(act)

    @rule(act=NOTES)
    def note(self, act):
        self.world.do(act)

    @rule(act=GCS)
    def gc(self, act):
        self.world.do(act)

    @rule(act=st.builds(Undo, WHICH))
    def undo(self, act):
        self.world.do(act)

    @rule(act=ACTS)
    def act(self, act):
        self.world.do(act)

    @rule(act=ALL, at=AT)
    def crash(self, act, at):
        self.world.die(act, at)

    @rule(act=ALL, meanwhile=ALL | st.builds(BackUp) | st.builds(Jump, JUMPS), at=AT)
    def cross(self, act, meanwhile, at):
        if isinstance(act, Rebuild) and isinstance(meanwhile, Damage):
            # what a rebuild overtakes is not acknowledged, so that nobody would know of the damage
            return
        if act == Rebuild(lost=True) or (isinstance(act, Rebuild) and isinstance(meanwhile, PutBack)):
            # there is nothing that anybody else could open, or put back
            meanwhile = Rebuild(lost=False)

        def hear(number, _step):
            if number == at:
                self.world.beside(meanwhile)

        self.world.do(act, hear)

    @rule(act=st.builds(Jump, JUMPS))
    def jump(self, act):
        self.world.do(act)

    @rule()
    def reopen(self):
        self.world.reopen()

    @precondition(lambda self: self.writer is None)
    @rule(act=SAVES)
    def start_writing(self, act):
        self.count += 1
        writer = Writer(self.world, act.draft(self.world), f"writer {self.count}")
        self.writer = writer if writer.began else None

    @precondition(lambda self: self.writer is not None)
    @rule(finish=st.booleans() | st.just(True))
    def end_writing(self, finish):
        writer, self.writer = self.writer, None
        if finish:
            writer.finish()
        else:
            writer.leave()

    @precondition(lambda self: self.reader is None and self.world.model.versions)
    @rule(which=WHICH)
    def start_reading(self, which):
        self.count += 1
        reader = Reader(self.world, pick(self.world.model, which), f"reader {self.count}")
        self.reader = reader if reader.began else None

    @precondition(lambda self: self.reader is not None)
    @rule(stay=st.booleans())
    def read(self, stay):
        self.reader.read()
        if not stay:
            reader, self.reader = self.reader, None
            reader.leave()

    @rule(act=st.builds(BackUp))
    def back_up(self, act):
        self.world.do(act)

    @precondition(lambda self: self.world.backups)
    @rule(act=st.builds(PutBack, WHICH))
    def put_back(self, act):
        self.world.do(act)

    @rule(act=st.builds(Rebuild, st.booleans()))
    def rebuild(self, act):
        self.world.do(act)

    @invariant()
    def holds(self):
        if hasattr(self, "world"):
            rows = self.world.settle()
            if self.world.place.root is not None:
                assert_there(self.world.depot, rows)
            else:
                assert_listed(self.world.depot, rows)

    def teardown(self):
        if not hasattr(self, "world"):
            return
        try:
            if sys.exc_info()[0] is None:
                self.finish()
        finally:
            with suppress(StoreError):
                for one in (self.writer, self.reader):
                    if one is not None:
                        one.leave()
            self.world.remove()

    def finish(self):
        """All that must hold when nobody is at work any more"""
        world = self.world
        if self.writer is not None:
            self.writer.finish()
            self.writer = None
        if self.reader is not None:
            self.reader.read()
            self.reader.leave()
            self.reader = None
        world.do(Repair())
        self.check_all()
        self.bring_everything_back()
        self.make_the_catalog_anew()
        self.collect_twice()
        self.check_all()

    def check_all(self):
        assert_there(self.world.depot, self.world.settle())
        assert verify.run(self.world.depot, verify.plan(self.world.depot)).damaged == ()
        for one, version in self.world.model.active.items():
            raw, content = read_back(self.world.depot, one)
            assert (raw, content) == (version.document.raw, b"".join(version.contents))

    def bring_everything_back(self):
        """What was retired and not swept comes back, unless what it shares a record with is gone"""
        for number in range(len(self.world.model.versions)):
            self.world.do(Undo(number))

    def make_the_catalog_anew(self):
        told = list(dump(self.world.depot.catalog.database))
        self.world.do(Rebuild(lost=True))
        assert list(dump(self.world.depot.catalog.database)) == told

    def collect_twice(self):
        self.world.do(Gc(Rule(last=1)))
        self.world.do(Collect())
        assert_bare(self.world.depot)
