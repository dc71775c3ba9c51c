"""Power goes off before any call, or after the answer: what was acknowledged is there after the restart"""

import random
import time
from collections import Counter
from functools import cache, partial
from pathlib import Path

import pytest

from tests.faults import disks
from tests.faults.attempts import attempt
from tests.faults.calls import CHANGING, SYNCS, Die
from tests.faults.disks import DISKS, Disk
from tests.faults.grounds import Ground, prepare
from tests.faults.operations import OPERATIONS
from tests.faults.scale import SEED, choose, cores, everywhere
from tests.faults.toys import inserted, written

CUTS = choose(20, 1_000)
# Of so many cuts one comes after the answer.
ANSWERED = 3


@pytest.fixture(params=DISKS)
def kind(request, tmp_path):
    if reason := disks.unsupported(request.param, tmp_path):
        pytest.skip(reason)
    return request.param


def cut(disk: Disk, ground: Ground, turn: int, seed: int) -> str:
    """Run the operation, lose power before the turn-th call that may matter, look after it, and run it again

    The answer travels by a pipe, so that no disk can forget that it was given. How it ended.
    """
    operation = ground.operation
    with ground.copied(disk.point) as store:
        disk.settle()
        last = attempt(operation, store, lambda call: Die() if call.number == turn else None, names=CHANGING | SYNCS)
        disk.lose_power(seed)
        try:
            operation.check(store, last.answer)
            again = attempt(operation, store)
            assert again.answer is not None
            operation.check(store, again.answer)
        except Exception as e:
            where = last.watch.hit or "its answer"
            raise AssertionError(f"{operation.name} lost power at {where}, {seed=} of {SEED}: {e!r}") from e
    return "on the way" if last.answer is None else "after the answer"


@cache
def calls(ground: Ground) -> int:
    """How many of its calls may matter to what is left without power"""
    with ground.copied() as store:
        return len(attempt(ground.operation, store, names=CHANGING | SYNCS).watch.calls)


def cut_often(kind: str, folder: Path, work: list[tuple[Ground, int, int]]) -> Counter[str]:
    """One disk, and cuts of its power one after the other"""
    here = folder / str(work[0][2])
    here.mkdir()
    with DISKS[kind](here) as disk:
        return Counter(cut(disk, ground, turn, seed) for ground, turn, seed in work)


def test_nothing_acknowledged_is_lost(kind, ground_of, workplace, say):
    begin, chance = time.monotonic(), random.Random(SEED)
    grounds = [(ground, calls(ground)) for ground in map(ground_of, OPERATIONS)]
    work = []
    for seed in range(CUTS):
        ground, length = grounds[seed % len(grounds)]
        work.append((ground, chance.randint(1, length) if seed % ANSWERED else 0, chance.randrange(1 << 32)))
    ends = sum(
        everywhere(partial(cut_often, kind, workplace), [work[at :: cores()] for at in range(cores())]), Counter()
    )
    told = ", ".join(f"{count} {end}" for end, count in sorted(ends.items()))
    say(f"{kind}: {ends.total()} power cuts, {told}, {time.monotonic() - begin:.0f} s")
    assert ends.total() == CUTS


RIGHT = (written(), inserted("FULL"))
WRONG = (written(sync_file=False), inserted("NORMAL"))
# Real file systems may have written a name out with something else.
STRICTLY_WRONG = (written(sync_folder=False),)


def test_the_disk_forgets_what_was_not_synced(kind, workplace):
    with DISKS[kind](workplace) as disk:
        for operation in RIGHT:
            assert cut(disk, prepare(operation, workplace), 0, seed=2) == "after the answer"
        for operation in WRONG + (STRICTLY_WRONG if kind == "strict" else ()):
            with pytest.raises(AssertionError, match="lost power at its answer"):
                cut(disk, prepare(operation, workplace), 0, seed=2)
