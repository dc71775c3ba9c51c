"""Numbers that canonical JSON carries without loss"""

import json
import math

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.core.errors import Invalid
from artifactstore.core.numbers import MAX_INTEGER, check_finite, check_integer, read_integer


@given(st.integers(-MAX_INTEGER, MAX_INTEGER))
def test_integers_below_2_to_the_53_pass(value):
    assert check_integer(value, "Step") is value
    assert read_integer(str(value)) == value
    assert isinstance(read_integer(str(value)), int)


@pytest.mark.parametrize("value", [MAX_INTEGER + 1, -MAX_INTEGER - 1, True, False, 1.0, math.nan, "1"])
def test_other_integers_are_refused(value):
    with pytest.raises(Invalid, match="Step should be an integer below 2") as refusal:
        check_integer(value, "Step")
    assert refusal.value.code == "invalid.number"


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers())
def test_finite_numbers_pass(value):
    assert check_finite(value, "Epoch") is value


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, True, False, "1", None, 1j])
def test_other_numbers_are_refused(value):
    with pytest.raises(Invalid, match="Epoch should be a finite number, found"):
        check_finite(value, "Epoch")


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_double_comes_back_from_canonical_json(value):
    assert json.loads(rfc8785.dumps(value), parse_int=read_integer) == value


def test_digits_past_any_double_are_infinite_not_an_error():
    assert read_integer("9" * 5000) == math.inf


def test_an_integer_too_long_to_print_is_refused_by_its_bits():
    with pytest.raises(Invalid, match="found an int of 20001 bits"):
        check_integer(1 << 20_000, "Step")
