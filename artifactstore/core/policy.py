"""Policies: rules that say which versions of one artifact stay, and why"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from fnmatch import fnmatchcase
from operator import attrgetter
from typing import Literal, Protocol

from artifactstore.core.digest import Digest
from artifactstore.core.errors import Invalid
from artifactstore.core.flags import hint, write
from artifactstore.core.names import check_label
from artifactstore.core.units import LONGEST, format_duration

BY_AGE = attrgetter("created", "number")
MICROSECOND = timedelta(microseconds=1)

Reasons = dict[Digest, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Candidate:
    """What rules know of one version. Times are microseconds since 1970 UTC

    resumable: training can go on from it. taken: when this store took it in. copies: remotes that were seen to hold it.
    """

    id: Digest
    ref: str
    artifact: str
    number: int
    created: int
    last_load: int | None
    taken: int
    phase: str | None
    step: int | None
    metrics: Mapping[str, float]
    aliases: tuple[str, ...]
    nbytes: int
    resumable: bool
    copies: tuple[str, ...] = ()


class Policy(Protocol):
    """Says what of one artifact stays"""

    def keeps(self, group: Sequence[Candidate], /) -> Reasons:
        """Why, by id, for each it keeps of all active versions of one artifact, in any order"""


def either(self: Policy, other: Policy) -> "AnyOf":
    """The `|` of every rule"""
    return AnyOf((self, other))


@dataclass(frozen=True, slots=True)
class AnyOf:
    """What any of the rules keeps: `Latest(3) | Best(2, "val_loss")`. Held flat, each rule once"""

    rules: tuple[Policy, ...]
    __or__ = either

    def __post_init__(self) -> None:
        flat = [inner for rule in self.rules for inner in (rule.rules if isinstance(rule, AnyOf) else (rule,))]
        # a policy of the caller's own need not be hashable
        once = tuple(rule for place, rule in enumerate(flat) if rule not in flat[:place])
        object.__setattr__(self, "rules", once)
        # kept by none of no rules would be everything gone
        if not self.rules:
            raise Invalid("AnyOf() holds no rule; name one, such as Latest(3)", code="rule")

    def __str__(self) -> str:
        return " ".join(map(str, self.rules))

    def keeps(self, group: Sequence[Candidate], /) -> Reasons:
        """The reasons of all rules, in their order"""
        kept: Reasons = {}
        for rule in self.rules:
            for version, reasons in rule.keeps(group).items():
                kept[version] = kept.get(version, ()) + reasons
        return kept


@dataclass(frozen=True, slots=True)
class Latest:
    """The newest n"""

    n: int
    __or__ = either

    def __post_init__(self) -> None:
        check_count(self.n, "Latest")

    def __str__(self) -> str:
        return write("keep-last", self.n)

    def keeps(self, group: Sequence[Candidate], /) -> Reasons:
        """`latest 2 of 3`"""
        return {one.id: (f"latest {rank} of {self.n}",) for rank, one in enumerate(newest_first(group)[: self.n], 1)}


@dataclass(frozen=True, slots=True)
class Best:
    """The n with the lowest (`min`) or highest (`max`) value of a metric; of equals the newer, never NaN"""

    n: int
    metric: str
    mode: Literal["min", "max"] = "min"
    __or__ = either

    def __post_init__(self) -> None:
        check_count(self.n, "Best")
        check_label(self.metric, "metric name")
        if self.mode not in ("min", "max"):
            raise Invalid(f"Best is by min or max, not by {self.mode!r:.40}", code="rule")

    def __str__(self) -> str:
        mode = f":{self.mode}" if self.mode == "max" or ":" in self.metric else ""
        return write("keep-best", f"{self.n}:{self.metric}{mode}")

    def keeps(self, group: Sequence[Candidate], /) -> Reasons:
        """`best 1 of val_loss = 0.0412`"""
        valued = [(one.metrics.get(self.metric, math.nan), one.id) for one in newest_first(group)]
        ranked = sorted(
            (pair for pair in valued if not math.isnan(pair[0])), key=lambda pair: pair[0], reverse=self.mode == "max"
        )
        return {
            version: (f"best {rank} of {self.metric} = {value:.6g}",)
            for rank, (value, version) in enumerate(ranked[: self.n], 1)
        }


@dataclass(frozen=True, slots=True)
class EverySteps:
    """Those whose step is an exact multiple of n, 0 too; never those without step"""

    n: int
    __or__ = either

    def __post_init__(self) -> None:
        check_count(self.n, "EverySteps")

    def __str__(self) -> str:
        return write("keep-every", self.n)

    def keeps(self, group: Sequence[Candidate], /) -> Reasons:
        """`step 5000 is a multiple of 5000`"""
        return {
            one.id: (f"step {one.step} is a multiple of {self.n}",)
            for one in group
            if one.step is not None and one.step % self.n == 0
        }


@dataclass(frozen=True, slots=True)
class Within:
    """Those created at most `span` before the newest of the artifact, so that an idle run loses nothing"""

    span: timedelta
    __or__ = either

    def __post_init__(self) -> None:
        check_span(self.span, "Within")

    def __str__(self) -> str:
        return write("keep-within", self.span)

    def keeps(self, group: Sequence[Candidate], /) -> Reasons:
        """`within 7d of the newest`"""
        since = max((one.created for one in group), default=0) - self.span // MICROSECOND
        reason = (f"within {format_duration(self.span)} of the newest",)
        return {one.id: reason for one in group if one.created >= since}


@dataclass(frozen=True, slots=True)
class Aliased:
    """Those an alias that matches the glob names"""

    glob: str
    __or__ = either

    def __post_init__(self) -> None:
        check_label(self.glob, "pattern of aliases")

    def __str__(self) -> str:
        return write("keep-alias", self.glob)

    def keeps(self, group: Sequence[Candidate], /) -> Reasons:
        """`alias prod`"""
        named = {one.id: tuple(f"alias {name}" for name in self._matching(one)) for one in group if one.aliases}
        return {version: reasons for version, reasons in named.items() if reasons}

    def _matching(self, one: Candidate) -> list[str]:
        return [name for name in one.aliases if fnmatchcase(name, self.glob)]


@dataclass(frozen=True, slots=True)
class Phase:
    """Those of one phase of training"""

    name: str
    __or__ = either

    def __post_init__(self) -> None:
        check_label(self.name, "phase")

    def __str__(self) -> str:
        return write("keep-phase", self.name)

    def keeps(self, group: Sequence[Candidate], /) -> Reasons:
        """`phase sft`"""
        return {one.id: (f"phase {self.name}",) for one in group if one.phase == self.name}


@dataclass(frozen=True, slots=True)
class MinCopies:
    """Those that fewer than n other stores hold, as far as was seen there"""

    n: int
    __or__ = either

    def __post_init__(self) -> None:
        check_count(self.n, "MinCopies")

    def __str__(self) -> str:
        return write("min-copies", self.n)

    def keeps(self, group: Sequence[Candidate], /) -> Reasons:
        """`only 1 of 2 copies elsewhere (usb)`"""
        return {one.id: (self._lacking(one.copies),) for one in group if len(one.copies) < self.n}

    def _lacking(self, copies: Sequence[str]) -> str:
        found = f"only {len(copies)}" if copies else "none"
        where = f" ({', '.join(copies)})" if copies else ""
        return f"{found} of {self.n} {'copy' if self.n == 1 else 'copies'} elsewhere{where}"


def check_known(policy: Policy, candidates: Sequence[Candidate]) -> None:
    """Raise Invalid when a metric, alias, phase or step that a rule goes by is nowhere among the candidates

    A misspelt rule would keep nothing and so let everything go. Where there are no candidates, nothing can go.
    """
    if candidates:
        for rule in policy.rules if isinstance(policy, AnyOf) else (policy,):
            _check_rule(rule, candidates)


def _check_rule(rule: Policy, candidates: Sequence[Candidate]) -> None:
    match rule:
        case EverySteps():
            if all(one.step is None for one in candidates):
                raise Invalid(f"No version here has a step, for {rule} to go by", code="rule", rule=str(rule))
        case Best(metric=name):
            check_name(rule, "metric", name, {key for one in candidates for key in one.metrics})
        case Phase(name=name):
            check_name(rule, "phase", name, {one.phase for one in candidates if one.phase is not None})
        case Aliased(glob=name):
            names = {key for one in candidates for key in one.aliases}
            if not any(fnmatchcase(key, name) for key in names):
                check_name(rule, "alias", name, names)


def check_name(rule: Policy | str, what: str, name: str, known: set[str]) -> None:
    """Raise Invalid when the metric, alias or phase that a rule goes by is none of the known ones"""
    if name not in known:
        raise Invalid(
            f"No version here has the {what} {name!r}, for {rule} to go by{hint(name, known)}",
            code="rule",
            rule=str(rule),
            name=name,
        )


def check_span(span: timedelta, what: str) -> None:
    """Raise Invalid unless it is between zero and the longest that can be written"""
    if not timedelta(0) <= span <= LONGEST:
        raise Invalid(f"{what} takes a span from 0 to 1000 years, found {span}", code="rule")


def check_count(n: int, rule: str) -> None:
    """Raise Invalid unless it is a whole number from 1"""
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise Invalid(f"{rule} takes a whole number from 1, found {n!r:.40}", code="rule")


def newest_first(group: Sequence[Candidate]) -> list[Candidate]:
    """By creation, of equals the higher number first"""
    return sorted(group, key=BY_AGE, reverse=True)
