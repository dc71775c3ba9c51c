"""Names and counts that no parser accepts"""

import pytest

from artifactstore.core.errors import Invalid
from artifactstore.core.formats.limits import count_elements, name_fault


@pytest.mark.parametrize("name", ["a", "../../etc/passwd", "層.0", " ", "a" * 65536, "é" * 32768])
def test_names(name):
    assert name_fault(name) is None


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("", "is empty"),
        ("a\0", "holds the character U+0000"),
        ("\x1b[31m", "holds the character U+001B"),
        ("a\x7f", "holds the character U+007F"),
        ("a\n", "holds the character U+000A"),
        ("\udcff", "holds the character U+DCFF"),
        ("a" * 65537, "is longer than 65536 bytes"),
        ("é" * 32769, "is longer than 65536 bytes"),
    ],
)
def test_faulty_names(name, fault):
    assert name_fault(name) == fault


@pytest.mark.parametrize(("shape", "elements"), [([], 1), ([3, 4], 12), ([0, 2**52], 0), ([2**53 - 1], 2**53 - 1)])
def test_elements(shape, elements):
    assert count_elements(shape) == elements


@pytest.mark.parametrize("shape", [[2**53], [2**32, 2**32], [2**64, 0], [2**30, 0, 2**30]])
def test_overflow(shape):
    with pytest.raises(Invalid, match="overflows"):
        count_elements(shape)
