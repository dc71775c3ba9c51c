"""What one file says of where a version came from, and the bounds on what is believed"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from artifactstore.core.errors import Invalid
from artifactstore.core.lineage import Link, Relation
from artifactstore.core.names import check_label
from artifactstore.core.numbers import check_finite, check_integer
from artifactstore.core.provenance.refs import named

MAX_PARENTS = 1000
MAX_DEPTH = 6

Warner = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Provenance:
    """Links to parents in the order they were named, and a licence; all of it only declared"""

    parents: tuple[Link, ...] = ()
    license: str | None = None

    def beside(self, given: Sequence[Link], own: str) -> tuple[Link, ...]:
        """The links given by a person, then those read that name other parents

        own: the artifact that is added; that a version comes from another of its own line is for a person to say.
        """
        known = {own, *(named(link.ref) for link in given)}
        return (*given, *(link for link in self.parents if named(link.ref) not in known))


def parent(
    relation: Relation, ref: str, path: str, params: Mapping[str, Any] | None = None, weight: float | None = None
) -> Link:
    """A link that says which file of the version it was read from"""
    return Link(relation, ref, weight=weight, params={**(params or {}), "read": path})


def label(value: object) -> str | None:
    """A text without the white space around it if it is fit for a label, else None"""
    if not isinstance(value, str):
        return None
    try:
        return check_label(value.strip(), "label")
    except Invalid:
        return None


def license_of(value: object, path: str, warn: Warner) -> str | None:
    """A licence if it is a label; its whole text, which some write there, is passed over"""
    found = label(value)
    if found is None and value not in (None, ""):
        warn(f"{path}: its license is {shown(value)}, not a name of 1 to 200 characters; it was not taken")
    return found


def bounded(items: Sequence[Any], path: str, warn: Warner) -> Sequence[Any]:
    """At most the first 1000 of them"""
    if len(items) > MAX_PARENTS:
        warn(f"{path}: it names more than {MAX_PARENTS} parents; only so many were taken")
    return items[:MAX_PARENTS]


def pass_over(odd: Sequence[object], path: str, warn: Warner) -> None:
    """Tell of what stands where a parent should"""
    if odd:
        more = f" (and {len(odd) - 1} more)" if len(odd) > 1 else ""
        warn(f"{path}: {shown(odd[0])}{more} names no model; no parent was taken from it")


def shown(value: object) -> str:
    """For a message: a text in short, of anything else only its kind"""
    return f"{value[:80]!a:.82}" if isinstance(value, str) else f"a value of type {type(value).__name__}"


@dataclass(slots=True)
class Budget:
    """How many more values the links of one file may carry: a parameter of a whole recipe becomes one of each link"""

    left: int = 10_000


def plain(value: object, budget: Budget) -> Any:
    """The value if a manifest can carry it: JSON within the budget, at most 6 levels deep; else None"""
    try:
        return _plain(value, budget, MAX_DEPTH)
    except Invalid:
        return None


def _plain(value: object, budget: Budget, depth: int) -> Any:
    budget.left -= 1
    if budget.left < 0 or depth == 0:
        raise Invalid("Too large", code="params")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return check_label(value, "parameter")
    if isinstance(value, int | float):
        return check_integer(value, "parameter") if isinstance(value, int) else check_finite(value, "parameter")
    if isinstance(value, list):
        return [_plain(item, budget, depth - 1) for item in value]
    if isinstance(value, Mapping):
        return {check_label(key, "parameter"): _plain(item, budget, depth - 1) for key, item in value.items()}
    raise Invalid(f"No JSON: {type(value).__name__}", code="params")
