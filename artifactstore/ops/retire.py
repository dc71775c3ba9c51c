"""Retire: rules become a plan with a reason for each version; run retires what the plan says"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, Literal, Self

from artifactstore.catalog.base import Retired, Survey, VersionInfo
from artifactstore.core.digest import Digest
from artifactstore.core.errors import Invalid, NotFound, Refused
from artifactstore.core.policy import AnyOf, Candidate
from artifactstore.core.removal import removal_order
from artifactstore.core.selection import Rules, check_rules, pattern_for
from artifactstore.core.verdict import Decision, decide
from artifactstore.depot import Depot


@dataclass(frozen=True, slots=True)
class RetireItem:
    """One version of a plan. frees_bytes: what goes with it, after those that go before it"""

    id: Digest
    ref: str
    action: Literal["keep", "retire"]
    reasons: tuple[str, ...]
    step: int | None
    logical_bytes: int
    frees_bytes: int

    def to_json(self) -> dict[str, Any]:
        """With stable keys"""
        return {
            "id": str(self.id),
            "ref": self.ref,
            "action": self.action,
            "reasons": list(self.reasons),
            "step": self.step,
            "logical_bytes": self.logical_bytes,
            "frees_bytes": self.frees_bytes,
        }

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> Self:
        """What `to_json` wrote"""
        action: Literal["keep", "retire"] = "retire" if document["action"] == "retire" else "keep"
        return cls(
            Digest.parse(document["id"]),
            str(document["ref"]),
            action,
            tuple(map(str, document["reasons"])),
            document["step"],
            int(document["logical_bytes"]),
            int(document["frees_bytes"]),
        )


@dataclass(frozen=True, slots=True)
class RetirePlan:
    """What would be retired, decided at a serial of the journal"""

    items: tuple[RetireItem, ...]
    serial: int

    @property
    def going(self) -> tuple[RetireItem, ...]:
        """The versions to retire"""
        return tuple(item for item in self.items if item.action == "retire")

    @property
    def frees_bytes(self) -> int:
        """Bytes at rest that nothing needs once all of them are gone"""
        return sum(item.frees_bytes for item in self.items)


def plan(depot: Depot, rules: Rules | None = None, *, until_free: int | None = None) -> RetirePlan:
    """Decide for every active version; without rules by the stored policies

    until_free: retire no more than it takes until this many bytes are free. Raise Invalid for an alias, metric or phase
    nothing has, NotFound for a run nothing matches.
    """
    rules = rules or Rules()
    serial = depot.catalog.journal.head()[0]
    survey = depot.catalog.retirements.survey()
    rules_of = _rules_of(depot, rules, survey)
    return _decided(depot, survey, rules_of, serial, until_free)


def plan_line(depot: Depot, artifact: str, rules: Rules) -> RetirePlan:
    """Decide for the versions of one artifact only"""
    serial = depot.catalog.journal.head()[0]
    survey = depot.catalog.retirements.survey(artifact)
    return _decided(depot, survey, lambda _: rules, serial, None)


def plan_named(depot: Depot, versions: Sequence[VersionInfo], why: Mapping[Digest, str]) -> RetirePlan:
    """These versions, each for its reason"""
    serial = depot.catalog.journal.head()[0]
    freed = depot.catalog.usage.freed([one.id for one in versions])
    items = (
        RetireItem(one.id, one.ref, "retire", (why[one.id],), one.step, one.nbytes, frees)
        for one, frees in zip(versions, freed, strict=True)
    )
    return RetirePlan(tuple(items), serial)


def run(depot: Depot, plan: RetirePlan) -> Retired:
    """Retire what the plan says and still may go, in one transaction; its bytes stay until a collection takes them"""
    depot.check_writable()
    depot.step("gc.retire.before")
    retired = depot.catalog.retirements.retire({item.id: "; ".join(item.reasons) for item in plan.going})
    depot.step("gc.retire.after")
    depot.acknowledge()
    return retired


def check_fresh(depot: Depot, plan: RetirePlan) -> None:
    """Raise Refused when anything was committed since the plan was made"""
    serial = depot.catalog.journal.head()[0]
    if serial != plan.serial:
        raise Refused(
            f"The store has changed since this plan was made (record {plan.serial}, now {serial}); make a new plan",
            code="stale",
            serial=serial,
            planned=plan.serial,
        )


def recount(depot: Depot, plan: RetirePlan) -> RetirePlan:
    """The plan with what it would free as the catalog says, whatever a file says of it"""
    order = [item.id for item in plan.going]
    freed = dict(zip(order, depot.catalog.usage.freed(order), strict=True))
    return replace(plan, items=tuple(replace(item, frees_bytes=freed.get(item.id, 0)) for item in plan.items))


def _rules_of(depot: Depot, rules: Rules, survey: Survey) -> Callable[[str], Rules | None]:
    """The given rules in the runs they name, with the keep rules of a stored policy; else that policy alone"""
    stored = {policy.pattern: Rules.parse(policy.rules, stored=True) for policy in depot.catalog.policies.list()}
    run = rules.selector.run
    names = {one.artifact for one in survey.candidates}
    if run is not None and not any(fnmatchcase(name, run) for name in names):
        raise NotFound(f"No artifact matches --run {run!r:.80}; see artstore ls", code="run", run=run)
    # a run alone says where, not what
    bare = replace(rules, selector=replace(rules.selector, run=None)).is_empty
    inside = {name for name in names if run is None or fnmatchcase(name, run)}
    policies = {name: _stored_for(name, stored) for name in inside}
    if not bare:
        check_rules(rules, [one for one in survey.candidates if one.artifact in inside])
    for policy in stored.values():
        check_rules(policy, [one for one in survey.candidates if policies.get(one.artifact) is policy])
    by_name = policies if bare else {name: _with_rescues(rules, policy) for name, policy in policies.items()}
    return by_name.get


def _with_rescues(rules: Rules, policy: Rules | None) -> Rules:
    keeps = [one.keep for one in (rules, policy) if one is not None and one.keep is not None]
    return replace(rules, keep=AnyOf(tuple(keeps))) if keeps else rules


def _stored_for(artifact: str, policies: Mapping[str, Rules]) -> Rules | None:
    pattern = pattern_for(artifact, policies)
    return None if pattern is None else policies[pattern]


def _decided(
    depot: Depot, survey: Survey, rules_of: Callable[[str], Rules | None], serial: int, until_free: int | None
) -> RetirePlan:
    artifacts = {one.artifact for one in survey.candidates}
    expressions = {where for name in artifacts for where in (rules_of(name) or Rules()).selector.where}
    decisions = decide(
        survey.candidates,
        rules_of=rules_of,
        held=survey.held,
        needs=survey.needs,
        matching={text: depot.catalog.versions.matching(text, survey.now) for text in sorted(expressions)},
        now=survey.now,
    )
    candidates = {one.id: one for one in survey.candidates}
    order = removal_order([candidates[one.id] for one in decisions if not one.keep], survey.needs)
    freed = dict(zip(order, depot.catalog.usage.freed(order), strict=True))
    spared = frozenset() if until_free is None else _spared(depot, freed, until_free)
    return RetirePlan(tuple(_item(one, candidates[one.id], freed, spared) for one in decisions), serial)


def _spared(depot: Depot, freed: Mapping[Digest, int], until_free: int) -> frozenset[Digest]:
    """Versions that can stay, as removing those before them frees enough"""
    free = depot.blobs.free()
    if free is None:
        raise Invalid(f"{depot.blobs.url} does not tell its free space; use --until-free on a disk", code="until-free")
    coming, _ = depot.catalog.collections.waiting()
    free += coming.nbytes
    spared = []
    for version, nbytes in freed.items():
        if free >= until_free:
            spared.append(version)
        free += nbytes
    return frozenset(spared)


def _item(
    decision: Decision, candidate: Candidate, freed: Mapping[Digest, int], spared: frozenset[Digest]
) -> RetireItem:
    stays = decision.keep or decision.id in spared
    return RetireItem(
        id=decision.id,
        ref=decision.ref,
        action="keep" if stays else "retire",
        reasons=decision.reasons if decision.id not in spared else ("enough is free without it",),
        step=candidate.step,
        logical_bytes=candidate.nbytes,
        frees_bytes=0 if stays else freed[decision.id],
    )
