"""Scopes: small casts that each run in seconds and together cover the page"""

from tests.model.catalogs import Backup, Rebuilder, Replayer
from tests.model.collectors import Collector, Network
from tests.model.damage import Repacker, Repairer, Verifier
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

# the catalog is rebuilt while everybody who had the old one open goes on
_BUILT = {"saved": (0,), "journal": True, "invariants": ALWAYS}
REBUILD = Scope(
    "rebuild", (_ONE, _ONE), (Saver(1, attempts=1), Collector(), Janitor(times=1), Rebuilder(1)), rebuilds=1, **_BUILT
)
# the same beside two collectors, of which one may finish what the other began
RESUME = Scope("resume", (_ONE,), (*_TWO, Janitor(times=1), Rebuilder(1)), rebuilds=1, **_BUILT)
# the same beside people who pin and bring back
NOTES = Scope(
    "notes",
    (_ONE,),
    (Collector(), Janitor(times=1), Undoer(times=1), Owner(0, times=1), Rebuilder(1)),
    rebuilds=1,
    **_BUILT,
)
# a rebuild after, or beside, another
TWICE = Scope(
    "twice", (_ONE, _ONE), (Saver(1, attempts=1), Janitor(times=1), Rebuilder(1), Rebuilder(2)), rebuilds=2, **_BUILT
)
# three at once
THRICE = Scope(
    "thrice",
    (_ONE, _ONE),
    (Saver(1, attempts=1), Rebuilder(1), Rebuilder(2), Rebuilder(3)),
    rebuilds=3,
    **_BUILT,
)
# a save that nobody waits for any more, while two rebuilds follow each other and a collection clears up
LATECOMER = Scope(
    "latecomer",
    (_ONE, Version((1,))),
    (Saver(1, attempts=1), Collector(), Rebuilder(1), Rebuilder(2)),
    rebuilds=2,
    **_BUILT,
)
# one save on the old catalog, one on the new
REBUILD_LARGE = Scope(
    "rebuild-large",
    (_ONE, Version((1,)), Version((1,))),
    (Saver(1, attempts=1), Saver(2, attempts=1), Collector(), Rebuilder(1)),
    rebuilds=1,
    **_BUILT,
)
# the same version is saved by two
AGAIN = Scope(
    "again", (_ONE, Version((1,))), (Saver(1, attempts=1), Saver(1, attempts=1), Rebuilder(1)), rebuilds=1, **_BUILT
)
# a backup of the catalog is put back while everybody goes on
RESTORE = Scope(
    "restore",
    (_ONE, Version((1,))),
    (Saver(1, attempts=1), Collector(), Backup(), Replayer(), Rebuilder(1)),
    rebuilds=1,
    backups=True,
    **_BUILT,
)
RESTORE_RETIRE = Scope(
    "restore-retire",
    (_ONE, _ONE),
    (Saver(1, attempts=1), Collector(), Janitor(times=1), Backup(), Replayer()),
    backups=True,
    **_BUILT,
)
RESTORE_NOTES = Scope(
    "restore-notes",
    (_ONE,),
    (Collector(), Janitor(times=1), Owner(0, times=1), Backup(), Replayer()),
    backups=True,
    **_BUILT,
)
# and somebody is in doubt about a COMMIT meanwhile, whose record another one exports
RESTORE_DOUBT = Scope(
    "restore-doubt",
    (_ONE, Version((1,))),
    (Saver(1, attempts=1, unknown=True), Owner(0, times=1), Backup(), Replayer()),
    backups=True,
    **_BUILT,
)

RESTORE_DAMAGE = Scope(
    "restore-damage", (_ONE,), (Repairer(0), Collector(), Verifier(), Backup(), Replayer()), backups=True, **_BUILT
)
RESTORE_UNDO = Scope(
    "restore-undo",
    (_ONE,),
    (Collector(), Janitor(times=1), Undoer(times=1), Backup(), Replayer()),
    backups=True,
    **_BUILT,
)

# and two save the same version meanwhile
RESTORE_AGAIN = Scope(
    "restore-again",
    (_ONE, Version((1,))),
    (Saver(1, attempts=1), Saver(1, attempts=1), Backup(), Replayer()),
    backups=True,
    **_BUILT,
)

# damage is found while others save, repair and collect
DAMAGE = Scope(
    "damage",
    (_ONE, _ONE),
    (Saver(1), Repairer(0), Collector(), Janitor(), Verifier(times=2)),
    saved=(0,),
    invariants=ALWAYS,
)
DAMAGE_REBUILD = Scope(
    "damage-rebuild", (_ONE,), (Repairer(0), Collector(), Verifier(), Rebuilder(1)), rebuilds=1, **_BUILT
)
DAMAGE_LARGE = Scope(
    "damage-large",
    (_ONE,),
    (Repairer(0), Collector(), Janitor(times=1), Verifier(), Rebuilder(1)),
    rebuilds=1,
    **_BUILT,
)
# a blob becomes a delta of another, while everything may go
REPACK = Scope(
    "repack",
    (_ONE, Version((1,)), _ONE),
    (Saver(2, attempts=1), Repacker(0, 1), Collector(), Janitor(times=2)),
    saved=(0, 1),
    invariants=ALWAYS,
)
# and that one of the first
CYCLE = Scope(
    "cycle",
    (_ONE, Version((1,))),
    (Repacker(0, 1), Repacker(1, 0), Collector(), Janitor()),
    saved=(0, 1),
    invariants=ALWAYS,
)
# the same beside damage
REPACK_DAMAGE = Scope(
    "repack-damage",
    (_ONE, Version((1,)), _ONE),
    (Saver(2, attempts=1), Repacker(0, 1), Collector(), Janitor(times=2), Verifier()),
    saved=(0, 1),
    invariants=ALWAYS,
)
# the old incarnation of what was packed anew is an orphan at once
REPACK_REBUILD = Scope(
    "repack-rebuild",
    (_ONE, Version((1,))),
    (Repacker(0, 1), Collector(), Rebuilder(1)),
    rebuilds=1,
    saved=(0, 1),
    journal=True,
    invariants=ALWAYS,
)

SCOPES = (
    *(CORE, PAIR, UNKNOWN, LATE, RETIRE, SHARED, HALF, KEEP),
    *(REBUILD, RESUME, NOTES, TWICE, LATECOMER, AGAIN),
    *(RESTORE, RESTORE_NOTES, RESTORE_DOUBT, RESTORE_UNDO, RESTORE_AGAIN),
    *(DAMAGE, DAMAGE_REBUILD, REPACK, CYCLE, REPACK_REBUILD),
)
LARGE = (
    *(CORE_LARGE, RETIRE_LARGE, REBUILD_LARGE, THRICE),
    *(RESTORE_RETIRE, RESTORE_DAMAGE, DAMAGE_LARGE, REPACK_DAMAGE),
)
