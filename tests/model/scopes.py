"""Scopes: small casts that each run in seconds and together cover the page"""

from tests.model.collectors import Collector
from tests.model.invariants import ALWAYS
from tests.model.savers import Saver
from tests.model.world import Scope, Version

_ONE = Version((0,))
_COLLECTORS = (Collector(), Collector())

# two savers of the same digest, one of them restarts after it lost its lease; two collectors
CORE = Scope("core", (_ONE, _ONE), (Saver(0), Saver(1, attempts=1), *_COLLECTORS), garbage=(0,), invariants=ALWAYS)
# the same when both restart
CORE_LARGE = Scope("core-large", (_ONE, _ONE), (Saver(0), Saver(1), *_COLLECTORS), garbage=(0,), invariants=ALWAYS)
# a save of two digests beside a save of one of them: partly adopted, partly uploaded
PAIR = Scope(
    "pair",
    (Version((0, 1)), Version((1,))),
    (Saver(0, attempts=1), Saver(1, attempts=1), Collector()),
    garbage=(0, 1),
    invariants=ALWAYS,
)

SCOPES = (CORE, PAIR)
LARGE = (CORE_LARGE,)
