"""Every state that can be reached, breadth first; what is wrong in one comes with the shortest way there"""

from array import array
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

S = TypeVar("S", bound=Hashable)
Label = tuple[Any, ...]
Steps = Callable[[S], Iterable[tuple[Label, S]]]


@dataclass(frozen=True, slots=True)
class Report:
    """What was seen. problem: None, or what is wrong in the last state of `trace`"""

    states: int
    steps: int
    depth: int
    problem: str | None = None
    trace: tuple[Label, ...] = ()
    last: Any = None
    names: frozenset[str] = field(default_factory=frozenset)

    def __str__(self) -> str:
        lines = [f"{self.states} states, {self.steps} steps, depth {self.depth}"]
        if self.problem:
            lines += [
                self.problem,
                *(f"{at:3} {show(label)}" for at, label in enumerate(self.trace, 1)),
                str(self.last),
            ]
        return "\n".join(lines)


def show(label: Label) -> str:
    """A step as a person reads it: its name, then who and what"""
    return " ".join(map(str, label))


def explore(starts: Iterable[S], steps: Steps[S], check: Callable[[S], str | None], limit: int = 5_000_000) -> Report:
    """Visit everything reachable until `check` finds a problem

    Breadth first, so a trace is as short as any. Raises OverflowError past `limit` states: a scope must be finite.
    """
    order: list[S] = []
    parents = array("q")
    seen: set[S] = set()
    names: set[str] = set()

    def meet(state: S, parent: int) -> str | None:
        seen.add(state)
        order.append(state)
        parents.append(parent)
        return check(state)

    def report(problem: str | None = None) -> Report:
        trace = _trace(order, parents, steps) if problem else ()
        depth = len(trace) if problem else _depth(parents)
        last = order[-1] if problem else None
        return Report(len(order), taken, depth, problem, trace, last, frozenset(names))

    taken = 0
    for start in starts:
        if start not in seen and (problem := meet(start, -1)):
            return report(problem)
    # grows while it is walked
    for at, state in enumerate(order):
        for label, after in steps(state):
            taken += 1
            names.add(label[0])
            if after not in seen and (problem := meet(after, at)):
                return report(problem)
        if len(order) > limit:
            raise OverflowError(f"More than {limit} states; the scope is too large")
    return report()


def _trace(order: list[S], parents: Sequence[int], steps: Steps[S]) -> tuple[Label, ...]:
    labels: list[Label] = []
    at = len(order) - 1
    while parents[at] >= 0:
        before = parents[at]
        labels.append(next(label for label, after in steps(order[before]) if after == order[at]))
        at = before
    return tuple(reversed(labels))


def _depth(parents: Sequence[int]) -> int:
    depth = array("q", bytes(8 * len(parents)))
    for at, parent in enumerate(parents):
        depth[at] = depth[parent] + 1 if parent >= 0 else 0
    return max(depth, default=0)
