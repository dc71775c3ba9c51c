"""The rigs themselves: what they count, what they do to a call, and that no careless writer gets past them"""

import errno
import os
import threading

import pytest

from tests.crash import harness
from tests.faults import toys
from tests.faults.attempts import attempt
from tests.faults.calls import Die, DieHalfway, Fail, Shorten, watched
from tests.faults.grounds import prepare
from tests.faults.test_errors import FAULTS, fail, turns
from tests.faults.test_kills import crash_at, points

EIO, *_ = FAULTS


def writer(path, data=b"x" * 1000):
    def action(monitor) -> str:
        fd = os.open(path, os.O_CREAT | os.O_WRONLY)
        written = os.write(fd, data)
        os.close(fd)
        return str(written)

    return action


def on(name, verdict):
    return lambda call: verdict if call.name == name else None


def test_calls_of_all_threads_are_counted_and_those_elsewhere_are_not(workplace):
    def action(monitor) -> str:
        (workplace.parent / "elsewhere").exists()
        threads = [threading.Thread(target=(workplace / str(number)).mkdir) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        os.chdir(workplace)
        os.rename("0", "1")
        return ""

    calls = watched(action, workplace).calls
    assert [call.number for call in calls] == [1, 2, 3, 4]
    assert [call.name for call in calls] == ["mkdir", "mkdir", "mkdir", "rename"]
    assert {call.path for call in calls} == {"0", "1", "2"}


def test_a_call_fails_when_told_to(workplace):
    def action(monitor) -> str:
        with pytest.raises(OSError, match="Input/output error"):
            writer(workplace / "x")(monitor)
        return "failed"

    watch = watched(action, workplace, on("write", Fail(errno.EIO)))
    assert watch.outcome.answer == "failed"
    assert [call.path for call in watch.hit] == ["x"]
    assert (workplace / "x").read_bytes() == b""


def test_a_short_write_writes_what_it_says(workplace):
    watch = watched(writer(workplace / "x"), workplace, on("write", Shorten()))
    assert watch.outcome.answer == "500"
    assert (workplace / "x").stat().st_size == 500


def test_one_byte_cannot_be_shortened(workplace):
    watch = watched(writer(workplace / "x", b"y"), workplace, on("write", Shorten()))
    assert (watch.outcome.answer, watch.hit) == ("1", [])


@pytest.mark.parametrize(("verdict", "size"), [(Die(), 0), (DieHalfway(), 500)])
def test_a_child_dies_where_told_to(workplace, verdict, size):
    watch = watched(writer(workplace / "x"), workplace, on("write", verdict))
    assert watch.outcome == harness.Outcome(None, [], killed=True)
    assert (workplace / "x").stat().st_size == size


def test_an_error_of_the_judge_is_not_swallowed(workplace):
    def judge(call):
        raise LookupError(call.name)

    with pytest.raises(LookupError, match="openat"):
        watched(writer(workplace / "x"), workplace, judge)


def test_a_write_in_place_does_not_get_past_the_kills(workplace):
    ground = prepare(toys.in_place(), workplace)
    caught = 0
    for point in points(ground):
        try:
            crash_at(ground, (point,))
        except AssertionError:
            caught += 1
    assert caught


def test_a_write_aside_gets_past_every_kill(workplace):
    ground = prepare(toys.written(), workplace)
    assert len([crash_at(ground, (point,)) for point in points(ground)]) > 3


@pytest.mark.parametrize("operation", [toys.careless(), toys.talkative()], ids=lambda operation: operation.name)
def test_an_error_hidden_or_blurted_out_does_not_get_past(workplace, operation):
    ground = prepare(operation, workplace)
    caught = 0
    for turn in turns(ground, EIO):
        try:
            fail(ground, EIO, (turn, False))
        except AssertionError:
            caught += 1
    assert caught


def test_an_error_told_rightly_gets_past(workplace):
    ground = prepare(toys.written(), workplace)
    ends = [fail(ground, EIO, (turn, for_ever)) for turn in turns(ground, EIO) for for_ever in (False, True)]
    assert "Unavailable" in ends
    assert ends[-1] == "not hit"


def test_a_traceback_is_noticed(workplace):
    def act(store, monitor):
        os.write(2, b"Traceback (most recent call last):")
        return ""

    ground = prepare(toys.written(), workplace)
    with ground.copied() as store, pytest.raises(AssertionError, match="most recent"):
        attempt(toys.toy("loud", act, lambda store, answer: None), store)
