"""Acts on the catalog as a whole: copied, an older copy put back, made anew from the journal, its clock moved"""

from dataclasses import dataclass

from artifactstore.core.events import Monitor
from artifactstore.depot import Depot
from artifactstore.ops import rebuild
from tests.machines.acts import nothing
from tests.machines.keeping import Repair
from tests.machines.places import SETTINGS
from tests.machines.world import Deed, World

_KEPT = 3


@dataclass(frozen=True)
class BackUp:
    """A copy of the catalog, of which few are kept"""

    def begin(self, world: World) -> Deed:
        if len(world.backups) < _KEPT:
            world.back_up()
        return nothing()


@dataclass(frozen=True)
class Jump:
    """The clock of the database moves"""

    by: int

    def begin(self, world: World) -> Deed:
        world.moment += self.by
        return nothing()


@dataclass(frozen=True)
class PutBack:
    """which: of the copies that were made; the next writer brings it up to date"""

    which: int

    def begin(self, world: World) -> Deed:
        if not world.backups or not described(world):
            return nothing()
        world.put_back(world.backups[self.which % len(world.backups)])
        return Deed(lambda depot: depot.check_writable(), killed=world.depot.check_writable)


@dataclass(frozen=True)
class Rebuild:
    """lost: the old catalog is gone"""

    lost: bool

    def begin(self, world: World) -> Deed:
        if not described(world):
            return nothing()
        if self.lost:
            world.lose()

        def run(depot: Depot) -> None:
            anew(world, depot.monitor)

        def finish() -> None:
            # where it died, the next one makes it
            anew(world, world.depot.monitor)
            world.renew()

        return Deed(run, done=world.renew, killed=finish, renews=True)


def described(world: World) -> bool:
    """Mend manifests, of which a journal says little: whether all are there"""
    if any(kind == "manifest" for kind, _ in world.model.damaged) and not world.deeds:
        world.do(Repair())
        world.settle()
    return not any(kind == "manifest" for kind, _ in world.model.damaged)


def anew(world: World, monitor: Monitor) -> None:
    plan = rebuild.plan(world.place.url, world.place.catalog.url, settings=SETTINGS)
    report = rebuild.run(plan, settings=SETTINGS, monitor=monitor)
    assert {one.digest for one in report.lost} <= {digest for _, digest in world.model.damaged}
