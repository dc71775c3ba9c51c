"""Errors, as a line and an exit code"""

import errno
import json

import pytest
import typer
from artstore.failure import one_line, report

from artifactstore.core import errors


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
def test_each_error_has_its_exit_code(kind, code, capsys):
    assert report(kind("It went wrong"), as_json=False, debug=False) == code
    assert capsys.readouterr() == ("", "artstore: It went wrong\n")


def test_every_error_of_the_tree_is_among_them():
    known = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.StoreError)}
    assert len(known) == 14


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, 13),
        (errno.EDQUOT, 13),
        (errno.EACCES, 12),
        (errno.EROFS, 12),
        (errno.ENAMETOOLONG, 2),
        (errno.EIO, 1),
    ],
)
def test_an_error_of_the_system_has_one_too(number, code, capsys):
    assert report(OSError(number, "What it says", "the/file"), as_json=False, debug=False) == code
    assert capsys.readouterr().err.startswith("artstore: the/file: What it says")


def test_json_has_code_message_and_facts(capsys):
    error = errors.NoSpace("Full", need=3, where=errors)
    assert report(error, as_json=True, debug=False) == 13
    said = json.loads(capsys.readouterr().err)
    assert said == {"error": "unavailable.space", "message": "Full", "facts": {"need": 3, "where": str(errors)}}


def test_wrong_usage_says_where_help_is(capsys):
    assert report(typer.BadParameter("too many."), as_json=False, debug=False) == 2
    assert capsys.readouterr().err == "artstore: Invalid value: too many; see artstore --help\n"


def test_what_nobody_foresaw_is_one_line_unless_debug(capsys):
    assert report(KeyError("x\ny"), as_json=False, debug=False) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "artstore: Unexpected KeyError: 'x\\ny'; run again with --debug for the details"
    assert report(KeyError("x"), as_json=False, debug=True) == 1
    assert "\nKeyError: 'x'\nartstore: Unexpected" in f"\n{capsys.readouterr().err}"


def test_a_page_that_was_handed_in_is_cut(capsys):
    report(errors.Invalid("x" * 5000), as_json=False, debug=False)
    assert capsys.readouterr().err == f"artstore: {'x' * 1000}\n"


def test_nothing_breaks_the_line_or_steers_the_terminal():
    assert one_line("a\nb\x1b[31m\u202ec\td é") == "a\\nb\\x1b[31m\\u202ec d é"
