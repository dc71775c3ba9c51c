"""Attested: what was read whole is known again while its file stays as it is; it only saves work"""

import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from artifactstore.core.digest import Digest
from artifactstore.ops.transfer.attested import Attestations
from artifactstore.ops.transfer.source import Stamp

DIGESTS = [Digest.of(bytes([n])) for n in range(3)]
STAMPS = [Stamp(size=10, mtime_ns=5, ctime_ns=6, device=1, inode=n) for n in range(3)]


@pytest.fixture
def known(tmp_path):
    """Three files are known"""
    found = Attestations(tmp_path / "new" / "attested.sqlite")
    found.note(dict(zip(STAMPS, DIGESTS, strict=True)))
    return found


def change(tmp_path, statement, *values):
    with closing(sqlite3.connect(tmp_path / "new" / "attested.sqlite")) as file, file:
        assert file.execute(statement, values).rowcount


def test_files_that_stay_as_they_are_are_known(known):
    assert known.known(STAMPS) == dict(zip(STAMPS, DIGESTS, strict=True))
    assert known.known([]) == {}
    for changed in ({"size": 11}, {"mtime_ns": 7}, {"ctime_ns": 7}, {"inode": 9}, {"device": 9}):
        assert known.known([replace(STAMPS[0], **changed)]) == {}


@pytest.mark.parametrize(
    "bad", [b"", b"short", bytes(33), "x" * 32, 7], ids=["empty", "short", "long", "text", "number"]
)
def test_a_row_that_is_no_digest_is_unknown_and_the_others_are_not(tmp_path, known, bad):
    change(tmp_path, "UPDATE attested SET digest = ? WHERE digest = ?", bad, DIGESTS[1])
    assert known.known(STAMPS) == {STAMPS[0]: DIGESTS[0], STAMPS[2]: DIGESTS[2]}
    known.note({STAMPS[1]: DIGESTS[1]})
    assert known.known(STAMPS) == dict(zip(STAMPS, DIGESTS, strict=True))


def test_without_a_file_or_with_another_nothing_is_known(tmp_path):
    for name in ("none", "other"):
        (tmp_path / "other").write_bytes(b"not a database" * 100)
        some = Attestations(tmp_path / name)
        assert some.known(STAMPS) == {}
    some.note({STAMPS[0]: DIGESTS[0]})
    Attestations(tmp_path / "other" / "inside").note({STAMPS[0]: DIGESTS[0]})
    assert some.known(STAMPS) == {}
