"""Verdict: which versions stay and which may be retired, each with its reasons"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from operator import attrgetter

from artifactstore.core.digest import Digest
from artifactstore.core.lineage import Relation
from artifactstore.core.policy import BY_AGE, Candidate
from artifactstore.core.reasons import Ground, Reason
from artifactstore.core.selection import Rules

# what a child cannot do without, as (one of it, more of it)
_NEEDS = {
    Relation.ADAPTER: ("base of adapter {}", "base of {} more adapters"),
    Relation.MERGE: ("merge source of {}", "merge source of {} more"),
    Relation.QUANTIZE: ("quantization source of {}", "quantization source of {} more"),
}
NEEDED = frozenset(_NEEDS)
LAST = Reason(Ground.LAST, "last version of its artifact")
_NAMED = 3
_Kept = dict[Digest, list[Reason]]


@dataclass(frozen=True, slots=True)
class Need:
    """An edge between versions of one store, as its links say; `child_ref` names the child in reasons"""

    child: Digest
    parent: Digest
    relation: Relation
    child_ref: str


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether one version stays, and every reason for it"""

    id: Digest
    ref: str
    keep: bool
    reasons: tuple[Reason, ...]


def decide(
    candidates: Iterable[Candidate],
    *,
    rules_of: Callable[[str], Rules | None],
    held: Mapping[Digest, tuple[Reason, ...]],
    needs: Iterable[Need],
    matching: Mapping[str, frozenset[Digest]],
    now: int,
) -> list[Decision]:
    """What stays of all active versions of a store, by artifact and number; now: microseconds since 1970 UTC

    rules_of: the rules of an artifact; without any, all of it stays. held: ids with why, such as pins and leases.
    needs: links of versions that are not retired; a child that is no candidate counts as kept. matching: the ids
    each filter expression holds for; raise Invalid where it is missing.
    """
    lines = _lines(candidates)
    keep: _Kept = {}
    go: dict[Digest, Reason] = {}
    # one set of rules may stand for thousands of artifacts
    found = cache(lambda where: _found(where, matching))
    for artifact, line in lines.items():
        rules = rules_of(artifact) or Rules()
        _rescue(line, held, keep)
        go |= _judge(line, rules, found(rules.selector.where), now, keep)
    _follow(list(lines.values()), [need for need in needs if need.relation in NEEDED], keep)
    return [_decision(one, keep, go) for line in lines.values() for one in line]


def needed_by(start: Iterable[Digest], needs: Iterable[Need]) -> dict[Digest, tuple[Reason, ...]]:
    """What these versions need, at any distance, with the reasons in the order of the children"""
    wanted = [need for need in needs if need.relation in NEEDED and need.child != need.parent]
    staying = _closed(start, _parents(wanted))
    children: dict[tuple[Digest, Relation], dict[Digest, str]] = {}
    for need in sorted(wanted, key=_by_child):
        if need.child in staying:
            children.setdefault((need.parent, need.relation), {})[need.child] = need.child_ref
    reasons: dict[Digest, tuple[Reason, ...]] = {}
    for (parent, relation), refs in children.items():
        reasons[parent] = reasons.get(parent, ()) + _worded(relation, list(refs.values()))
    return reasons


def _lines(candidates: Iterable[Candidate]) -> dict[str, list[Candidate]]:
    lines: dict[str, list[Candidate]] = {}
    for one in sorted(candidates, key=attrgetter("artifact", "number")):
        lines.setdefault(one.artifact, []).append(one)
    return lines


def _found(where: tuple[str, ...], matching: Mapping[str, frozenset[Digest]]) -> frozenset[Digest] | None:
    if not where or not matching.keys() >= set(where):
        return None
    return frozenset.intersection(*(matching[expression] for expression in where))


def _rescue(line: list[Candidate], held: Mapping[Digest, tuple[Reason, ...]], keep: _Kept) -> None:
    resumable = max((one for one in line if one.resumable), key=_by_step, default=None)
    for one in line:
        reasons = [*held.get(one.id, ()), *(Reason(Ground.ALIAS, f"alias {name}") for name in one.aliases)]
        if one is resumable:
            reasons.insert(0, Reason(Ground.RESUMABLE, "newest resumable step"))
        if reasons:
            keep[one.id] = reasons


def _by_step(one: Candidate) -> tuple[float, int, int]:
    return -math.inf if one.step is None else one.step, one.created, one.number


def _judge(
    line: list[Candidate],
    rules: Rules,
    matching: frozenset[Digest] | None,
    now: int,
    keep: _Kept,
) -> dict[Digest, Reason]:
    """Add what the rules leave standing to `keep`, and return why the rest would go"""
    if rules.keep is not None:
        # a clock that ran ahead must not move the window of Within, nor push out what is really the newest day
        seen = [replace(one, created=now) if one.created > now else one for one in line]
        for version, reasons in rules.keep.keeps(seen).items():
            keep.setdefault(version, []).extend(Reason(Ground.RULE, reason) for reason in reasons)
    go = {}
    untouched = rules.is_empty
    for one in line:
        if untouched:
            keep.setdefault(one.id, []).append(Reason(Ground.IDLE, "no rule selects it"))
        elif one.id not in keep:
            selected = rules.selector.selects(one, now, matching)
            if selected is None:
                keep[one.id] = []
            else:
                reason = f"{selected}, no rule keeps it" if selected else "no rule keeps it"
                go[one.id] = Reason(Ground.RULE, reason)
    return go


def _follow(lines: list[list[Candidate]], needs: list[Need], keep: _Kept) -> None:
    """Add the last version of each artifact, and what anything kept needs, to `keep`"""
    known = {one.id for line in lines for one in line}
    outside = {need.child for need in needs} - known
    staying = _closed(keep.keys() | outside, _parents(needs))
    for line in lines:
        if staying.isdisjoint(one.id for one in line):
            keep[max(line, key=BY_AGE).id] = [LAST]
    for version, reasons in needed_by(keep.keys() | outside, needs).items():
        keep.setdefault(version, []).extend(reasons)


def _parents(needs: Iterable[Need]) -> dict[Digest, list[Digest]]:
    parents: dict[Digest, list[Digest]] = {}
    for need in needs:
        parents.setdefault(need.child, []).append(need.parent)
    return parents


def _closed(start: Iterable[Digest], parents: Mapping[Digest, list[Digest]]) -> set[Digest]:
    """`start` and all that it needs, at any distance"""
    found = set(start)
    due = list(found)
    while due:
        new = [parent for parent in parents.get(due.pop(), ()) if parent not in found]
        found.update(new)
        due.extend(new)
    return found


def _by_child(need: Need) -> tuple[str, int, str, Digest]:
    name, _, number = need.child_ref.rpartition(":")
    return name, int(number) if number.isdecimal() else 0, need.relation, need.child


def _worded(relation: Relation, refs: list[str]) -> tuple[Reason, ...]:
    _, more = _NEEDS[relation]
    rest = (Reason(Ground.NEEDED, more.format(len(refs) - _NAMED)),) if len(refs) > _NAMED else ()
    return (*(Reason(Ground.NEEDED, role(relation, ref)) for ref in refs[:_NAMED]), *rest)


def role(relation: Relation, child: str) -> str:
    """What a version is to a child that needs it: `base of adapter style:2`"""
    return _NEEDS[relation][0].format(child)


def _decision(one: Candidate, keep: Mapping[Digest, list[Reason]], go: Mapping[Digest, Reason]) -> Decision:
    reasons = keep.get(one.id)
    if reasons is None:
        return Decision(one.id, one.ref, keep=False, reasons=(go[one.id],))
    unasked = (Reason(Ground.IDLE, "not selected"),)
    return Decision(one.id, one.ref, keep=True, reasons=tuple(dict.fromkeys(reasons)) or unasked)
