"""Verdict: what stays of a store, for which reasons, and what no rule can take away"""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.core.errors import Invalid
from artifactstore.core.lineage import Relation
from artifactstore.core.policy import Best, Latest, Within
from artifactstore.core.selection import Rules, Selector
from artifactstore.core.verdict import NEEDED, decide, needed_by
from tests.core.candidates import (
    BIG,
    NOW,
    OLD,
    UNTIMED,
    all_rules,
    id_of,
    line,
    names,
    need,
    needs_in,
    rules,
    stores,
    version,
)

MONTH = Selector(older=timedelta(days=30))
ALL = Rules(Selector(older=timedelta(0)))
LAST = "last version of its artifact"


def decided(candidates, given_rules, *, held=None, needs=(), matching=None):
    """rules: of every artifact, or by artifact"""
    return decide(
        candidates,
        rules_of=given_rules.get if isinstance(given_rules, dict) else lambda _: given_rules,
        held={id_of(ref): reasons for ref, reasons in (held or {}).items()},
        needs=needs,
        matching=matching or {},
        now=NOW,
    )


def judged(*args, **options):
    """KEEP or RETIRE with the reasons, by reference"""
    return {
        one.ref: f"{'KEEP' if one.keep else 'RETIRE'} {'; '.join(one.reasons)}" for one in decided(*args, **options)
    }


def test_the_example_of_the_manual():
    store = [
        version("wan:29", days=47, step=29000, metrics={"val_loss": 0.9}),
        version("wan:30", days=46, step=30000),
        version("wan:72", days=40, step=72000, metrics={"val_loss": 0.0412}),
        version("wan:89", days=3, step=89000),
        version("wan:90", days=1, step=90000, resumable=True, aliases=("prod",)),
        version("hero:3", days=1),
    ]
    gc = Rules(MONTH, Best(1, "val_loss"))
    assert judged(store, {"wan": gc}, needs=[need("hero:3", "wan:30", Relation.MERGE)]) == {
        "hero:3": "KEEP no rule selects it",
        "wan:29": "RETIRE older than 30d (47d), no rule keeps it",
        "wan:30": "KEEP merge source of hero:3",
        "wan:72": "KEEP best 1 of val_loss = 0.0412",
        "wan:89": "KEEP not selected",
        "wan:90": "KEEP newest resumable step; alias prod",
    }


def test_without_rules_all_stays():
    store = [*line(90, 80), *line(70, name="n")]
    assert set(judged(store, None).values()) == set(judged(store, Rules()).values()) == {"KEEP no rule selects it"}


def test_without_selector_what_no_rule_keeps_goes():
    assert judged(line(3, 2, 1), Rules(keep=Latest(1))) == {
        "m:1": "RETIRE no rule keeps it",
        "m:2": "RETIRE no rule keeps it",
        "m:3": "KEEP latest 1 of 1",
    }


def test_keep_rules_rescue_of_what_is_selected():
    assert judged(line(50, 47, 1), Rules(MONTH, Within(timedelta(days=47)) | Latest(1))) == {
        "m:1": "RETIRE older than 30d (50d), no rule keeps it",
        "m:2": "KEEP within 47d of the newest",
        "m:3": "KEEP within 47d of the newest; latest 1 of 1",
    }


def test_a_selector_alone_takes_what_it_selects():
    assert judged(line(47, 1), Rules(Selector(older=timedelta(days=30), phase=None))) == {
        "m:1": "RETIRE older than 30d (47d), no rule keeps it",
        "m:2": "KEEP not selected",
    }


def test_filters_hold_where_all_of_them_do():
    store = line(3, 2, 1)
    ids = [one.id for one in store]
    matching = {BIG: frozenset(ids[:2]), OLD: frozenset(ids[1:]), "pinned": frozenset()}
    assert judged(store, Rules(Selector(where=(BIG, OLD))), matching=matching) == {
        "m:1": "KEEP not selected",
        "m:2": "RETIRE where size > 1GB and age > 1y, no rule keeps it",
        "m:3": "KEEP not selected",
    }
    assert all(one.keep for one in decided(store, Rules(Selector(where=("pinned",))), matching=matching))
    with pytest.raises(Invalid, match="Nobody looked up"):
        decided(store, Rules(Selector(where=(BIG, "files > 3"))), matching=matching)


def test_what_is_held_stays_with_every_reason():
    store = line(9, 8, 7)
    held = {"m:1": ("pin: paper, table 2", "open session of host a"), "gone:1": ("pin",)}
    assert judged(store, ALL, held=held) == {
        "m:1": "KEEP pin: paper, table 2; open session of host a",
        "m:2": "RETIRE older than 0s (8d), no rule keeps it",
        "m:3": "RETIRE older than 0s (7d), no rule keeps it",
    }


def test_aliases_are_named_once():
    store = [version("m:1", aliases=("prod", "v1")), version("m:2")]
    kept = judged(store, Rules.parse("--older 0d --keep-alias pro*"))
    assert kept["m:1"] == "KEEP alias prod; alias v1"
    assert kept["m:2"].startswith("RETIRE")


@pytest.mark.parametrize(
    ("steps", "newest"),
    [
        ([100, 300, 200], 2),
        ([300, 300, 200], 2),
        ([None, None], 2),
        ([0, None], 1),
    ],
)
def test_the_newest_resumable_step_stays(steps, newest):
    store = [version(f"m:{n}", days=9 - n, step=step, resumable=True) for n, step in enumerate(steps, 1)]
    store.append(version("m:8", step=900))
    kept = [ref for ref, verdict in judged(store, ALL).items() if verdict == "KEEP newest resumable step"]
    assert kept == [f"m:{newest}"]


def test_the_last_version_stays_though_nothing_else_keeps_it():
    assert judged([*line(40, 60, 50), *line(90, name="n")], Rules(MONTH)) == {
        "m:1": f"KEEP {LAST}",
        "m:2": "RETIRE older than 30d (60d), no rule keeps it",
        "m:3": "RETIRE older than 30d (50d), no rule keeps it",
        "n:1": f"KEEP {LAST}",
    }


def test_what_is_left_of_a_chain_goes_together():
    chain = [need("q:1", "merged:1", Relation.QUANTIZE), need("merged:1", "m:1", Relation.MERGE)]
    store = [*line(9, 8, name="q"), *line(9, 8, name="merged"), *line(9, 8)]
    assert judged(store, ALL, needs=chain, held={"q:1": ("pin",)}) == {
        "m:1": "KEEP merge source of merged:1",
        "m:2": "RETIRE older than 0s (8d), no rule keeps it",
        "merged:1": "KEEP quantization source of q:1",
        "merged:2": "RETIRE older than 0s (8d), no rule keeps it",
        "q:1": "KEEP pin",
        "q:2": "RETIRE older than 0s (8d), no rule keeps it",
    }
    assert {ref for ref, verdict in judged(store, ALL, needs=chain).items() if verdict[0] == "K"} == {
        "m:2",
        "merged:2",
        "q:2",
    }


def test_what_the_last_version_needs_stays_too():
    store = [*line(9, 8), *line(9, name="lora")]
    kept = judged(store, ALL, needs=[need("lora:1", "m:1")])
    assert kept == {
        "lora:1": f"KEEP {LAST}",
        "m:1": "KEEP base of adapter lora:1",
        "m:2": f"KEEP {LAST}",
    }


@pytest.mark.parametrize("relation", Relation)
def test_only_some_relations_need_their_parent(relation):
    store = [*line(9, 8), version("x:1", aliases=("a",))]
    kept = [one.ref for one in decided(store, ALL, needs=[need("x:1", "m:1", relation)]) if one.keep]
    needed = relation in {"adapter", "merge", "quantize"}
    assert needed == (relation in NEEDED)
    assert kept == ["m:1" if needed else "m:2", "x:1"]


def test_a_child_that_is_no_candidate_counts_as_kept():
    needs = [need("open:1", "m:1", Relation.MERGE), need("m:1", "gone:1"), need("open:1", "elsewhere:1")]
    assert judged(line(9, 8), ALL, needs=needs)["m:1"] == "KEEP merge source of open:1"


def test_a_ring_holds_nothing_by_itself_and_does_not_hang():
    ring = [need("m:1", "m:2"), need("m:2", "m:1"), need("m:1", "m:1")]
    store = line(9, 8, 7)
    assert [one.keep for one in decided(store, ALL, needs=ring)] == [False, False, True]
    assert judged(store, ALL, needs=ring, held={"m:2": ("pin",)}) == {
        "m:1": "KEEP base of adapter m:2",
        "m:2": "KEEP pin; base of adapter m:1",
        "m:3": "RETIRE older than 0s (7d), no rule keeps it",
    }


def test_many_children_are_counted_and_the_first_named():
    store = [*line(9, 8), *line(*range(12), name="lora"), version("hero:1")]
    needs = [need(f"lora:{number}", "m:1") for number in range(12, 0, -1)] * 2
    outside = [need("hero:1", "m:1", Relation.MERGE), need("a:1", "m:1")]
    kept = judged(store, {"m": ALL}, needs=needs + outside)["m:1"]
    assert kept == (
        "KEEP base of adapter a:1; base of adapter lora:1; base of adapter lora:2; base of 10 more adapters; "
        "merge source of hero:1"
    )


def test_needs_reach_any_distance_and_start_where_asked():
    needs = [
        need("q:1", "hero:1", Relation.QUANTIZE),
        need("hero:10", "m:1", Relation.MERGE),
        need("hero:2", "m:1", Relation.MERGE),
        need("hero:1", "m:1", Relation.MERGE),
        need("hero:1", "hero:1", Relation.MERGE),
        need("m:1", "base:1", Relation.FINETUNE),
    ]
    assert needed_by([id_of("q:1"), id_of("hero:10")], needs) == {
        id_of("hero:1"): ("quantization source of q:1",),
        id_of("m:1"): ("merge source of hero:1", "merge source of hero:10"),
    }
    assert needed_by([], needs) == {}


def test_a_long_line_of_ancestors_is_followed():
    count = 5_000
    store = [version(f"m:{number}") for number in range(1, count + 1)]
    needs = [need(f"m:{number + 1}", f"m:{number}") for number in range(1, count)]
    assert all(one.keep for one in decided(store, ALL, needs=needs))


def test_a_clock_that_ran_ahead_takes_no_place():
    store = [version("m:1", days=2), version("m:2", days=1), version("m:3", days=-90)]
    assert judged(store, Rules(keep=Within(timedelta(days=1)))) == {
        "m:1": "RETIRE no rule keeps it",
        "m:2": "KEEP within 1d of the newest",
        "m:3": "KEEP within 1d of the newest",
    }
    assert judged(store, Rules.parse("keep-daily=1"))["m:3"] == "KEEP newest of day 2026-03-01"
    assert judged(store, ALL)["m:3"] == "KEEP not selected"


def test_rules_of_one_artifact_leave_others_alone():
    store = [*line(9, 8, name="a"), *line(9, 8, name="b")]
    assert judged(store, {"a": Rules(keep=Latest(1))}) == {
        "a:1": "RETIRE no rule keeps it",
        "a:2": "KEEP latest 1 of 1",
        "b:1": "KEEP no rule selects it",
        "b:2": "KEEP no rule selects it",
    }


def test_the_verdict_is_by_artifact_and_number():
    store = [*line(*range(11), name="b"), *line(1, name="a")]
    assert [one.ref for one in decided(store, None)] == ["a:1", *(f"b:{number}" for number in range(1, 12))]


def test_an_empty_store_has_no_verdict():
    assert decided([], ALL, needs=[need("a:1", "b:1")]) == []


@st.composite
def cases(draw):
    """A store, the rules by artifact, what is held, and needs"""
    store = draw(stores())
    refs = [one.ref for one in store]
    held = draw(st.dictionaries(st.sampled_from(refs), st.just(("pin",)), max_size=1)) if refs else {}
    by_name = draw(st.dictionaries(names, all_rules))
    big, old = (frozenset(id_of(ref) for ref in refs if draw(st.booleans())) for _ in "ab")
    return store, by_name, {"held": held, "needs": draw(needs_in(store)), "matching": {BIG: big, OLD: old}}


def spelt_out(store, by_name, *, held, needs, matching):
    """The ids that stay, as the manual says it, one pass after another until nothing changes"""
    lines = {}
    for one in store:
        lines.setdefault(one.artifact, []).append(one)
    kept = {edge.child for edge in needs} - {one.id for one in store} | {id_of(ref) for ref in held}
    for name, group in lines.items():
        rule = by_name.get(name, Rules())
        where = matching[BIG] & (matching[OLD] if len(rule.selector.where) > 1 else matching[BIG])
        rescued = rule.keep.keeps([replace(one, created=min(one.created, NOW)) for one in group]) if rule.keep else {}
        resumable = [one for one in group if one.resumable]
        resumable.sort(key=lambda one: (-1 if one.step is None else one.step, one.created, one.number))
        kept |= {one.id for one in resumable[-1:]} | {one.id for one in group if one.aliases} | rescued.keys()
        kept |= {one.id for one in group if rule.is_empty or rule.selector.selects(one, NOW, where) is None}
    for last in (False, True):
        if last:
            gone = [group for group in lines.values() if not kept & {one.id for one in group}]
            kept |= {max(group, key=lambda one: (one.created, one.number)).id for group in gone}
        while new := {edge.parent for edge in needs if edge.relation in NEEDED and edge.child in kept} - kept:
            kept |= new
    return kept


def retired(*case, **options):
    return {one.id for one in decided(*case, **options) if not one.keep}


def lent(store, by_name, **options):
    """Ids that stay only while nothing else of their artifact does, and what those need"""
    found = {one.id for one in decided(store, by_name, **options) if LAST in one.reasons}
    while new := {edge.parent for edge in options["needs"] if edge.relation in NEEDED and edge.child in found} - found:
        found |= new
    return found


@UNTIMED
@given(cases())
def test_it_decides_as_the_manual_says(case):
    store, by_name, options = case
    decisions = decided(store, by_name, **options)
    assert {one.id for one in decisions if one.keep} == spelt_out(store, by_name, **options) & {one.id for one in store}
    assert all(one.reasons and all(one.reasons) for one in decisions)
    assert all(len(set(one.reasons)) == len(one.reasons) for one in decisions)


@UNTIMED
@given(cases())
def test_what_stays_has_all_it_needs(case):
    store, by_name, options = case
    gone = retired(store, by_name, **options)
    assert not [
        edge for edge in options["needs"] if edge.relation in NEEDED and edge.child not in gone and edge.parent in gone
    ]


@UNTIMED
@given(cases())
def test_never_all_of_an_artifact_goes(case):
    store, by_name, options = case
    gone = retired(store, by_name, **options)
    assert {one.artifact for one in store if one.id not in gone} == {one.artifact for one in store}


@UNTIMED
@given(cases(), st.randoms(use_true_random=False))
def test_the_order_of_what_comes_in_is_irrelevant(case, chance):
    store, by_name, options = case
    decisions = decided(store, by_name, **options)
    keys = [(ref.rpartition(":")[0], int(ref.rpartition(":")[2])) for ref in (one.ref for one in decisions)]
    assert keys == sorted(keys)
    shuffled = options | {"needs": chance.sample(options["needs"], len(options["needs"]))}
    assert decided(chance.sample(store, len(store)), by_name, **shuffled) == decisions
    assert decided(store, by_name, **options) == decisions


@UNTIMED
@given(cases(), rules)
def test_one_more_keep_rule_never_retires_more(case, more):
    store, by_name, options = case
    wider = {
        name: rule if rule.is_empty else Rules(rule.selector, more if rule.keep is None else rule.keep | more)
        for name, rule in by_name.items()
    }
    new = retired(store, wider, **options) - retired(store, by_name, **options)
    assert new <= lent(store, by_name, **options)


@UNTIMED
@given(cases(), st.data())
def test_one_more_pin_or_alias_never_retires_more(case, data):
    store, by_name, options = case
    if not store:
        return
    chosen = data.draw(st.sampled_from(store))
    before = retired(store, by_name, **options)
    pinned = retired(store, by_name, **options | {"held": options["held"] | {chosen.ref: ("pin",)}})
    named = [replace(one, aliases=(*one.aliases, "x")) if one is chosen else one for one in store]
    for after in (pinned, retired(named, by_name, **options)):
        assert chosen.id not in after
        assert after - before <= lent(store, by_name, **options)


@UNTIMED
@given(cases())
def test_without_any_rules_nothing_goes(case):
    store, by_name, options = case
    assert not retired(store, None, **options)
    assert not retired(store, dict.fromkeys(by_name, Rules()), **options)
