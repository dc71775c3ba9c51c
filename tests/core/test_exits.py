"""Exit codes: each kind of error has the one that its page says"""

import pytest

from artifactstore.core import errors
from artifactstore.core.exits import exit_code


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.StoreError, 1),
        (errors.Exists, 1),
        (errors.Conflict, 1),
        (errors.LeaseLost, 1),
        (errors.Unavailable, 1),
        (errors.Invalid, 2),
        (errors.NotFound, 3),
        (errors.Corrupt, 4),
        (errors.Refused, 5),
        (errors.NoStore, 10),
        (errors.Busy, 11),
        (errors.Denied, 12),
        (errors.NoSpace, 13),
        (errors.Offline, 14),
    ],
)
def test_an_error_ends_with_its_code(kind, code):
    assert exit_code(kind("It failed")) == code
