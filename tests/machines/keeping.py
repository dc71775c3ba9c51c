"""Acts of retention: what goes, what comes back, what is damaged and mended"""

from dataclasses import dataclass
from datetime import timedelta

from artifactstore import gc
from artifactstore.core.digest import Digest
from artifactstore.core.selection import Rules
from artifactstore.depot import Depot
from artifactstore.ops import collect, repair, undo, verify
from tests.machines.acts import ALIASES, MISSING, NAMES, nothing, pick
from tests.machines.look import look, records
from tests.machines.model import DAY
from tests.machines.retention import Rule, UnknownError, must_stay, plan
from tests.machines.world import Deed, World

_GONE = {"refused.gone", "refused.undo", "corrupt.missing", "corrupt.corrupt", "not-found.version"}
_GUARDED = {"refused.guard", "refused.rebuilt"}


@dataclass(frozen=True)
class Gc:
    """grace: in days"""

    rule: Rule | None
    grace: int = 0
    force: bool = True

    def begin(self, world: World) -> Deed:
        grace, now = timedelta(days=self.grace), world.now()
        try:
            going = plan(world.model, self.rule, now)
        except UnknownError:
            going = None
        expected: list[set[Digest]] = []

        def run(depot: Depot) -> None:
            rules = None if self.rule is None else Rules.parse(str(self.rule))
            chosen = gc.plan(depot, rules, grace=grace)
            assert {item.id for item in chosen.retire.going} == going
            report = gc.run(depot, chosen, force=self.force)
            assert set(() if report.retired is None else report.retired.versions) == set().union(*expected)

        def retired() -> None:
            gone = {one for one in going or () if world.model.is_active(one)}
            expected.append(gone - must_stay(world.model, going or (), now))
            world.model.retire(expected[-1])

        def refused() -> set[str]:
            return {"invalid.rule"} if going is None else set() if self.force else _GUARDED

        return Deed(run, {"gc.retire.after": retired} | _sweeping(world, self.grace), refused)


@dataclass(frozen=True)
class Collect:
    """What waits goes, nothing is retired"""

    grace: int = 0
    orphans: bool = True

    def begin(self, world: World) -> Deed:
        grace = timedelta(days=self.grace)

        def run(depot: Depot) -> None:
            collect.run(depot, grace, force=True, orphans=self.orphans)

        return Deed(run, _sweeping(world, self.grace))


def _sweeping(world: World, grace: int) -> dict:
    return {
        "gc.reap.before": lambda: world.model.reap(world.now()),
        "gc.condemn.after": lambda: world.model.condemn(world.now()),
        "gc.intent.after": lambda: world.model.sweep(world.now(), grace * DAY),
    }


@dataclass(frozen=True)
class Undo:
    """The retirement by which one version went, with all that went by it"""

    which: int

    def begin(self, world: World) -> Deed:
        version = pick(world.model, self.which)
        gone_by = look(world.depot).retired_by
        serial = None if version is None else gone_by.get(version.id)
        if serial is None:
            return nothing()
        together = [one for one, by in gone_by.items() if by == serial]

        def refused() -> set[str]:
            mine = [world.model.versions[one] for one in together]
            lost = world.model.damaged | world.model.lost
            gone = any(one.swept or one.state == "active" or one.objects & lost for one in mine)
            above = [world.model.versions[up] for one in mine for up in world.model.parents(one) - {*together}]
            waits = any(one.state == "retired" and not one.swept for one in above)
            return (_GONE if gone or not mine else set()) | ({"refused.parent"} if waits else set())

        def back() -> None:
            here = [one for one in together if world.model.versions[one].state == "retired"]
            assert not any(world.model.versions[one].swept for one in here)
            world.model.bring_back(here)

        return Deed(lambda depot: undo.run(depot, serial), {"undo.commit.after": back}, refused)


@dataclass(frozen=True)
class UndoAlias:
    """The last move of an alias that was no part of a save"""

    name: int
    alias: int

    def begin(self, world: World) -> Deed:
        name = (NAMES[self.name], ALIASES[self.alias])
        moves = world.model.aliases.get(name, [])
        serial = next((serial for serial, actions in records(world.depot) if _moves(actions, name, len(moves))), None)
        if serial is None:
            return nothing()
        before = ([None, *moves])[len(moves) - 1]

        def refused() -> set[str]:
            there = before is None or world.model.is_active(before)
            return set() if there and len(world.model.aliases[name]) == len(moves) else {*MISSING, "refused.undo"}

        def back() -> None:
            assert not refused()
            world.model.move(*name, before)

        return Deed(lambda depot: undo.run(depot, serial), {"undo.commit.after": back}, refused)


def _moves(actions: list[dict], name: tuple[str, str], generation: int) -> bool:
    [first, *more] = actions
    wanted = {"do": "alias", "artifact": name[0], "alias": name[1], "generation": generation}
    return not more and wanted.items() <= first.items()


@dataclass(frozen=True)
class Damage:
    """A disk changes or loses one object, and verify is run. which: of all objects; how: 0 changed, 1 cut, 2 gone"""

    which: int
    how: int

    def begin(self, world: World) -> Deed:
        here = [row for row in look(world.depot).objects if row.state in {"live", "condemned"}]
        if not here:
            return nothing()
        hit = here[self.which % len(here)]
        blobs = world.depot.blobs
        raw = bytearray(blobs.read(hit.key))
        raw[len(raw) // 2] ^= 1
        if self.how == 2:
            blobs.delete(hit.key)
        else:
            blobs.replace(hit.key, raw[: len(raw) - self.how])
        damaged = (hit.kind, hit.digest)
        world.model.damaged.add(damaged)
        # who saves the same before that relies on what is here, and heals nothing
        told = {"verify.quarantine.after": lambda: world.model.damaged.add(damaged)}
        return Deed(_verify, told, killed=lambda: _verify(world.depot))


def _verify(depot: Depot) -> None:
    verify.run(depot, verify.plan(depot))


@dataclass(frozen=True)
class Repair:
    """From another store that has everything"""

    def begin(self, world: World) -> Deed:
        def run(depot: Depot) -> None:
            report = repair.run(depot, repair.plan(depot), store=world.donor)
            assert report.left == ()

        return Deed(run, {"save.lease.before": lambda: world.model.reap(world.now())})
