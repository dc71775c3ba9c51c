"""Policies: what each rule keeps of one artifact, in which words, and how rules join"""

import math
import random
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.core.calendar import Daily
from artifactstore.core.errors import Invalid
from artifactstore.core.policy import Aliased, AnyOf, Best, EverySteps, Latest, MinCopies, Phase, Within, check_known
from tests.core.candidates import DAY, UNTIMED, groups, line, policies, rules, version


def kept(policy, group):
    """Reasons by number of the version"""
    numbers = {one.id: one.number for one in group}
    return {numbers[version]: "; ".join(reasons) for version, reasons in policy.keeps(group).items()}


def test_latest_goes_by_creation_not_by_number():
    assert kept(Latest(2), line(1, 3, 2, 9)) == {1: "latest 1 of 2", 3: "latest 2 of 2"}
    assert kept(Latest(5), line(1, 3)) == {1: "latest 1 of 5", 2: "latest 2 of 5"}
    assert kept(Latest(1), line(4, 4, 4)) == {3: "latest 1 of 1"}


def losses(*values):
    return [version(f"m:{n}", days=9 - n, metrics={"val_loss": value}) for n, value in enumerate(values, 1)]


def test_best_is_lowest_or_highest():
    group = losses(0.0412, 0.5, 0.1)
    assert kept(Best(2, "val_loss"), group) == {1: "best 1 of val_loss = 0.0412", 3: "best 2 of val_loss = 0.1"}
    assert kept(Best(1, "val_loss", "max"), group) == {2: "best 1 of val_loss = 0.5"}
    assert kept(Best(1, "fid"), group) == {}


@pytest.mark.parametrize("mode", ["min", "max"])
def test_of_equally_good_ones_the_newer_is_better(mode):
    assert list(kept(Best(2, "val_loss", mode), losses(1.0, 1.0, 1.0))) == [3, 2]


@pytest.mark.parametrize("mode", ["min", "max"])
def test_nan_never_wins(mode):
    group = losses(math.nan, 2.0, math.nan)
    assert kept(Best(3, "val_loss", mode), group) == {2: "best 1 of val_loss = 2"}
    assert kept(Best(1, "val_loss", mode), losses(math.nan)) == {}


def test_every_so_many_steps_exactly():
    steps = [0, 4999, 5000, None, 10000]
    group = [version(f"m:{n}", step=step) for n, step in enumerate(steps, 1)]
    assert kept(EverySteps(5000), group) == {
        1: "step 0 is a multiple of 5000",
        3: "step 5000 is a multiple of 5000",
        5: "step 10000 is a multiple of 5000",
    }


def test_within_counts_from_the_newest_not_from_now():
    group = line(100, 107, 107 + 1 / DAY, 130)
    assert kept(Within(timedelta(days=7)), group) == dict.fromkeys([1, 2], "within 7d of the newest")
    assert kept(Within(timedelta(0)), group) == {1: "within 0s of the newest"}


def test_aliases_match_a_glob_and_each_is_named():
    group = [version("m:1", aliases=("prod", "rel-2", "rel-1")), version("m:2", aliases=("Rel-3",)), version("m:3")]
    assert kept(Aliased("rel-*"), group) == {1: "alias rel-2; alias rel-1"}
    assert kept(Aliased("prod"), group) == {1: "alias prod"}


def test_a_phase_is_kept_by_its_name():
    group = [version("m:1", phase="sft"), version("m:2", phase="sft-2"), version("m:3")]
    assert kept(Phase("sft"), group) == {1: "phase sft"}


def test_what_too_few_others_hold_is_kept():
    group = [version("m:1"), version("m:2", copies=("usb",)), version("m:3", copies=("disk", "usb"))]
    assert kept(MinCopies(2), group) == {1: "none of 2 copies elsewhere", 2: "only 1 of 2 copies elsewhere (usb)"}
    assert kept(MinCopies(1), group) == {1: "none of 1 copy elsewhere"}
    check_known(MinCopies(2), group)


def test_joined_rules_keep_what_any_keeps_and_say_every_reason():
    group = [version(f"m:{n}", days=-n, step=n * 500, metrics={"loss": n}) for n in range(1, 5)]
    assert kept(Latest(1) | Best(1, "loss") | EverySteps(1000), group) == {
        4: "latest 1 of 1; step 2000 is a multiple of 1000",
        1: "best 1 of loss = 1",
        2: "step 1000 is a multiple of 1000",
    }


def test_joined_rules_are_flat_and_stand_once():
    a, b, c = Latest(3), Best(2, "val_loss"), EverySteps(5000)
    assert (a | b | c).rules == (a | (b | c)).rules == (a | (b | a) | (c | b)).rules == (a, b, c)
    assert a | b | c == a | (b | c)
    assert str(a | b | c) == "--keep-last 3 --keep-best 2:val_loss --keep-every 5000"


def test_a_policy_of_the_callers_own_joins_in():
    class Odd:
        __hash__ = None

        def keeps(self, group):
            return {one.id: ("odd",) for one in group if one.number % 2}

    own = Odd()
    assert (Latest(1) | own | own).rules == (Latest(1), own)
    assert kept(Latest(1) | own, line(3, 2)) == {2: "latest 1 of 1", 1: "odd"}
    check_known(own, line(1))


@pytest.mark.parametrize("rule", [Latest, EverySteps, MinCopies, lambda n: Best(n, "loss")])
@pytest.mark.parametrize("n", [0, -1, True, 2.0, "3", None, -(10**100)])
def test_counts_are_whole_numbers_from_one(rule, n):
    with pytest.raises(Invalid, match="a whole number from 1, found") as refusal:
        rule(n)
    assert refusal.value.code == "invalid.rule"
    assert len(str(refusal.value)) < 120


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Best(1, ""), "Not a metric name"),
        (lambda: Best(1, "loss", "median"), "by min or max, not by 'median'"),
        (lambda: Aliased(" "), "Not a pattern of aliases"),
        (lambda: Phase("a\n"), "Not a phase"),
        (lambda: Within(timedelta(microseconds=-1)), "from 0 to 1000 years"),
        (lambda: Within(timedelta(days=365_001)), "from 0 to 1000 years"),
        (lambda: AnyOf(()), "holds no rule"),
    ],
)
def test_a_rule_that_means_nothing_is_refused(make, words):
    with pytest.raises(Invalid, match=words):
        make()


KNOWN = [
    version("m:1", metrics={"val_loss": 1.0, "fid": math.nan}, aliases=("prod",), phase="warmup", step=3),
    version("m:2", aliases=("rel-1",)),
]


def test_rules_that_find_what_they_go_by_are_known():
    check_known(Best(1, "val_loss") | Best(1, "fid") | Aliased("rel-*") | Phase("warmup") | EverySteps(7), KNOWN)
    check_known(Latest(1) | Within(timedelta(1)) | Daily(1), [version()])
    check_known(Best(1, "val_loss") | EverySteps(7), [])


@pytest.mark.parametrize(
    ("rule", "candidates", "words"),
    [
        (
            Best(2, "val_los"),
            KNOWN,
            "No version here has the metric 'val_los', for --keep-best 2:val_los to go by; did you mean val_loss?",
        ),
        (
            Aliased("prd"),
            KNOWN,
            "No version here has the alias 'prd', for --keep-alias prd to go by; did you mean prod?",
        ),
        (
            Aliased("v*"),
            KNOWN,
            "No version here has the alias 'v*', for --keep-alias 'v*' to go by; there are prod, rel-1",
        ),
        (
            Phase("warmpu"),
            KNOWN,
            "No version here has the phase 'warmpu', for --keep-phase warmpu to go by; did you mean warmup?",
        ),
        (
            Best(1, "loss"),
            KNOWN[1:],
            "No version here has the metric 'loss', for --keep-best 1:loss to go by; there are none",
        ),
        (EverySteps(5), KNOWN[1:], "No version here has a step, for --keep-every 5 to go by"),
    ],
)
def test_an_unknown_name_in_a_rule_is_refused_with_close_ones(rule, candidates, words):
    for policy in (rule, Latest(1) | rule):
        with pytest.raises(Invalid) as refusal:
            check_known(policy, candidates)
        assert str(refusal.value) == words
        assert refusal.value.code == "invalid.rule"
        assert refusal.value.facts["rule"] == str(rule)


@UNTIMED
@given(groups(), policies, st.randoms(use_true_random=False))
def test_the_order_of_the_group_is_irrelevant(group, policy, chance: random.Random):
    shuffled = chance.sample(group, len(group))
    assert policy.keeps(group) == policy.keeps(shuffled)


@UNTIMED
@given(groups(), rules)
def test_a_rule_keeps_of_the_group_and_says_why(group, rule):
    reasons = rule.keeps(group)
    assert reasons.keys() <= {one.id for one in group}
    assert all(why and all(why) for why in reasons.values())
    if hasattr(rule, "n") and not isinstance(rule, (EverySteps, MinCopies)):
        assert len(reasons) <= rule.n
    assert rule.keeps([]) == {}


@UNTIMED
@given(groups(), policies, rules)
def test_one_more_rule_never_keeps_less(group, policy, more):
    before, after = policy.keeps(group), (policy | more).keeps(group)
    assert all(after[version][: len(why)] == why for version, why in before.items())
    assert after.keys() == before.keys() | more.keeps(group).keys()
