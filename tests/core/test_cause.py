"""Cause: every reason of a version, those of its children followed to where they begin"""

from datetime import timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from artifactstore.core.cause import causes
from artifactstore.core.lineage import Relation
from artifactstore.core.policy import Latest
from artifactstore.core.reasons import Ground, Reason
from artifactstore.core.selection import Rules, Selector
from artifactstore.core.verdict import NEEDED, decide
from tests.core.candidates import BIG, NOW, OLD, UNTIMED, all_rules, id_of, line, need, needs_in, stores, version

ALL = Rules(Selector(older=timedelta(0)))
PINNED = (Reason(Ground.PIN, "pinned: paper"),)


def told(ref, candidates, *needs, rules=None, held=None):
    decisions = decide(
        candidates,
        rules_of=lambda _: rules,
        held={id_of(name): reasons for name, reasons in (held or {}).items()},
        needs=needs,
        matching={},
        now=NOW,
    )
    return [str(reason) for reason in causes(id_of(ref), decisions, needs)]


BASE = line(9, 8, name="base")
HERO = line(9, 8, name="hero")


def test_own_reasons_come_first():
    candidates = [version("m:1", step=1, resumable=True, aliases=("best", "prod")), *line(1, name="n"), version("m:2")]
    assert told("m:1", candidates, held={"m:1": PINNED}) == [
        "newest resumable step",
        "pinned: paper",
        "alias best",
        "alias prod",
    ]
    assert told("n:1", candidates) == ["last version of its artifact"]
    assert told("m:2", candidates) == []


def test_a_child_is_followed_to_where_it_begins():
    candidates = [*BASE, *line(9, 8, name="style"), version("hero:1"), version("hero:2", aliases=("prod",))]
    needs = [need("style:2", "base:1"), need("hero:2", "style:2", Relation.MERGE)]
    assert told("base:1", candidates, *needs) == [
        "base of adapter style:2, which is merge source of hero:2, which has alias prod"
    ]
    assert told("style:2", candidates, *needs) == ["merge source of hero:2, which has alias prod"]
    assert told("base:2", candidates, *needs) == []


def test_each_ground_is_told_in_words():
    def ending(child, **more):
        [text] = told("base:1", [*BASE, *child], need(child[0].ref, "base:1", Relation.QUANTIZE), **more)
        return text.removeprefix(f"quantization source of {child[0].ref}, ")

    two = line(5, 4, name="q")
    assert ending(two) == "which nothing asks to go"
    assert ending([version("q:1", aliases=("prod",), resumable=True), *two[1:]]) == "which has alias prod"
    assert ending(two, held={"q:1": PINNED}) == "which is pinned: paper"
    in_use = (Reason(Ground.USE, "in use: read (process 7 on h)"),)
    assert ending(two, held={"q:1": in_use}) == "which is in use: read (process 7 on h)"
    assert ending([version("q:1", resumable=True), *two[1:]]) == "which is the newest resumable step"
    assert ending(two, held={"q:1": in_use + PINNED}) == "which is pinned: paper"
    assert ending(two[:1]) == "which is the last version of its artifact"
    assert ending(list(reversed(two)), rules=Rules(keep=Latest(1))) == "which its policy keeps: latest 1 of 1"


def test_a_child_that_goes_keeps_nothing():
    candidates = [*BASE, *line(40, 1, name="q")]
    assert told("base:1", candidates, need("q:1", "base:1"), rules=ALL) == []
    assert told("base:1", candidates, need("q:1", "base:1")) == ["base of adapter q:1, which nothing asks to go"]


def test_what_a_child_can_do_without_keeps_nothing():
    candidates = [*BASE, version("q:1", aliases=("prod",))]
    assert told("base:1", candidates, need("q:1", "base:1", Relation.RESUME)) == []
    assert told("base:1", candidates, need("base:1", "base:1")) == []


def test_the_shortest_ways_are_told_and_the_rest_counted():
    children = [version(f"s:{number}") for number in range(1, 9)]
    candidates = [*BASE, *children, version("a:1", aliases=("prod",))]
    needs = [need(one.ref, "base:1") for one in children]
    needs += [need("a:1", "s:7", Relation.MERGE), need("s:7", "s:8", Relation.MERGE)]
    assert told("base:1", candidates, *needs) == [
        "base of adapter s:7, which is merge source of a:1, which has alias prod",
        "base of adapter s:8, which is merge source of s:7, which is merge source of a:1, which has alias prod",
        "base of adapter s:1, which nothing asks to go",
        "base of adapter s:2, which nothing asks to go",
        "base of adapter s:3, which nothing asks to go",
        "needed by 3 more",
    ]


def test_a_very_long_way_is_cut_short():
    names = [f"m:{number}" for number in range(1, 31)]
    candidates = [version(name) for name in names[:-1]] + [version(names[-1], aliases=("prod",))]
    needs = [need(child, parent, Relation.MERGE) for parent, child in pairwise(names)]
    [text] = told("m:1", candidates, *needs)
    assert text.startswith("merge source of m:2, which is merge source of m:3, which is at the end of 26 more steps ")
    assert text.endswith("steps merge source of m:30, which has alias prod")


def test_a_ring_ends():
    candidates = [*BASE, *HERO]
    ring = [need("hero:1", "base:1"), need("base:1", "hero:1")]
    assert told("base:1", candidates, *ring) == ["base of adapter hero:1, which nothing asks to go"]
    assert told("base:1", [*BASE, version("hero:1", aliases=("prod",)), HERO[1]], *ring) == [
        "base of adapter hero:1, which has alias prod"
    ]
    beside = [*BASE, *HERO, version("a:1", aliases=("prod",)), *line(9, 8, name="top")]
    ring += [need("a:1", "base:1"), need("base:1", "top:1")]
    assert told("base:1", beside, *ring) == [
        "base of adapter a:1, which has alias prod",
        "base of adapter hero:1, which nothing asks to go",
    ]
    assert told("top:1", beside, *ring) == [
        "base of adapter base:1, which is base of adapter a:1, which has alias prod"
    ]


@UNTIMED
@given(st.data())
def test_it_agrees_with_the_verdict(data):
    candidates = data.draw(stores())
    needs = [one for one in data.draw(needs_in(candidates)) if one.child in {each.id for each in candidates}]
    rules = data.draw(st.none() | all_rules)
    matching = {BIG: frozenset(), OLD: frozenset()}
    decisions = decide(candidates, rules_of=lambda _: rules, held={}, needs=needs, matching=matching, now=NOW)
    for one in decisions:
        found = causes(one.id, decisions, needs)
        grounds = {reason.ground for reason in one.reasons} - {Ground.IDLE}
        told = {reason.ground for reason in found}
        if one.keep:
            assert told - {Ground.LAST} == grounds - {Ground.LAST}
        children = {need.child_ref for need in needs if need.parent == one.id and need.relation in NEEDED}
        for reason in found:
            if reason.ground is Ground.NEEDED and not reason.startswith("needed by"):
                assert any(child in reason for child in children)
