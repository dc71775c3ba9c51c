"""Exits: the codes with which commands end, and the one that goes with an error"""

from artifactstore.core.errors import (
    Busy,
    Corrupt,
    Denied,
    Invalid,
    NoSpace,
    NoStore,
    NotFound,
    Offline,
    Refused,
    StoreError,
)

FAILED, USAGE, DAMAGED, PARTLY, MISSING, INTERRUPTED = 1, 2, 4, 6, 14, 130
# The first that fits: a class stands before its base.
_CODES: tuple[tuple[type[StoreError], int], ...] = (
    (NoStore, 10),
    (NotFound, 3),
    (Refused, 5),
    (Corrupt, DAMAGED),
    (Invalid, USAGE),
    (Busy, 11),
    (Denied, 12),
    (NoSpace, 13),
    (Offline, MISSING),
)


def exit_code(error: StoreError) -> int:
    """As the table in docs/cli.md has it; 1 for what has no code of its own"""
    return next((code for kind, code in _CODES if isinstance(error, kind)), FAILED)
