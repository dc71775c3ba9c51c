"""Scopes: small casts that each run in seconds and together cover the page"""

from tests.model.collectors import Collector, Network
from tests.model.invariants import ALWAYS
from tests.model.savers import Saver
from tests.model.versions import Janitor, Owner, Reader, Undoer
from tests.model.world import Scope, Version

_ONE = Version((0,))
_WHOLE = Version((0,), manifest=1)
_TWO = (Collector(), Collector())

# two savers of the same digest, one of them restarts after it lost its lease; two collectors
CORE = Scope("core", (_ONE, _ONE), (Saver(0), Saver(1, attempts=1), *_TWO), garbage=(0,), invariants=ALWAYS)
# the same when both restart
CORE_LARGE = Scope("core-large", (_ONE, _ONE), (Saver(0), Saver(1), *_TWO), garbage=(0,), invariants=ALWAYS)
# a save of two digests beside a save of one of them: partly adopted, partly uploaded
PAIR = Scope(
    "pair",
    (Version((0, 1)), Version((1,))),
    (Saver(0, attempts=1), Saver(1, attempts=1), Collector()),
    garbage=(0, 1),
    invariants=ALWAYS,
)
# a COMMIT that raises and takes place all the same, later, or never
UNKNOWN = Scope(
    "unknown",
    (_ONE, _ONE),
    (Saver(0, unknown=True), Saver(1, attempts=1), Collector()),
    garbage=(0,),
    invariants=ALWAYS,
)
# requests that were sent again and arrive at any later time
LATE = Scope(
    "late", (_ONE, _ONE), (Saver(0), Saver(1, attempts=1), Collector(), Network()), garbage=(0,), invariants=ALWAYS
)
# a version and its manifest: retired, released, swept, brought back, saved again
RETIRE = Scope("retire", (_WHOLE,), (Saver(0, attempts=1), *_TWO, Janitor(), Undoer()), saved=(0,), invariants=ALWAYS)
RETIRE_LARGE = Scope("retire-large", (_WHOLE,), (Saver(0), *_TWO, Janitor(), Undoer()), saved=(0,), invariants=ALWAYS)
# two versions share a blob: one goes, comes back, while the other is saved
SHARED = Scope(
    "shared",
    (_WHOLE, Version((0,), manifest=2)),
    (Saver(1, attempts=1), Collector(), Janitor(), Undoer()),
    saved=(0,),
    invariants=ALWAYS,
)
# two blobs, so that a version may be half released or half gone when it is brought back
HALF = Scope(
    "half", (Version((0, 1)),), (Saver(0, attempts=1), Collector(), Janitor(), Undoer()), saved=(0,), invariants=ALWAYS
)
# people and readers who keep a version
KEEP = Scope("keep", (_WHOLE,), (Collector(), Janitor(), Undoer(), Owner(0), Reader(0)), saved=(0,), invariants=ALWAYS)

SCOPES = (CORE, PAIR, UNKNOWN, LATE, RETIRE, SHARED, HALF, KEEP)
LARGE = (CORE_LARGE, RETIRE_LARGE)
