"""Calendar rules: the newest version of each day, week or month that has any, in UTC"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from artifactstore.core.flags import write
from artifactstore.core.policy import MICROSECOND, Candidate, Reasons, check_count, either, newest_first

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Daily:
    """The newest of each of the n latest days (UTC) that have versions"""

    n: int
    __or__ = either

    def __post_init__(self) -> None:
        check_count(self.n, "Daily")

    def __str__(self) -> str:
        return write("keep-daily", self.n)

    def keeps(self, group: Sequence[Candidate], /) -> Reasons:
        """`newest of day 2026-03-01`"""
        return _newest_of(group, self.n, lambda moment: f"day {moment:%Y-%m-%d}")


@dataclass(frozen=True, slots=True)
class Weekly:
    """The newest of each of the n latest weeks (ISO 8601, UTC) that have versions"""

    n: int
    __or__ = either

    def __post_init__(self) -> None:
        check_count(self.n, "Weekly")

    def __str__(self) -> str:
        return write("keep-weekly", self.n)

    def keeps(self, group: Sequence[Candidate], /) -> Reasons:
        """`newest of week 2026-W09`"""
        return _newest_of(group, self.n, lambda moment: f"week {moment:%G-W%V}")


@dataclass(frozen=True, slots=True)
class Monthly:
    """The newest of each of the n latest months (UTC) that have versions"""

    n: int
    __or__ = either

    def __post_init__(self) -> None:
        check_count(self.n, "Monthly")

    def __str__(self) -> str:
        return write("keep-monthly", self.n)

    def keeps(self, group: Sequence[Candidate], /) -> Reasons:
        """`newest of month 2026-03`"""
        return _newest_of(group, self.n, lambda moment: f"month {moment:%Y-%m}")


def _newest_of(group: Sequence[Candidate], n: int, label: Callable[[datetime], str]) -> Reasons:
    kept: Reasons = {}
    last = ""
    for one in newest_first(group):
        name = label(_EPOCH + one.created * MICROSECOND)
        if name != last:
            if len(kept) == n:
                break
            kept[one.id] = (f"newest of {name}",)
        last = name
    return kept
