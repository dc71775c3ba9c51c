"""The n-th call fails, once or from then on, for every n: told rightly, and the store is as whole as before"""

import errno
import json
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
from tests.faults.grounds import Ground, prepare, sparse
from tests.faults.operations import OPERATIONS
from tests.faults.scale import choose, everywhere, sample

# How often an operation is run with a fault. In every run of the suite they are shared out to operations and faults, so
# that not every call has its turn.
RUNS = choose(600, 1 << 30)

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


def turns(ground: Ground, fault: Fault) -> list[int]:
    """Every turn there is in a run without faults, and one more, or a sample of them"""
    with ground.copied() as store:
        whole = attempt(ground.operation, store)
    hit = sum(map(fault.hits, whole.watch.calls))
    some = sample(list(range(1, hit + 1)), RUNS // (2 * len(FAULTS) * len(OPERATIONS)) - 1)
    # and one more than there are, with which it completes
    return [*some, hit + 1]


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
def test_every_error_is_told_and_nothing_is_lost(operation, fault, workplace, say):
    begin = time.monotonic()
    ground = sparse(prepare(operation, workplace))
    cases = [(turn, for_ever) for turn in turns(ground, fault) for for_ever in (False, True)]
    ends = Counter(everywhere(partial(fail, ground, fault), cases))
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
