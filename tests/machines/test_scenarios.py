"""Histories in which a less careful store loses something, against the plain model; what each shows is its name"""

import pytest

from tests.faults.scale import SOAK
from tests.machines.acts import MoveAlias, Pin, Save, SaveAgain
from tests.machines.keeping import Collect, Damage, Gc, Repair, Undo
from tests.machines.machine import MINUTE, RetentionMachine
from tests.machines.places import Maker
from tests.machines.renewing import BackUp, Jump, PutBack, Rebuild
from tests.machines.retention import Rule

LINE = [Save(2, first, 4, age=10 - first, step=first, loss=first) for first in range(3)]
RETIRE = Gc(Rule(last=1), grace=4)
NEW = Save(0, 5, 6)
EXPIRE = Jump(16 * MINUTE)


# the machine itself runs on Postgres in every run of the suite
@pytest.fixture(scope="module", params=["sqlite", "postgres"] if SOAK else ["sqlite"])
def maker(request):
    server = None if request.param == "sqlite" else request.getfixturevalue("postgres_server")
    made = Maker(postgres=server)
    yield made
    made.close()


@pytest.fixture
def machine(maker):
    """With three versions of one line; whole at the end, whatever happened"""

    class Machine(RetentionMachine):
        pass

    Machine.maker = maker
    made = Machine()
    made.begin(first=LINE[0], second=LINE[1])
    made.save(act=LINE[2])
    yield made
    made.teardown()


@pytest.fixture
def world(machine):
    yield machine.world
    machine.holds()


def meanwhile(world, **at):
    """Others do this, each when a step is reached first; its name has _ for ."""

    def hear(_number, step):
        for act in at.pop(step.replace(".", "_"), ()):
            world.beside(act)

    return hear


def test_a_lease_comes_back_with_an_older_catalog_after_what_it_pinned_was_swept(machine, world):
    machine.start_writing(act=NEW)
    for act in (BackUp(), EXPIRE, Collect(), PutBack(0)):
        world.do(act)
    machine.end_writing(finish=True)


def test_a_lease_is_older_than_the_catalog_put_back_and_its_pins_are_younger(world):
    sweep = (PutBack(0), Collect())
    assert world.do(NEW, meanwhile(world, save_lease_after=[BackUp()], save_publish_after=sweep))


@pytest.mark.parametrize("act", [NEW, MoveAlias(0, 0), Pin(0, 0, None), RETIRE], ids=str)
def test_what_the_catalog_forgot_before_it_was_written_down_is_not_acknowledged(world, act):
    world.do(BackUp())
    step = {Save: "save_commit_after", MoveAlias: "alias_commit_after", Pin: "pin_commit_after", Gc: "gc_retire_after"}
    assert not world.do(act, meanwhile(world, **{step[type(act)]: [PutBack(0)]}))


def test_a_copy_says_condemned_of_what_an_undo_brought_back_since(world):
    for act in (RETIRE, BackUp(), *map(Undo, range(3)), PutBack(0)):
        assert world.do(act)
    world.settle()
    assert world.model.versions == world.model.active


def test_a_copy_has_what_no_journal_has(world):
    world.die(MoveAlias(0, 0), at="alias.commit.after")
    for act in (BackUp(), PutBack(0)):
        world.do(act)
    world.settle()
    assert len(world.model.aliases) == 1


def test_a_copy_has_less_of_what_no_journal_has(world):
    world.do(BackUp())
    world.die(MoveAlias(0, 0), at="alias.commit.after")
    world.do(BackUp())
    world.die(MoveAlias(1, 0), at="alias.commit.after")
    for act in (PutBack(1), PutBack(0)):
        world.do(act)
        world.settle()
    assert len(world.model.aliases) == 1


@pytest.mark.parametrize("other", [Rebuild(lost=True), Rebuild(lost=False)], ids=str)
@pytest.mark.parametrize("act", [NEW, MoveAlias(0, 0), Pin(0, 0, None)], ids=str)
def test_what_a_catalog_made_anew_overtook_is_not_acknowledged(world, act, other):
    step = {Save: "save_commit_after", MoveAlias: "alias_commit_after", Pin: "pin_commit_after"}
    assert not world.do(act, meanwhile(world, **{step[type(act)]: [other]}))


@pytest.mark.parametrize("step", ["gc_intent_after", "gc_export_before", "gc_export_after", "gc_trash_after"])
@pytest.mark.parametrize("other", [Rebuild(lost=True), Rebuild(lost=False), PutBack(0)], ids=str)
def test_a_catalog_changes_under_a_collection(world, other, step):
    for act in (RETIRE, BackUp()):
        world.do(act)
    world.do(Collect(), meanwhile(world, **{step: [other, SaveAgain(0), Undo(1)]}))


@pytest.mark.parametrize("step", ["gc_orphans_before", "gc_orphans_after", "gc_disown_before", "gc_disown_after"])
@pytest.mark.parametrize("other", [Rebuild(lost=True), PutBack(0)], ids=str)
def test_a_catalog_changes_under_the_removal_of_leftovers(world, other, step):
    world.do(BackUp())
    world.die(NEW, at="save.publish.after")
    world.do(Collect(), meanwhile(world, **{step: [other, NEW]}))


@pytest.mark.parametrize("step", ["gc.intent.after", "gc.export.after", "gc.trash.before", "gc.trash.after"])
@pytest.mark.parametrize("later", ["gc_export_before", "gc_trash_after", "gc_drop_after"])
def test_a_collection_goes_on_where_another_died_and_the_catalog_is_lost(world, step, later):
    world.do(RETIRE)
    assert world.die(Collect(), at=step).killed
    world.do(Collect(), meanwhile(world, **{later: [Rebuild(lost=True)]}))


@pytest.mark.parametrize("step", ["replay_before", "replay_after", "identity_before", "identity_after", "swap_before"])
@pytest.mark.parametrize("act", [NEW, Pin(0, 0, None), RETIRE, Collect(), Undo(1), Rebuild(lost=False)], ids=str)
def test_others_are_at_work_while_a_catalog_is_made_anew(world, act, step):
    world.do(RETIRE)
    world.do(Rebuild(lost=False), meanwhile(world, **{f"rebuild_{step}": [act]}))


def test_an_older_catalog_is_put_back_twice_with_a_commit_between(world):
    """Records of a branch that was lost stand nowhere in the way"""
    world.do(BackUp())
    world.die(RETIRE, at="gc.retire.after")
    world.do(PutBack(0))
    for act in (NEW, BackUp(), Undo(1), PutBack(0), PutBack(1)):
        world.do(act)


def test_what_a_writer_relies_on_is_damaged_healed_and_let_go(machine, world):
    machine.start_writing(act=Save(1, 0, 4))
    for act in (Damage(0, 0), Repair(), RETIRE, Collect(), Collect()):
        world.do(act)
    machine.end_writing(finish=True)


def test_a_reader_holds_what_rules_let_go(machine, world):
    machine.start_reading(which=2)
    for act in (Gc(Rule(last=1)), Collect()):
        world.do(act)
    machine.read(stay=True)
    for act in (EXPIRE, Collect(), Gc(Rule(last=1)), Collect()):
        world.do(act)
    machine.read(stay=False)


def test_a_parent_stays_while_its_child_is_written(machine, world):
    machine.start_writing(act=Save(1, 0, 4, parent=2, relation="adapter"))
    world.do(Gc(Rule(last=1)))
    machine.end_writing(finish=True)
