"""A child killed at every step of what retires, removes, brings back, notes and renews, against the plain model"""

from collections import Counter
from contextlib import contextmanager

import pytest

from artifactstore.catalog.dump import dump
from artifactstore.ops import verify
from tests.faults.scale import SOAK, choose
from tests.machines.acts import MoveAlias, Pin, RemovePolicy, Save, SaveAgain, SetPolicy, Unpin
from tests.machines.keeping import Collect, Damage, Gc, Repair, Undo, UndoAlias
from tests.machines.look import assert_bare, assert_there, read_back
from tests.machines.places import Maker
from tests.machines.renewing import PutBack, Rebuild
from tests.machines.retention import Rule
from tests.machines.world import World

BASE = Save(0, 5, 6)
ADAPTER = Save(1, 0, 1, step=1, parent=0, relation="adapter", loss=2)
OLD = [Save(2, first, 4, age=10 - first, step=first, loss=first) for first in range(4)]
LINE = [BASE, ADAPTER, *OLD]
RETIRE = Gc(Rule(last=1), grace=4)


def leftovers(world):
    """What a killed writer published, what waits, and what is damaged and nothing needs"""
    for act in (*LINE, Save(2, 3, 5, age=11), Damage(3, 0), RETIRE):
        world.do(act)
    world.die(Save(0, 2, 2, age=1), at=8)


def doing(*acts):
    def prepare(world):
        for act in acts:
            world.do(act)

    return prepare


def copied(world):
    for act in LINE:
        world.do(act)
    world.back_up()
    for act in (RETIRE, Pin(0, 0, None)):
        world.do(act)


CASES = {
    "retire": (doing(*LINE), RETIRE),
    "retire and collect": (doing(*LINE), Gc(Rule(last=1))),
    "collect": (leftovers, Collect()),
    "undo": (doing(*LINE, RETIRE), Undo(3)),
    "undo alias": (doing(*LINE, MoveAlias(1, 1), MoveAlias(2, 1)), UndoAlias(2, 1)),
    "save what was swept": (doing(*LINE, Gc(Rule(last=1))), SaveAgain(3)),
    "policy set": (doing(*LINE), SetPolicy(0, Rule(last=2))),
    "policy rm": (doing(*LINE, SetPolicy(0, Rule(last=2))), RemovePolicy(0)),
    "pin": (doing(*LINE), Pin(2, 0, 1)),
    "unpin": (doing(*LINE, Pin(2, 0, None)), Unpin(2, None)),
    "verify": (doing(*LINE), Damage(5, 0)),
    "repair": (doing(*LINE, Damage(5, 0), Damage(8, 2)), Repair()),
    "rebuild": (leftovers, Rebuild(lost=False)),
    "rebuild of a lost catalog": (leftovers, Rebuild(lost=True)),
    "replay": (copied, PutBack(0)),
}


# what a run of the suite does on Postgres too, beside those of the other modules; the others are as on SQLite but for
# the rows
ON_BOTH = {"retire and collect", "undo", "pin"}


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def maker(request):
    server = None if request.param == "sqlite" else request.getfixturevalue("postgres_server")
    made = Maker(postgres=server)
    yield made
    made.close()


def assert_whole(world):
    """The catalog is as the model has it, bytes are as they were, and nothing but what was damaged is found damaged"""
    assert_there(world.depot, world.settle())
    damaged = {(one.what, one.digest) for one in verify.run(world.depot, verify.plan(world.depot)).damaged}
    assert damaged == world.model.damaged
    for one, version in world.model.active.items():
        if not version.objects & world.model.damaged:
            assert read_back(world.depot, one) == (version.document.raw, b"".join(version.contents))


def points(steps):
    """Where to die: at each named step when it is reached first; `make soak`: and once more"""
    seen = Counter()
    for at, name in enumerate(steps):
        seen[name] += 1
        if seen[name] <= choose(1, 2):
            yield at


@contextmanager
def prepared(maker, name):
    """Worlds for a case, one after the other"""
    first = World(maker())

    def another():
        # copies of a catalog are of one world
        if not first.backups:
            return first.twin(maker.twin)
        world = World(maker())
        CASES[name][0](world)
        return world

    try:
        CASES[name][0](first)
        first.settle()
        yield another
    finally:
        first.remove()


def killed(world, act, at, *, to_the_end=True):
    """The steps it went through; all that must hold after it was killed at one of them"""
    try:
        outcome = world.die(act, at)
        assert_whole(world)
        world.do(act)
        assert_whole(world)
        if to_the_end:
            assert_renewed_and_emptied(world)
    finally:
        world.remove()
    return outcome.steps


def assert_renewed_and_emptied(world):
    """Its catalog can be made anew, and nothing is left over when nobody is at work"""
    # what was committed and is refused a second time is written down by the next command that is not
    world.do(Collect(4))
    told = list(dump(world.depot.catalog.database))
    world.do(Rebuild(lost=True))
    assert list(dump(world.depot.catalog.database)) == told
    world.do(Collect())
    world.do(Collect())
    assert_bare(world.depot)
    assert_whole(world)


@pytest.mark.parametrize("name", CASES)
def test_killed_anywhere(maker, name, request):
    if "postgres" in request.node.name and name not in ON_BOTH and not SOAK:
        pytest.skip("make soak does this on Postgres")
    act = CASES[name][1]
    with prepared(maker, name) as another:
        steps = killed(another(), act, at=1 << 20)
        assert len(steps) > 1
        for number, at in enumerate(points(steps)):
            assert len(killed(another(), act, at, to_the_end=number % choose(6, 1) == 0)) == at + 1
