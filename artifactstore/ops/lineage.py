"""Lineage: what a version came from and what came from it, and why it stays, may go, or went"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, Self

from artifactstore.catalog.base import Retirement, Survey, VersionInfo
from artifactstore.core.cause import causes
from artifactstore.core.digest import Digest
from artifactstore.core.errors import Invalid
from artifactstore.core.graph import Edge, Graph, Node
from artifactstore.core.policy import MICROSECOND
from artifactstore.core.reasons import Reason
from artifactstore.core.selection import Rules, check_rules, pattern_for
from artifactstore.core.units import format_moment
from artifactstore.core.verdict import Decision, decide
from artifactstore.depot import Depot


@dataclass(frozen=True, slots=True)
class PolicyView:
    """The stored policy of a version and what it does with it; `refused` when gc would not run by it as it is"""

    pattern: str
    rules: str
    action: Literal["keep", "retire", "refused"]
    reasons: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """With stable keys"""
        return {"pattern": self.pattern, "rules": self.rules, "action": self.action, "reasons": list(self.reasons)}


@dataclass(frozen=True, slots=True)
class Standing:
    """Why a version stays, or how it went

    keeps: all that keeps it; empty when a rule may let it go. undo_until: of a retired version when its bytes go by
    the grace that was asked for, microseconds since 1970 UTC; None as long as no collection has condemned them.
    """

    version: VersionInfo
    keeps: tuple[Reason, ...]
    policy: PolicyView | None
    undo_until: int | None

    def to_json(self) -> dict[str, Any]:
        """With stable keys"""
        return {
            "id": str(self.version.id),
            "ref": self.version.ref,
            "state": self.version.state,
            "keeps": [{"kind": str(reason.ground), "text": str(reason)} for reason in self.keeps],
            "policy": None if self.policy is None else self.policy.to_json(),
            "retired": None if self.version.retired is None else self._went(self.version.retired),
        }

    def _went(self, how: Retirement) -> dict[str, Any]:
        return {
            "at": _moment(how.at),
            "serial": how.serial,
            "why": how.why,
            "swept": _moment(how.swept),
            "undo_until": _moment(self.undo_until),
        }


def tree(depot: Depot, version: VersionInfo, *, up: bool, down: bool, depth: int | None = None) -> Graph:
    """The ancestors and descendants of a version in any state, at most `depth` links away"""
    return depot.catalog.versions.graph(version.id, up=up, down=down, depth=depth)


def document(graph: Graph) -> dict[str, Any]:
    """A graph with stable keys; what is not in this store has a null id, and `ref` says what it is called"""
    return {
        "root": str(graph.root),
        "nodes": [_node(node) for node in graph.nodes.values()],
        "edges": [_edge(edge) for edge in graph.edges],
    }


def why(depot: Depot, version: VersionInfo, *, grace: timedelta) -> Standing:
    """What keeps a version, followed to its root, and what its stored policy says; of one in another state how it went

    grace: how long a collection leaves the bytes of what was retired.
    """
    if version.retired is not None:
        since = version.retired.condemned
        return Standing(version, (), None, None if since is None else since + grace // MICROSECOND)
    survey = depot.catalog.retirements.survey()
    policies = _Policies.of(depot, survey)
    decisions = decide(
        survey.candidates,
        rules_of=policies.rules_of,
        held=survey.held,
        needs=survey.needs,
        matching=policies.matching,
        now=survey.now,
    )
    ends = {f"pinned: {pin.why}": pin.until for pin in depot.catalog.notes.pins(version.id)}
    keeps = tuple(_dated(reason, ends.get(reason)) for reason in causes(version.id, decisions, survey.needs))
    mine = next((one for one in decisions if one.id == version.id), None)
    return Standing(version, keeps, None if mine is None else policies.view(version.artifact, mine), None)


def _dated(reason: Reason, until: datetime | None) -> Reason:
    return reason if until is None else Reason(reason.ground, f"{reason} until {until:%Y-%m-%d}")


@dataclass(frozen=True, slots=True)
class _Policies:
    """The stored policies by pattern, and the pattern of each artifact

    wrong: why gc refuses the policy of a pattern. matching: ids that their filters hold for.
    """

    rules: Mapping[str, Rules]
    patterns: Mapping[str, str | None]
    wrong: Mapping[str, str]
    matching: Mapping[str, frozenset[Digest]]

    @classmethod
    def of(cls, depot: Depot, survey: Survey) -> Self:
        """As they are stored now"""
        rules = {one.pattern: Rules.parse(one.rules, stored=True) for one in depot.catalog.policies.list()}
        patterns = {name: pattern_for(name, rules) for name in {one.artifact for one in survey.candidates}}
        wrong: dict[str, str] = {}
        matching: dict[str, frozenset[Digest]] = {}
        for pattern, policy in rules.items():
            try:
                check_rules(policy, [one for one in survey.candidates if patterns[one.artifact] == pattern])
                matching |= {text: depot.catalog.versions.matching(text) for text in policy.selector.where}
            except Invalid as e:
                wrong[pattern] = e.message
        return cls(rules, patterns, wrong, matching)

    def rules_of(self, artifact: str) -> Rules | None:
        """None where there is none, or none that gc would run by"""
        pattern = self.patterns[artifact]
        return None if pattern is None or pattern in self.wrong else self.rules[pattern]

    def view(self, artifact: str, decision: Decision) -> PolicyView | None:
        """What the policy of an artifact does with a version of it"""
        pattern = self.patterns[artifact]
        if pattern is None:
            return None
        rules = str(self.rules[pattern])
        if pattern in self.wrong:
            return PolicyView(pattern, rules, "refused", (self.wrong[pattern],))
        return PolicyView(pattern, rules, "keep" if decision.keep else "retire", decision.reasons)


def _moment(microseconds: int | None) -> str | None:
    return None if microseconds is None else format_moment(microseconds)


def _node(node: Node) -> dict[str, Any]:
    return {
        "id": None if node.id is None else str(node.id),
        "ref": node.ref,
        "artifact": node.artifact,
        "number": node.number,
        "state": node.state,
        "created": _moment(node.created),
        "phase": node.phase,
        "step": node.step,
        "aliases": list(node.aliases),
        "license": node.license,
        "dtypes": list(node.dtypes),
        "logical_bytes": node.nbytes,
    }


def _edge(edge: Edge) -> dict[str, Any]:
    return {
        "child": str(edge.child),
        "parent": None if edge.parent is None else str(edge.parent),
        "ref": edge.ref,
        "relation": edge.relation,
        "weight": edge.weight,
        "position": edge.position,
        "declared": edge.evidence is None,
        "evidence": edge.evidence,
    }
