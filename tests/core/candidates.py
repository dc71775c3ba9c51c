"""Candidates for tests: one version as rules see it, and all that Hypothesis can think of"""

import math
from datetime import UTC, datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st

from artifactstore.core.calendar import Daily, Monthly, Weekly
from artifactstore.core.digest import Digest
from artifactstore.core.lineage import Relation
from artifactstore.core.policy import Aliased, AnyOf, Best, Candidate, EverySteps, Latest, MinCopies, Phase, Within
from artifactstore.core.selection import Rules, Selector
from artifactstore.core.verdict import Need

DAY = 86_400_000_000
NOW = 1_772_366_400_000_000  # 2026-03-01 12:00 UTC
# drawing a whole store takes what the machine has left
UNTIMED = settings(deadline=None, max_examples=60)


def at(text) -> int:
    """Microseconds since 1970 of an ISO date or time, in UTC"""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


def id_of(ref) -> Digest:
    """The id of the version that tests call by this reference"""
    return Digest.of(ref.encode())


def version(ref="m:1", *, days=0, **changes) -> Candidate:
    """The version `ref`, `days` old; any field may be given another value"""
    artifact, _, number = ref.rpartition(":")
    created = changes.pop("created", NOW - int(days * DAY))
    values = {
        "id": id_of(ref),
        "ref": ref,
        "artifact": artifact,
        "number": int(number),
        "created": created,
        "last_load": None,
        "taken": created,
        "phase": None,
        "step": None,
        "metrics": {},
        "aliases": (),
        "nbytes": 1,
        "resumable": False,
    }
    return Candidate(**values | changes)


def line(*days, name="m", **changes) -> list[Candidate]:
    """Versions 1, 2, … of one artifact, so many days old"""
    return [version(f"{name}:{number}", days=age, **changes) for number, age in enumerate(days, 1)]


names = st.sampled_from(["a", "b", "c", "org/d"])
phases = st.none() | st.sampled_from(["warmup", "sft"])
aliases = st.sampled_from(["prod", "best", "rel-1", "rel-2"])
metrics = st.dictionaries(
    st.sampled_from(["val_loss", "fid"]), st.integers(0, 3).map(float) | st.just(math.nan), max_size=2
)
ages = st.integers(-2, 70).map(lambda days: NOW - days * DAY) | st.integers(NOW - 400 * DAY, NOW + DAY)


@st.composite
def stores(draw, names=names):
    """The active versions of a store, in some order"""
    counts = draw(st.dictionaries(names, st.integers(1, 4), max_size=3))
    one = st.fixed_dictionaries(
        {
            "created": ages,
            "taken": ages,
            "last_load": st.none() | ages,
            "phase": phases,
            "step": st.none() | st.integers(0, 6),
            "metrics": metrics,
            "aliases": st.sets(aliases, max_size=1).map(tuple),
            "resumable": st.booleans(),
            "copies": st.lists(st.sampled_from(["disk", "s3", "usb"]), unique=True, max_size=2).map(sorted).map(tuple),
        }
    )
    refs = [f"{name}:{number}" for name, count in counts.items() for number in range(1, count + 1)]
    return draw(st.permutations([version(ref, **draw(one)) for ref in refs]))


def groups():
    """The active versions of one artifact, in some order"""
    return stores(names=st.just("m"))


def needs_in(versions):
    """Links among these versions and some that are no candidates"""
    refs = [*(one.ref for one in versions), "open:1", "gone:1"]
    pairs = st.tuples(st.sampled_from(refs), st.sampled_from(refs), st.sampled_from(Relation))
    return st.lists(pairs.map(lambda pair: need(*pair)), max_size=8)


def need(child, parent, relation=Relation.ADAPTER) -> Need:
    """The link by which one version, named by its reference, stands on another"""
    return Need(id_of(child), id_of(parent), relation, child)


counts = st.integers(1, 4)
spans = st.integers(0, 80).map(lambda days: timedelta(days=days))
# conditions as text; what they hold for, each test says itself
BIG, OLD = "size > 1GB", "age > 1y"
labels = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).filter(
    lambda text: text.isprintable() and text == text.strip()
)
rules = st.one_of(
    st.builds(Latest, counts),
    st.builds(Best, counts, st.sampled_from(["val_loss", "fid"]), st.sampled_from(["min", "max"])),
    st.builds(EverySteps, counts),
    st.builds(Within, spans),
    st.builds(Daily, counts),
    st.builds(Weekly, counts),
    st.builds(Monthly, counts),
    st.builds(Aliased, st.sampled_from(["prod", "rel-*", "none"])),
    st.builds(Phase, st.sampled_from(["warmup", "sft"])),
    st.builds(MinCopies, counts),
)
policies = st.lists(rules, min_size=1, max_size=4).map(lambda some: AnyOf(tuple(some)))
selectors = st.builds(
    Selector,
    older=st.none() | spans,
    unused=st.none() | spans,
    phase=phases,
    run=st.sampled_from([None, "*", "org/*", "a"]),
    where=st.sampled_from([(), (BIG,), (BIG, OLD)]),
)
all_rules = st.builds(Rules, selectors, st.none() | policies)
