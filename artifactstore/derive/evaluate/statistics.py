"""Statistics: means with their standard errors, and the same items answered by two models"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Value:
    """A figure and its standard error, None where one item or a whole tells no spread"""

    value: float
    stderr: float | None = None


@dataclass(frozen=True, slots=True)
class Paired:
    """A model less its baseline on the same items. differs: by more than chance would give once in twenty"""

    difference: float
    stderr: float | None
    better: int
    worse: int

    @property
    def differs(self) -> bool:
        """Whether it lies outside 1.96 standard errors"""
        return self.stderr is not None and abs(self.difference) > 1.96 * self.stderr


@dataclass(frozen=True, slots=True)
class Score:
    """What a task found. values: by metric; items: what each metric that is a mean was the mean of, for pairing

    same: what must be equal of two scores for their items to be the same ones.
    """

    task: str
    count: int
    values: Mapping[str, Value]
    items: Mapping[str, Sequence[float]] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    same: object = None


def mean(items: Sequence[float]) -> Value:
    """With the standard error of the mean: sample deviation over √n"""
    count = len(items)
    value = math.fsum(items) / count
    if count < 2:
        return Value(value)
    variance = math.fsum((one - value) ** 2 for one in items) / (count - 1)
    return Value(value, math.sqrt(variance / count))


def perplexity(losses: Sequence[float]) -> Value:
    """Of losses in nats, with its error to first order"""
    loss = mean(losses)
    value = exp(loss.value)
    return Value(value, None if loss.stderr is None else value * loss.stderr)


def exp(value: float) -> float:
    """Infinite where a float cannot hold it"""
    return math.exp(value) if value < 709 else math.inf


def paired(items: Sequence[float], baseline: Sequence[float]) -> Paired:
    """Item by item; the error of a difference of paired items is smaller than that of two means"""
    differences = [one - other for one, other in zip(items, baseline, strict=True)]
    found = mean(differences)
    return Paired(found.value, found.stderr, sum(one > 0 for one in differences), sum(one < 0 for one in differences))


def compare(score: Score, baseline: Score) -> dict[str, Paired]:
    """Of each metric with items; empty where the items are not the same ones"""
    if score.same != baseline.same:
        return {}
    return {
        name: paired(items, baseline.items[name])
        for name, items in score.items.items()
        if len(items) == len(baseline.items.get(name, ()))
    }
