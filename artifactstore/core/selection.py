"""Selection: which versions a stored policy or one gc may touch, and what of them its keep rules rescue"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any, Literal, Self, cast

from artifactstore.core.calendar import Daily, Monthly, Weekly
from artifactstore.core.digest import Digest
from artifactstore.core.errors import Invalid
from artifactstore.core.filter import comparisons
from artifactstore.core.filter import parse as parse_filter
from artifactstore.core.flags import EXAMPLES, REPEATABLE, split, whole, write
from artifactstore.core.names import check_label
from artifactstore.core.policy import (
    MICROSECOND,
    Aliased,
    AnyOf,
    Best,
    Candidate,
    EverySteps,
    Latest,
    MinCopies,
    Phase,
    Policy,
    Within,
    check_known,
    check_name,
    check_span,
)
from artifactstore.core.units import format_duration, parse_duration

_NAMED = 5


@dataclass(frozen=True, slots=True)
class Selector:
    """Selects a version when all that is given here holds for it

    older: since its creation. unused: since its last load, else since it was taken in. run: glob of the artifact name.
    where: filter expressions, evaluated elsewhere.
    """

    older: timedelta | None = None
    unused: timedelta | None = None
    phase: str | None = None
    run: str | None = None
    where: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for flag, span in (("--older", self.older), ("--unused", self.unused)):
            if span is not None:
                check_span(span, flag)
        for what, text in (("phase", self.phase), ("pattern of names", self.run)):
            if text is not None:
                check_label(text, what)
        for expression in self.where:
            _check_expression(expression)

    def __str__(self) -> str:
        given = [("older", self.older), ("unused", self.unused), ("phase", self.phase), ("run", self.run)]
        wheres = [("where", expression) for expression in self.where]
        return " ".join(write(flag, value) for flag, value in (*given, *wheres) if value is not None)

    @property
    def is_empty(self) -> bool:
        """Nothing is given, so every version is selected"""
        return self == Selector()

    def selects(self, candidate: Candidate, now: int, matching: frozenset[Digest] | None = None) -> str | None:
        """Why it is selected, such as `older than 30d (47d)`, or None; now: microseconds since 1970 UTC

        matching: ids for which every expression of `where` holds; raise Invalid without it when there are such.
        """
        if self.where and matching is None:
            raise Invalid(f"Nobody looked up --where {self.where[0]!r:.80}", code="where")
        reasons = []
        for holds, reason in self._tests(candidate, now, matching or frozenset()):
            if not holds:
                return None
            reasons.append(reason)
        return ", ".join(reasons)

    def _tests(self, one: Candidate, now: int, matching: frozenset[Digest]) -> Iterator[tuple[bool, str]]:
        # a moment yet to come has a negative age, which no span exceeds
        if self.older is not None:
            age = (now - one.created) * MICROSECOND
            yield age >= self.older, f"older than {format_duration(self.older)} ({format_duration(age)})"
        if self.unused is not None:
            idle = (now - (one.taken if one.last_load is None else one.last_load)) * MICROSECOND
            since = "never loaded, taken in" if one.last_load is None else "last loaded"
            yield (
                idle >= self.unused,
                f"not loaded for {format_duration(self.unused)} ({since} {format_duration(idle)} ago)",
            )
        if self.phase is not None:
            yield one.phase == self.phase, f"phase {self.phase}"
        if self.run is not None:
            yield fnmatchcase(one.artifact, self.run), f"run {self.run}"
        if self.where:
            yield one.id in matching, f"where {' and '.join(self.where)}"


Words = list[str] | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rules:
    """What one stored policy or one gc command says: `selector` narrows what may go, `keep` rescues of that"""

    selector: Selector = Selector()
    keep: Policy | None = None

    @classmethod
    def parse(cls, text: str, *, stored: bool = False) -> Self:
        """From flags as gc takes them: `--older 30d --keep-best 2:val_loss` or `older=30d keep-best=2:val_loss`

        stored: kept by name pattern, so without --run. Raises Invalid, which says what to write.
        """
        values: dict[str, Any] = {
            flag.replace("-", "_"): texts if flag in REPEATABLE else texts[0] for flag, texts in split(text).items()
        }
        return cls.of(**values, stored=stored)

    @classmethod
    def of(
        cls,
        *,
        older: str | None = None,
        unused: str | None = None,
        phase: str | None = None,
        run: str | None = None,
        where: Words = (),
        keep_last: str | None = None,
        keep_best: Words = (),
        keep_every: str | None = None,
        keep_daily: str | None = None,
        keep_weekly: str | None = None,
        keep_monthly: str | None = None,
        keep_within: str | None = None,
        keep_alias: Words = (),
        keep_phase: Words = (),
        min_copies: str | None = None,
        stored: bool = False,
    ) -> Self:
        """From the text of each flag, as `parse` does; empty when none is given"""
        if stored and run is not None:
            raise Invalid("A stored policy takes no --run; its own pattern says which runs it is for", code="rules")
        selector = Selector(
            older=_read("older", older),
            unused=_read("unused", unused),
            phase=_read("phase", phase),
            run=_read("run", run),
            where=tuple(sorted({_read("where", expression) for expression in where})),
        )
        given: dict[str, str | Words | None] = {
            "keep-last": keep_last,
            "keep-best": keep_best,
            "keep-every": keep_every,
            "keep-daily": keep_daily,
            "keep-weekly": keep_weekly,
            "keep-monthly": keep_monthly,
            "keep-within": keep_within,
            "keep-alias": keep_alias,
            "keep-phase": keep_phase,
            "min-copies": min_copies,
        }
        rules = tuple(rule for flag, texts in given.items() for rule in _rules(flag, texts))
        return cls(selector, AnyOf(rules) if len(rules) > 1 else next(iter(rules), None))

    def __str__(self) -> str:
        return f"{self.selector} {'' if self.keep is None else self.keep}".strip()

    @property
    def is_empty(self) -> bool:
        """Neither selector nor keep rule, so nothing may go"""
        return self.keep is None and self.selector.is_empty


def pattern_for(artifact: str, patterns: Iterable[str]) -> str | None:
    """Of the patterns that match an artifact's name the longest, of those the first by name"""
    matching = [pattern for pattern in patterns if fnmatchcase(artifact, pattern)]
    return min(matching, key=lambda pattern: (-len(pattern), pattern), default=None)


def check_rules(rules: Rules, candidates: Sequence[Candidate]) -> None:
    """Raise Invalid when a phase, or what a filter or keep rule goes by, is nowhere among those they are for"""
    if rules.keep is not None:
        check_known(rules.keep, candidates)
    for expression in rules.selector.where:
        _check_known(expression, candidates)
    phase = rules.selector.phase
    phases = sorted({one.phase for one in candidates if one.phase is not None})
    if phase is not None and phase not in phases:
        raise Invalid(
            f"No version has the phase {phase!r:.80}; there are {', '.join(phases[:_NAMED]) or 'none'}", code="phase"
        )


def _rules(flag: str, texts: str | Words | None) -> list[Policy]:
    """In the order of their text, whatever order they were given in"""
    rules = {_read(flag, text) for text in ([texts] if isinstance(texts, str) else texts or ())}
    return sorted(rules, key=str)


def _read(flag: str, text: str | None) -> Any:
    if text is None:
        return None
    try:
        return _READERS[flag](text)
    except Invalid as e:
        example = f"write for example --{flag} {EXAMPLES[flag]}"
        raise Invalid(f"--{flag} {text[:60]!r}: {e.message}; {example}", code="rules", flag=flag) from e


def _best(text: str) -> Best:
    number, _, rest = text.partition(":")
    metric, _, mode = rest.rpartition(":") if ":" in rest else (rest, "", "min")
    return Best(whole(number), metric, cast("Literal['min', 'max']", mode))


def _check_expression(text: str) -> str:
    parse_filter(text)
    return text


def _check_known(expression: str, candidates: Sequence[Candidate]) -> None:
    """A misspelt metric, alias or phase would be absent everywhere, so `not` and `!=` would select everything"""
    if not candidates:
        return
    known = {
        "metric": {name for one in candidates for name in one.metrics},
        "alias": {name for one in candidates for name in one.aliases},
        "phase": {one.phase for one in candidates if one.phase is not None},
    }
    for one in comparisons(parse_filter(expression)):
        if one.key in known and one.operator != "~":
            values = [str(operand.value) for operand in one.operands if operand.value is not None]
            for name in values if one.name is None else [one.name]:
                check_name(f"--where {expression!r:.200}", one.key, name, known[one.key])


_READERS: Mapping[str, Callable[[str], Any]] = MappingProxyType(
    {
        "older": parse_duration,
        "unused": parse_duration,
        "phase": lambda text: check_label(text, "phase"),
        "run": lambda text: check_label(text, "pattern of names"),
        "where": _check_expression,
        "keep-last": lambda text: Latest(whole(text)),
        "keep-best": _best,
        "keep-every": lambda text: EverySteps(whole(text)),
        "keep-daily": lambda text: Daily(whole(text)),
        "keep-weekly": lambda text: Weekly(whole(text)),
        "keep-monthly": lambda text: Monthly(whole(text)),
        "keep-within": lambda text: Within(parse_duration(text)),
        "keep-alias": Aliased,
        "keep-phase": Phase,
        "min-copies": lambda text: MinCopies(whole(text)),
    }
)
