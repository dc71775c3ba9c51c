"""Cause: why one version stays, followed from what needs it to where that begins"""

from collections import Counter
from collections.abc import Iterable, Mapping

from artifactstore.core.digest import Digest
from artifactstore.core.reasons import Ground, Reason
from artifactstore.core.verdict import LAST, NEEDED, Decision, Need, role

# how each ground is told of a version further on, the most telling first
_ENDS = {
    Ground.ALIAS: "which has {}",
    Ground.PIN: "which is {}",
    Ground.USE: "which is {}",
    Ground.RESUMABLE: "which is the {}",
    Ground.LAST: "which is the {}",
    Ground.RULE: "which its policy keeps: {}",
    Ground.IDLE: "which nothing asks to go",
}
_NAMED = 5
_LONGEST = 6


def causes(version: Digest, decisions: Iterable[Decision], needs: Iterable[Need]) -> tuple[Reason, ...]:
    """Every reason why it must stay: its own, then each child that needs it, with why that child stays

    decisions: on every active version. Empty when nothing but that nobody asks for it keeps it.
    """
    firm = _firm(list(decisions))
    wanted = [need for need in needs if need.relation in NEEDED and need.child != need.parent and need.child in firm]
    # in a ring a version would be a reason for itself
    towards = _towards(firm, [need for need in wanted if need.child != version])
    told = []
    for need in wanted:
        if need.parent == version:
            steps, end = _path(need, firm, towards)
            told.append((end is None, len(steps), _told(steps, end)))
    ranked = list(dict.fromkeys(text for *_, text in sorted(told, key=lambda one: one[:2])))
    rest = [f"needed by {len(ranked) - _NAMED:,} more"] if len(ranked) > _NAMED else []
    return (*firm.get(version, ()), *(Reason(Ground.NEEDED, text) for text in [*ranked[:_NAMED], *rest]))


def _firm(decisions: list[Decision]) -> dict[Digest, tuple[Reason, ...]]:
    """Of each version that stays, the reasons that rest on nothing else"""
    lines = Counter(one.ref.rpartition(":")[0] for one in decisions)
    firm = {}
    for one in decisions:
        own = [reason for reason in one.reasons if reason.ground not in {Ground.NEEDED, Ground.IDLE}]
        if lines[one.ref.rpartition(":")[0]] == 1 and LAST not in own:
            own.append(LAST)
        if one.keep:
            firm[one.id] = tuple(own)
    return firm


def _towards(firm: Mapping[Digest, tuple[Reason, ...]], needs: list[Need]) -> dict[Digest, Need]:
    """For each version that another needs, the first step of a shortest way to one with reasons of its own"""
    by_child: dict[Digest, list[Need]] = {}
    for need in needs:
        by_child.setdefault(need.child, []).append(need)
    found: dict[Digest, Need] = {}
    level = [one for one, own in firm.items() if own]
    while level:
        steps = [need for one in level for need in by_child.get(one, ())]
        new = {need.parent: need for need in reversed(steps) if need.parent not in found}
        found |= new
        level = list(new)
    return found


def _path(
    need: Need, firm: Mapping[Digest, tuple[Reason, ...]], towards: Mapping[Digest, Need]
) -> tuple[list[Need], Reason | None]:
    """The steps from a child on, and what keeps the last; None when nothing does"""
    steps = [need]
    while not (own := firm[steps[-1].child]) and steps[-1].child in towards:
        steps.append(towards[steps[-1].child])
    return steps, min(own, key=lambda reason: list(_ENDS).index(reason.ground), default=None)


def _told(steps: list[Need], end: Reason | None) -> str:
    """`base of adapter style:2, which is merge source of hero:3, which has alias prod`"""
    roles = [role(step.relation, step.child_ref) for step in steps]
    if len(roles) > _LONGEST:
        roles = [*roles[:2], f"at the end of {len(roles) - 3} more steps {roles[-1]}"]
    last = _ENDS[Ground.IDLE] if end is None else _ENDS[end.ground].format(end)
    return ", ".join([roles[0], *(f"which is {one}" for one in roles[1:]), last])
