"""What a person types, parsed"""

from datetime import timedelta

import pytest
from artstore.arguments import EPOCH, pair_parents, parse_meta, parse_metrics, parse_moment, parse_path, parse_sample
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.core.errors import Invalid


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_metric_keeps_its_value(value):
    assert parse_metrics([f"val_loss={value!r}"]) == {"val_loss": value}


@pytest.mark.parametrize("given", ["loss", "loss=", "=1", "loss=low", "loss=nan", "loss=inf", "loss=-inf", " loss=1"])
def test_what_is_no_metric_is_refused(given):
    with pytest.raises(Invalid):
        parse_metrics([given])


def test_a_metric_given_twice_is_refused():
    with pytest.raises(Invalid, match="twice"):
        parse_metrics(["loss=1", "loss=1"])


def test_meta_keeps_text_and_sets_created_apart():
    assert parse_meta(["note=a=b", "created=1970-01-02"]) == ({"note": "a=b"}, 86_400_000_000)
    assert parse_meta([]) == ({}, None)


@given(st.integers(-(1 << 52), 1 << 52))
def test_a_moment_is_read_back(microseconds):
    assert parse_moment((EPOCH + timedelta(microseconds=microseconds)).isoformat()) == microseconds


def test_a_moment_without_an_offset_is_utc():
    assert parse_moment("2026-01-31T12:00:00") == parse_moment("2026-01-31T13:00:00+01:00")


@pytest.mark.parametrize("text", ["", "yesterday", "30d", "2026-13-01", "9999-01-01", "0001-01-01T00:00:00+14:00"])
def test_what_is_no_moment_is_refused(text):
    with pytest.raises(Invalid):
        parse_moment(text)


def test_a_sample_is_a_share_or_a_size():
    assert parse_sample("5%") == (0.05, None)
    assert parse_sample("100%") == (1.0, None)
    assert parse_sample("200GB") == (None, 200 * 10**9)


@pytest.mark.parametrize("text", ["", "0%", "101%", "-5%", "nan%", "x%", "5", "0MB", "5 percent"])
def test_what_is_no_sample_is_refused(text):
    with pytest.raises(Invalid):
        parse_sample(text)


def test_parents_pair_up_in_order():
    assert pair_parents(["a", "b"], ["merge", "ema"], [0.25, 0.75]) == [("a", "merge", 0.25), ("b", "ema", 0.75)]
    assert pair_parents(["a", "b"], [], []) == [("a", "finetune", None), ("b", "finetune", None)]


@pytest.mark.parametrize(
    ("relations", "weights", "option"), [(["merge"], [], "--relation"), ([], [1.0, 2.0, 3.0], "--weight")]
)
def test_parents_that_do_not_pair_up_are_explained(relations, weights, option):
    with pytest.raises(Invalid, match=f"2 --parent and . {option} do not pair up"):
        pair_parents(["a", "b"], relations, weights)


def test_an_unknown_relation_is_refused():
    with pytest.raises(Invalid, match="finetune"):
        pair_parents(["a"], ["cousin"], [])


def test_an_empty_path_is_not_this_folder():
    assert parse_path("a/b").parts == ("a", "b")
    with pytest.raises(Invalid, match=r"write \. for this folder"):
        parse_path("")
