"""Acts: what the machine does to a store, and what of it the model should show after which step"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from artifactstore.blobs.layout import blob_key, manifest_key
from artifactstore.catalog.base import Written
from artifactstore.core.digest import Digest
from artifactstore.core.errors import LeaseLost
from artifactstore.core.lineage import Link, Relation
from artifactstore.core.manifest import Manifest
from artifactstore.core.names import AliasName, ArtifactName
from artifactstore.core.selection import Rules
from artifactstore.depot import Depot
from artifactstore.ops import annotate
from artifactstore.session import Session, Tags, open_session
from tests.contract.catalog import manifest_of
from tests.machines.model import DAY, LEASE, NEEDED, Model, Use, Version
from tests.machines.retention import Rule
from tests.machines.world import Deed, World

NAMES = ("org/base", "org/tuned", "run/a")
ALIASES = ("latest", "prod")
CONTENTS = [bytes([65 + n]) * (n + 1) for n in range(7)]
WHY = ("because", "in production")
PATTERNS = ("*", "org/*", "run/a")
MISSING = {f"not-found.{what}" for what in ("version", "alias", "pin", "policy", "artifact")}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_TRIES = 3


def pick(model: Model, which: int) -> Version | None:
    """One of the versions, 0 the newest"""
    versions = list(model.versions.values())
    return versions[-1 - which % len(versions)] if versions else None


@dataclass(frozen=True)
class Draft:
    """What a save writes"""

    document: Manifest
    contents: tuple[bytes, ...]
    tags: Tags

    def needs(self, model: Model) -> frozenset[Digest]:
        """What of this store it cannot do without"""
        return frozenset(one.id for one in self.document.parents if one.id in model.versions and one.relation in NEEDED)

    def refused(self, model: Model) -> set[str]:
        return set() if all(map(model.is_active, self.needs(model))) else {"refused.parent"}

    def committed(self, model: Model) -> None:
        model.save(self.document, self.contents)
        model.metrics.setdefault(self.document.id, {}).update(self.tags.metrics)
        for alias in self.tags.aliases:
            model.move(str(self.document.artifact), str(alias), self.document.id)

    def lend(self, world: World) -> None:
        """Another store has it too, to repair this one from"""
        world.donor.replace(manifest_key(self.document.id, "0" * 16), self.document.raw)
        for data in self.contents:
            world.donor.replace(blob_key(Digest.of(data), "0" * 16), data)

    def write(self, session: Session) -> list[Written]:
        """One blob after the other"""
        session.build_on(self.document.parents)
        written = []
        for data in dict.fromkeys(self.contents):
            [grant] = session.want([Digest.of(data)])
            written.append(session.write(grant, data) if grant.upload else session.found(grant, len(data)))
        return written


@dataclass(frozen=True)
class Save:
    """name, first, second: which artifact and bytes. age: days before now. parent: which version, as what

    ahead: the parent is one that is not here yet.
    """

    name: int
    first: int
    second: int
    age: int = 0
    step: int | None = None
    parent: int | None = None
    relation: str = "finetune"
    ahead: bool = False
    loss: int | None = None
    alias: int | None = None

    def draft(self, world: World) -> Draft:
        contents = (CONTENTS[self.first], CONTENTS[self.second])
        above = None if self.parent is None else pick(world.model, self.parent)
        relation = Relation(self.relation)
        elsewhere = Link(relation, "hf://org/elsewhere@1")
        # what is not here yet is what `SaveAhead` saves
        links = () if above is None else (Link(relation, above.ref, above.id, 0.5), elsewhere)
        if self.ahead:
            links = (*links, Link(relation, "ahead", ahead(self.first).id))
        created = world.now() - self.age * DAY
        document = manifest_of(*contents, name=NAMES[self.name], created=created, step=self.step, parents=links)
        metrics = {} if self.loss is None else {"loss": float(self.loss)}
        aliases = () if self.alias is None else (AliasName(ALIASES[self.alias]),)
        return Draft(document, contents, Tags(aliases=aliases, metrics=metrics))

    def begin(self, world: World) -> Deed:
        return saving(world, self.draft(world))


@dataclass(frozen=True)
class SaveAgain:
    """What was saved before, whatever became of it"""

    which: int
    loss: int | None = None

    def begin(self, world: World) -> Deed:
        version = pick(world.model, self.which)
        if version is None:
            return nothing()
        metrics = {} if self.loss is None else {"loss": float(self.loss)}
        return saving(world, Draft(version.document, version.contents, Tags(metrics=metrics)))


@dataclass(frozen=True)
class SaveAhead:
    """What others named as their parent before it was here"""

    first: int

    def begin(self, world: World) -> Deed:
        return saving(world, Draft(ahead(self.first), (CONTENTS[self.first],), Tags()))


def ahead(first: int) -> Manifest:
    return manifest_of(CONTENTS[first], name=NAMES[0], created=first)


def saving(world: World, draft: Draft) -> Deed:
    draft.lend(world)
    name, one = secrets.token_hex(4), draft.document.id

    def run(depot: Depot) -> None:
        for _ in range(_TRIES):
            try:
                with open_session(depot, "save") as session:
                    session.commit(draft.document, draft.write(session), draft.tags, world.now())
                return
            except LeaseLost:
                world.model.uses.pop(name, None)
        raise AssertionError("a save has to begin again more often than anything has happened")

    def held() -> None:
        world.model.uses.setdefault(name, Use(world.now() + LEASE, draft.needs(world.model)))

    def pinned() -> None:
        version = world.model.versions.get(one)
        if version is not None and not version.swept and name in world.model.uses:
            world.model.uses[name] = replace(world.model.uses[name], manifests=frozenset([one]))

    def committed() -> None:
        assert not draft.refused(world.model), "saved although what it needs was retired"
        draft.committed(world.model)
        world.model.uses.pop(name, None)

    effects = {
        "save.lease.before": lambda: world.model.reap(world.now()),
        "save.pin.before": held,
        "save.manifest.after": pinned,
        "save.commit.after": committed,
    }
    return Deed(run, effects, lambda: draft.refused(world.model), killed=lambda: orphaned(world.model, name))


def orphaned(model: Model, name: str) -> None:
    """The process of a lease has died: whoever looks next ends it"""
    if name in model.uses:
        model.uses[name] = replace(model.uses[name], orphan=True)


def nothing() -> Deed:
    return Deed(lambda _: None)


def noting(what: str, run: Callable[[Depot], object], effect: Callable[[], None], refused: Callable[[], bool]) -> Deed:
    """One transaction that needs what may not be there"""

    def done() -> None:
        assert not refused()
        effect()

    return Deed(run, {f"{what}.commit.after": done}, lambda: MISSING if refused() else set())


@dataclass(frozen=True)
class MoveAlias:
    which: int
    alias: int

    def begin(self, world: World) -> Deed:
        version, alias = pick(world.model, self.which), ALIASES[self.alias]
        if version is None:
            return nothing()

        def run(depot: Depot) -> None:
            info = depot.catalog.versions.get(version.id)
            annotate.set_alias(depot, ArtifactName(version.artifact), AliasName(alias), info)

        def effect() -> None:
            world.model.move(version.artifact, alias, version.id)

        return noting("alias", run, effect, lambda: not world.model.is_active(version.id))


@dataclass(frozen=True)
class RemoveAlias:
    name: int
    alias: int

    def begin(self, world: World) -> Deed:
        artifact, alias = NAMES[self.name], ALIASES[self.alias]

        def run(depot: Depot) -> None:
            annotate.remove_alias(depot, ArtifactName(artifact), AliasName(alias))

        def refused() -> bool:
            return world.model.aliases.get((artifact, alias), [None])[-1] is None

        return noting("alias", run, lambda: world.model.move(artifact, alias, None), refused)


@dataclass(frozen=True)
class Measure:
    which: int
    loss: int

    def begin(self, world: World) -> Deed:
        version = pick(world.model, self.which)
        if version is None:
            return nothing()

        def run(depot: Depot) -> None:
            annotate.set_metrics(depot, depot.catalog.versions.get(version.id), {"loss": float(self.loss)})

        def effect() -> None:
            world.model.metrics.setdefault(version.id, {})["loss"] = float(self.loss)

        return noting("metric", run, effect, lambda: not world.model.is_active(version.id))


@dataclass(frozen=True)
class Pin:
    """days: from now, None for ever"""

    which: int
    why: int
    days: int | None

    def begin(self, world: World) -> Deed:
        version = pick(world.model, self.which)
        if version is None:
            return nothing()
        why, until = WHY[self.why], None if self.days is None else world.now() + self.days * DAY

        def run(depot: Depot) -> None:
            end = None if until is None else _EPOCH + until * _MICROSECOND
            annotate.pin(depot, depot.catalog.versions.get(version.id), why, end)

        def effect() -> None:
            world.model.pins.setdefault(version.id, {})[why] = until

        return noting("pin", run, effect, lambda: not world.model.is_active(version.id))


@dataclass(frozen=True)
class Unpin:
    """why: None for all pins of a version"""

    which: int
    why: int | None

    def begin(self, world: World) -> Deed:
        version = pick(world.model, self.which)
        if version is None:
            return nothing()
        why = None if self.why is None else WHY[self.why]

        def run(depot: Depot) -> None:
            annotate.unpin(depot, depot.catalog.versions.get(version.id), why)

        def pins() -> dict[str, int | None]:
            mine = world.model.pins.get(version.id, {})
            return mine if why is None else {one: mine[one] for one in {why} & mine.keys()}

        def effect() -> None:
            for one in list(pins()):
                del world.model.pins[version.id][one]

        return noting("pin", run, effect, lambda: not world.model.is_active(version.id) or not pins())


@dataclass(frozen=True)
class SetPolicy:
    pattern: int
    rule: Rule

    def begin(self, world: World) -> Deed:
        pattern = PATTERNS[self.pattern]

        def run(depot: Depot) -> None:
            annotate.set_policy(depot, pattern, Rules.parse(str(self.rule), stored=True))

        def effect() -> None:
            world.model.policies[pattern] = self.rule

        return noting("policy", run, effect, lambda: False)


@dataclass(frozen=True)
class RemovePolicy:
    pattern: int

    def begin(self, world: World) -> Deed:
        pattern = PATTERNS[self.pattern]

        def effect() -> None:
            del world.model.policies[pattern]

        return noting(
            "policy",
            lambda depot: annotate.remove_policy(depot, pattern),
            effect,
            lambda: pattern not in world.model.policies,
        )
