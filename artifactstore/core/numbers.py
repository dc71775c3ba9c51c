"""Numbers that canonical JSON carries without loss: integers below 2^53 and finite doubles"""

import math
from typing import Any

from artifactstore.core.errors import Invalid

MAX_INTEGER = (1 << 53) - 1


def check_integer(value: Any, what: str) -> int:
    """`value` if it is an int, no bool, below 2^53 in size; else raise Invalid"""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_INTEGER:
        return value
    raise Invalid(f"{what} should be an integer below 2^53, found {_shown(value)}", code="number")


def check_finite(value: Any, what: str) -> float:
    """`value` if it is a finite float or an int, no bool; else raise Invalid"""
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf:
        return value
    raise Invalid(f"{what} should be a finite number, found {_shown(value)}", code="number")


def _shown(value: object) -> str:
    # Python refuses to write an int of over 4300 digits
    return f"an int of {value.bit_length()} bits" if type(value) is int else repr(value)[:40]


def read_integer(digits: str) -> int | float:
    """`parse_int` for json: RFC 8785 writes the double 1e17 as 100000000000000000, which is no integer of ours"""
    value = float(digits)
    return value if abs(value) > MAX_INTEGER else int(digits)
