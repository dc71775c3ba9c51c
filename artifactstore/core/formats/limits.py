"""What no parser accepts, whatever the format: names, counts and sizes beyond reason"""

import math
import re
from collections.abc import Iterable

from artifactstore.core.errors import Invalid

MAX_TENSORS = 1_000_000
MAX_NAME_NBYTES = 64 * 1024
MAX_ELEMENTS = 2**53 - 1  # what a manifest's numbers can hold

# Control characters break terminals, logs and SQLite's length(); lone surrogates have no UTF-8.
_BAD_CHARACTER = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def name_fault(name: str) -> str | None:
    """What is wrong with a tensor's name, or None; `../../etc/passwd` is only a name"""
    if not name:
        return "is empty"
    if bad := _BAD_CHARACTER.search(name):
        return f"holds the character U+{ord(bad.group()):04X}"
    if len(name) * 4 > MAX_NAME_NBYTES and len(name.encode()) > MAX_NAME_NBYTES:
        return f"is longer than {MAX_NAME_NBYTES} bytes"
    return None


def count_elements(shape: Iterable[int]) -> int:
    """Elements of a tensor of this shape; Invalid when the lengths overflow, even where one of them is 0"""
    lengths = tuple(shape)
    elements = math.prod(lengths)
    if elements > MAX_ELEMENTS or (not elements and math.prod(filter(None, lengths)) > MAX_ELEMENTS):
        raise Invalid("its shape overflows (over 2^53 elements)", code="overflow", rule="overflow")
    return elements
