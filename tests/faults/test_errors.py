"""The n-th call fails, once or from then on, for every n: told rightly, and the store is as whole as before"""

import errno
import functools
import json
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest

from artifactstore.core.events import silent
from tests.cli.calling import call
from tests.faults.attempts import Attempt, attempt
from tests.faults.calls import SYNCS, Call, Fail, Judge, Shorten, Verdict, watched
from tests.faults.grounds import Ground, prepare
from tests.faults.operations import OPERATIONS
from tests.faults.scale import SOAK, everywhere

# Of an operation and a fault, in a run of the suite: other kinds of calls of each operation, and so every kind of some.
KINDS = 4

# What no disk does: to look at where a file stands, to close it, to lock it.
_NO_DISK = {"lseek", "close", "fcntl", "flock", "readlink", "readlinkat"}


# SQLite takes a file it cannot open to write for one that is read-only, and one it cannot read for a damaged one.
# A commit that failed is known not to have happened once its lease has ended.
# What only keeps a record from being written out is told as such.
CATALOG = {"Unavailable": 1, "Denied": 12, "NoSpace": 13, "Corrupt": 4, "LeaseLost": 1}
_RECORDS = ("store/catalog.sqlite", "store/journal", "store/tmp/journal-")


@dataclass(frozen=True, slots=True)
class Fault:
    """What a call returns, which calls can, and what a user is told: error class, exit code; None: nothing"""

    name: str
    errno: int | None
    hits: Callable[[Call], bool]
    told: tuple[str, int] | None

    @property
    def verdict(self) -> Verdict:
        return Shorten() if self.errno is None else Fail(self.errno)


def _stores(call: Call) -> bool:
    return call.changes or call.name in SYNCS


FAULTS = (
    Fault("EIO", errno.EIO, lambda call: call.name not in _NO_DISK, ("Unavailable", 1)),
    Fault("ENOSPC", errno.ENOSPC, _stores, ("NoSpace", 13)),
    Fault("EMFILE", errno.EMFILE, lambda call: call.opens, ("Unavailable", 1)),
    Fault("EROFS", errno.EROFS, _stores, ("Denied", 12)),
    Fault("short write", None, lambda call: call.nbytes > 1, None),
)


def failing(fault: Fault, turn: int, *, for_ever: bool) -> Judge:
    """Let the turn-th call that the fault can hit fail, from 1, and if so told all after it"""
    seen = 0

    def judge(call: Call) -> Verdict:
        nonlocal seen
        seen += fault.hits(call)
        due = fault.hits(call) and (seen == turn or (for_ever and seen > turn))
        return fault.verdict if due else None

    return judge


@functools.cache
def without_faults(ground: Ground) -> list[Call]:
    """The calls of a run that nothing happens to"""
    with ground.copied() as store:
        return attempt(ground.operation, store).watch.calls


def turns(ground: Ground, fault: Fault) -> list[int]:
    """Every turn there is in a run without faults, or one of some kinds of calls, and one more than there are"""
    hit = [call.name for call in without_faults(ground) if fault.hits(call)]
    if SOAK:
        return list(range(1, len(hit) + 2))
    names = sorted({*hit})
    at = KINDS * OPERATIONS.index(ground.operation) if ground.operation in OPERATIONS else 0
    dice = random.Random(f"{ground.operation.name} {fault.name}")
    some = {dice.choice(_turns_of(names[(at + turn) % len(names)], hit)) for turn in range(KINDS)}
    return [*sorted(some), len(hit) + 1]


def _turns_of(name: str, hit: list[str]) -> list[int]:
    return [turn for turn, other in enumerate(hit, 1) if other == name]


def cases(ground: Ground, fault: Fault) -> list[tuple[int, bool]]:
    """Turns that fail once and those that fail for ever; a run of the suite does the one or the other"""
    first = len(ground.operation.name) + len(fault.name)
    return [
        (turn, for_ever)
        for number, turn in enumerate(turns(ground, fault), first)
        for for_ever in ((False, True) if SOAK else (number % 2 == 0,))
    ]


def fail(ground: Ground, fault: Fault, case: tuple[int, bool]) -> str:
    """Run the operation with the fault, look after it, and run it again without; how it ended"""
    operation, (turn, for_ever) = ground.operation, case
    with ground.copied() as store:
        tried = attempt(operation, store, failing(fault, turn, for_ever=for_ever))
        try:
            assert_told(tried, fault)
            operation.check(store, tried.answer)
            answer = operation.act(store, silent)
            assert answer is not None
            operation.check(store, answer)
            operation.settled(store)
        except Exception as e:
            where = f"{fault.name} at {tried.watch.hit[:1]}{' and ever after' * for_ever}"
            raise AssertionError(f"{operation.name}: {where}: {tried.told or tried.answer}: {e!r}") from e
    return tried.kinds[0] if tried.kinds else "done" if tried.watch.hit else "not hit"


def assert_told(tried: Attempt, fault: Fault) -> None:
    if not tried.kinds:
        return
    allowed = {fault.told}
    if fault.told and any(call.path == "store" or call.path.startswith(_RECORDS) for call in tried.watch.hit):
        allowed |= CATALOG.items()
    assert allowed & {(kind, tried.exit_code) for kind in tried.kinds}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_every_error_is_told_and_nothing_is_lost(operation, fault, ground_of, say):
    begin = time.monotonic()
    ground = ground_of(operation)
    ends = Counter(everywhere(partial(fail, ground, fault), cases(ground, fault)))
    told = ", ".join(f"{count} {end}" for end, count in sorted(ends.items()))
    say(f"{operation.name}, {fault.name}: {told}, {time.monotonic() - begin:.0f} s")
    assert ends.total() > ends["not hit"]


# What is handed to the command and cannot even be looked at.
NOT_THERE = 3


def test_the_command_says_it_in_one_line(workplace):
    ground = prepare(next(operation for operation in OPERATIONS if operation.name == "add"), workplace)
    codes = Counter()
    for turn in turns(ground, FAULTS[0]):
        with ground.copied() as store:
            arguments = ["add", store.parent / "next", "--as", "model", "--store", store]

            def command(monitor, arguments=arguments) -> str:
                result = call(*arguments)
                return json.dumps([result.exit_code, result.stderr])

            watch = watched(command, store.parent, failing(FAULTS[0], turn, for_ever=False))
            code, told = json.loads(watch.outcome.answer)
            lines = [line for line in told.splitlines() if line.startswith("artstore: ")]
            assert len(lines) == (code != 0), told
            assert "Traceback" not in told
            codes[code] += 1
    assert set(codes) <= {0, NOT_THERE, *CATALOG.values()}
    assert codes[1]
