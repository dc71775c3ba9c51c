"""Means, their errors, and pairs of answers"""

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.derive.evaluate.statistics import Score, Value, compare, mean, paired, perplexity

FLOATS = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30)


@given(FLOATS)
def test_a_mean_has_the_error_of_its_sample(items):
    found = mean(items)
    assert found.value == pytest.approx(statistics.fmean(items), abs=1e-6)
    assert found.stderr == pytest.approx(statistics.stdev(items) / math.sqrt(len(items)), abs=1e-6)


def test_one_item_tells_no_spread():
    assert mean([0.5]) == Value(0.5)
    assert perplexity([math.log(3)]) == Value(pytest.approx(3))


def test_a_loss_too_large_for_a_float_is_infinite():
    assert perplexity([1e6, 1e6]).value == math.inf


@given(FLOATS, st.floats(-10, 10))
def test_what_is_the_same_on_every_item_differs_for_sure(items, shift):
    found = paired([one + shift for one in items], items)
    assert found.difference == pytest.approx(shift, abs=1e-6)
    assert found.better + found.worse <= len(items)


def test_pairs_tell_what_two_means_cannot():
    noise = [float(one) for one in range(100)]
    ours = [one + (1 if one % 3 else 2) for one in noise]
    found = paired(ours, noise)
    assert found.differs
    assert found.stderr < mean(noise).stderr
    assert (found.better, found.worse) == (100, 0)
    assert not paired([1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 1.0, 0.0]).differs


def test_only_the_same_items_are_compared():
    ours = Score("x", 2, {}, {"acc": [1.0, 0.0]}, same="a")
    assert compare(ours, Score("x", 2, {}, {"acc": [0.0, 0.0]}, same="b")) == {}
    assert compare(ours, Score("x", 2, {}, {"acc": [0.0, 0.0]}, same="a"))["acc"].better == 1
    assert compare(ours, Score("x", 1, {}, {"acc": [0.0]}, same="a")) == {}
