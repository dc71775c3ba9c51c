"""Killed at every step and every file system call that changes something: nothing acknowledged is lost"""

import random
import time
from dataclasses import dataclass
from functools import partial

import pytest

from artifactstore.core.events import silent
from tests.crash import harness
from tests.faults import seccomp
from tests.faults.attempts import attempt
from tests.faults.calls import CHANGING, Die, DieHalfway, Judge, passing
from tests.faults.grounds import Ground
from tests.faults.operations import OPERATIONS
from tests.faults.scale import SEED, SOAK, choose, everywhere, sample

# With those of tests/crash, about 350, they are 2,000 in every run of the suite.
KILLS = choose(1_700, 10_000)
POINTS = 500
# Kills in a row on one store: what makes up for a crash may crash as well.
ROW = 3

# A child that is killed before a call that only looks leaves what it leaves before the next one.
HELD = seccomp.CALLS if SOAK else CHANGING


@dataclass(frozen=True, slots=True)
class Point:
    """Where a child dies: at a named step, before a call, or when half of what the call writes is written"""

    how: str
    name: str
    turn: int

    @property
    def judge(self) -> Judge:
        verdict = {"call": Die(), "half": DieHalfway()}.get(self.how)
        if verdict is None:
            return passing
        return lambda call: verdict if call.number == self.turn else None

    @property
    def step(self) -> harness.Point | None:
        return (self.name, self.turn) if self.how == "step" else None


def points(ground: Ground) -> list[Point]:
    """Every one that a run comes to"""
    with ground.copied() as store:
        whole = attempt(ground.operation, store, names=HELD)
    steps = [Point("step", name, turn) for name, turn in harness.points(whole.watch.outcome)]
    calls = [Point("call", call.name, call.number) for call in whole.watch.calls if call.changes or SOAK]
    halves = [Point("half", call.name, call.number) for call in whole.watch.calls if call.nbytes > 1]
    return steps + calls + halves


def crash(ground: Ground, row: tuple[Point, ...]) -> list[Point]:
    """Kill the operation at each point in turn, look after each, and run it to its end; the points that were hit"""
    operation, hit = ground.operation, []
    with ground.copied() as store:
        for point in row:
            tried = attempt(operation, store, point.judge, names=HELD, die_at=point.step)
            hit += [point] if tried.watch.outcome.killed else []
            operation.check(store, tried.answer)
        answer = operation.act(store, silent)
        assert answer is not None
        operation.check(store, answer)
        operation.settled(store)
    return hit


def crash_at(ground: Ground, row: tuple[Point, ...]) -> list[Point]:
    try:
        return crash(ground, row)
    except Exception as e:
        raise AssertionError(f"{ground.operation.name} killed at {row} (seed {SEED}): {e!r}") from e


def crashes(ground: Ground, every: list[Point], wanted: int) -> list[Point]:
    """The points that were hit: each at least once, and over and over until there are as many as wanted"""
    order = random.Random(f"{SEED} {ground.operation.name}")
    hit = _crashed(ground, order, every, ROW)
    # A store that has recovered may not come to a point again, a fresh one does.
    hit += _crashed(ground, order, [point for point in every if point not in set(hit)], 1)
    while len(hit) < wanted:
        hit += _crashed(ground, order, sample(every, wanted - len(hit)), ROW)
    return hit


def _crashed(ground: Ground, order: random.Random, at: list[Point], length: int) -> list[Point]:
    order.shuffle(at)
    rows = [tuple(at[first : first + length]) for first in range(0, len(at), length)]
    return [point for points in everywhere(partial(crash_at, ground), rows) for point in points]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_nothing_acknowledged_is_lost(operation, ground_of, say):
    begin, share = time.monotonic(), -(-KILLS // len(OPERATIONS))
    ground = ground_of(operation)
    every = points(ground)
    hit = crashes(ground, sample(every, share), share)
    seconds = time.monotonic() - begin
    say(f"{operation.name}: {len(hit)} kills at {len(set(hit))} of {len(every)} points, {seconds:.0f} s")
    assert len(hit) >= share
    assert len(set(hit)) * len(OPERATIONS) >= POINTS
