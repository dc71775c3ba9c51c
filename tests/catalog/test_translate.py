"""Database errors in the store's words, without a password"""

import sqlite3

import pytest
from sqlalchemy.exc import IntegrityError, OperationalError

from artifactstore.catalog.translate import is_in_doubt, is_locked, is_shut, is_transient, translate
from artifactstore.catalog.url import parse_url
from artifactstore.core.errors import (
    Busy,
    Conflict,
    Corrupt,
    Denied,
    Invalid,
    NoSpace,
    NotFound,
    StoreError,
    Unavailable,
)

URL = parse_url("postgresql://u:hunter2@h/d")


def raised(text="", *, sqlite=None, state=None, kind=OperationalError, lost=False):
    """The error SQLAlchemy raises for one of SQLite with a result code, or of Postgres with a SQLSTATE"""
    orig = sqlite3.OperationalError(text) if sqlite is not None else Exception(text)
    if sqlite is not None:
        orig.sqlite_errorcode = sqlite
    if state is not None:
        orig.sqlstate = state
    return kind("SELECT 1", {}, orig, connection_invalidated=lost)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (sqlite3.SQLITE_BUSY, Busy),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, Busy),
        (sqlite3.SQLITE_LOCKED_SHAREDCACHE, Busy),
        (sqlite3.SQLITE_PERM, Denied),
        (sqlite3.SQLITE_READONLY_DBMOVED, Denied),
        (sqlite3.SQLITE_FULL, NoSpace),
        (sqlite3.SQLITE_CORRUPT_INDEX, Corrupt),
        (sqlite3.SQLITE_NOTADB, Invalid),
        (sqlite3.SQLITE_CANTOPEN_ISDIR, Unavailable),
        (sqlite3.SQLITE_IOERR_FSYNC, Unavailable),
        (sqlite3.SQLITE_ERROR, Unavailable),
    ],
)
def test_result_codes_of_sqlite(code, kind):
    assert type(translate(raised("x", sqlite=code), URL)) is kind


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("28P01", Denied),
        ("28000", Denied),
        ("3D000", NotFound),
        ("40001", Busy),
        ("40P01", Busy),
        ("42501", Denied),
        ("42P01", Invalid),
        ("42P07", Invalid),
        ("42703", Unavailable),
        ("25006", Denied),
        ("53100", NoSpace),
        ("53300", Busy),
        ("55P03", Busy),
        ("57P01", Unavailable),
        ("57P03", Unavailable),
        ("XX000", Unavailable),
    ],
)
def test_sqlstates_of_postgres(state, kind):
    assert type(translate(raised("x", state=state), URL)) is kind


def test_a_broken_rule_is_a_conflict():
    assert type(translate(raised("x", state="23505", kind=IntegrityError), URL)) is Conflict


def test_every_translation_is_one_clear_line_without_the_password():
    for error in (raised("a\nhunter2\nb"), raised("hunter2", state="57P01"), raised("hunter2", sqlite=1)):
        found = translate(error, URL)
        assert isinstance(found, StoreError)
        assert "\n" not in found.message
        assert "hunter2" not in found.message
        assert "postgresql://u:***@h/d" in found.message
        assert found.facts["catalog"] == "postgresql://u:***@h/d"


def test_a_driver_that_says_much_is_cut_short():
    assert len(translate(raised("x" * 5000), URL).message) < 400


def test_codes_follow_the_tree():
    codes = {translate(raised(sqlite=code), URL).code for code in (5, 8, 13, 14)}
    assert codes == {"unavailable.busy", "unavailable.denied", "unavailable.space", "unavailable.catalog"}


def test_what_may_run_again():
    assert is_transient(raised(state="40001"))
    assert is_transient(raised(state="40P01"))
    assert is_transient(raised(lost=True))
    assert not is_transient(raised(state="23505"))
    assert not is_transient(raised(sqlite=sqlite3.SQLITE_BUSY))


def test_when_a_commit_is_in_doubt():
    assert is_in_doubt(raised(lost=True))
    assert is_in_doubt(raised(sqlite=sqlite3.SQLITE_IOERR_FSYNC))
    assert not is_in_doubt(raised(sqlite=sqlite3.SQLITE_FULL))
    assert not is_in_doubt(raised(state="40001"))


def test_what_is_locked_or_shut():
    assert is_locked(raised(sqlite=sqlite3.SQLITE_BUSY_RECOVERY))
    assert not is_locked(raised(state="55P03"))
    assert is_shut(raised(sqlite=sqlite3.SQLITE_CANTOPEN))
    assert is_shut(raised(sqlite=sqlite3.SQLITE_READONLY_DIRECTORY))
    assert not is_shut(raised())
