"""Which versions rules let go, said once more in the plainest way"""

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from shlex import quote

from artifactstore.core.digest import Digest
from tests.machines.model import DAY, Model, Version


class UnknownError(Exception):
    """A rule goes by what no version has"""


@dataclass(frozen=True)
class Rule:
    """One policy; older is in days. As text it is what `gc` takes"""

    last: int | None = None
    best: int | None = None
    every: int | None = None
    alias: str | None = None
    older: int | None = None

    def __str__(self) -> str:
        # in the order in which rules are written down
        flags = {
            "older": None if self.older is None else f"{self.older}d",
            "keep-last": self.last,
            "keep-best": None if self.best is None else f"{self.best}:loss",
            "keep-every": self.every,
            "keep-alias": None if self.alias is None else quote(self.alias),
        }
        return " ".join(f"--{name} {value}" for name, value in flags.items() if value is not None)

    def keeps(self, line: Iterable[Version], model: Model, now: int) -> set[Digest]:
        """What its keep rules keep of one artifact; a moment yet to come counts as now"""
        young = sorted(line, key=lambda one: (min(one.document.created, now), one.number), reverse=True)
        losses = {one.id: model.metrics[one.id]["loss"] for one in young if "loss" in model.metrics.get(one.id, {})}
        steps = {one.id: one.document.step for one in young if one.document.step is not None}
        names = model.named()
        return {
            *[one.id for one in young[: self.last or 0]],
            *sorted(losses, key=losses.__getitem__)[: self.best or 0],
            *[one for one, step in steps.items() if self.every is not None and step % self.every == 0],
            *[one.id for one in young if any(fnmatchcase(a, self.alias or "") for a in names.get(one.id, ()))],
        }

    def check(self, candidates: list[Version], model: Model) -> None:
        """Raise Unknown when no candidate has what it goes by"""
        if not candidates:
            return
        names = model.named()
        there = {
            "best": any("loss" in model.metrics.get(one.id, {}) for one in candidates),
            "every": any(one.document.step is not None for one in candidates),
            "alias": any(fnmatchcase(a, self.alias or "") for one in candidates for a in names.get(one.id, ())),
        }
        if any(getattr(self, name) is not None and not known for name, known in there.items()):
            raise UnknownError


def plan(model: Model, rule: Rule | None, now: int) -> set[Digest]:
    """What would go by a rule beside the stored ones, or by those alone; raise UnknownError"""
    lines = _lines(model)
    stored = {artifact: _stored(model, artifact) for artifact in lines}
    if rule is not None:
        rule.check(list(model.active.values()), model)
    for pattern, policy in model.policies.items():
        policy.check([one for line in lines for one in lines[line] if stored[line] == pattern], model)
    keep = model.held(now) | model.named().keys()
    for artifact, line in lines.items():
        steps = [one for one in line if one.document.step is not None]
        keep |= {max(steps, key=_by_step).id} if steps else set()
        mine = model.policies.get(stored[artifact])
        for one in (rule, mine):
            keep |= one.keeps(line, model, now) if one is not None else set()
        judge = rule or mine
        if judge is None:
            keep |= {one.id for one in line}
        elif judge.older is not None:
            keep |= {one.id for one in line if now - one.document.created < judge.older * DAY}
    staying = closed(model, keep)
    for line in lines.values():
        if staying.isdisjoint(one.id for one in line):
            keep.add(max(line, key=_by_age).id)
    return model.active.keys() - closed(model, keep)


def must_stay(model: Model, going: Iterable[Digest], now: int) -> set[Digest]:
    """Those of a plan that may not go any more when it is carried out"""
    rows = {one for one in going if model.is_active(one)}
    kept = rows & (model.held(now) | model.named().keys())
    outside = model.active.keys() - rows
    kept |= rows & closed(model, outside | kept)
    for line in _lines(model).values():
        ids = {one.id for one in line}
        if ids <= rows - kept:
            kept.add(max(line, key=_by_age).id)
    return kept | rows & closed(model, outside | kept)


def closed(model: Model, start: Iterable[Digest]) -> set[Digest]:
    """These and all that they need, at any distance"""
    found: set[Digest] = set()
    due = [one for one in start if model.is_active(one)]
    while due:
        one = due.pop()
        if one not in found:
            found.add(one)
            due += [parent for parent in model.parents(model.versions[one]) if model.is_active(parent)]
    return found


def _lines(model: Model) -> dict[str, list[Version]]:
    lines: dict[str, list[Version]] = {}
    for version in model.active.values():
        lines.setdefault(version.artifact, []).append(version)
    return lines


def _stored(model: Model, artifact: str) -> str | None:
    """The longest pattern that matches, of those the first by name"""
    patterns = [pattern for pattern in model.policies if fnmatchcase(artifact, pattern)]
    return min(patterns, key=lambda pattern: (-len(pattern), pattern)) if patterns else None


def _by_age(one: Version) -> tuple[int, int]:
    return one.document.created, one.number


def _by_step(one: Version) -> tuple[int, int, int]:
    return one.document.step or 0, one.document.created, one.number
