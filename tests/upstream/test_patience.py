"""Patience: pauses grow, are spread, and follow what a server says within bounds"""

import time
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.core.errors import Invalid
from artifactstore.upstream.patience import Patience, retry_after


@given(st.integers(1, 10_000))
def test_pauses_double_up_to_a_bound_and_are_spread(failures):
    bound = min(30.0, 0.5 * 2.0 ** min(failures - 1, 60))
    assert bound / 2 <= Patience().pause(failures) <= bound


def test_pauses_of_many_are_not_the_same():
    assert len({Patience().pause(5) for _ in range(20)}) > 1


@pytest.mark.parametrize(("told", "waited"), [(0.0, 0.0), (7.0, 7.0), (1e9, 300.0), (-5.0, 0.0)])
def test_a_server_is_obeyed_within_bounds(told, waited):
    assert Patience().pause(1, told) == waited


@pytest.mark.parametrize("wrong", [{"connect": 0}, {"read": -1}, {"retries": -1}, {"first": -1}, {"told": -1}])
def test_patience_that_makes_no_sense(wrong):
    with pytest.raises(Invalid):
        Patience(**wrong)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "120"}, 120),
        ({"Retry-After": " 3 "}, 3),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "٣"}, None),
        ({"Retry-After": "9" * 400}, 999_999_999),
        ({"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}, 0),
        ({"Retry-After": "Fri, 31 Dec 1999 23:59:59 -0000"}, 0),
        ({"RateLimit": '"api";r=0;t=55'}, 55),
        ({"RateLimit": '"api";r=3;t=55'}, None),
        ({"RateLimit": '"api";r=0;t=55', "Retry-After": "3"}, 55),
    ],
)
def test_what_a_server_says(headers, seconds):
    assert retry_after(headers) == seconds


def test_a_moment_to_come():
    seconds = retry_after({"Retry-After": formatdate(time.time() + 3600, usegmt=True)})
    assert 3000 < seconds <= 3600
