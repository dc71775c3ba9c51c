"""Globs: every database matches what fnmatch matches"""

import fnmatch

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from artifactstore.catalog.globs import Glob

ALPHABET = "aAbz09 -_.!^*?[]\\|&~{}()$+#é\n"
GLOBS = ["", "*", "a*b", "?", "[a-z]", "[!a-z]", "[]a]", "[!]a]", "[a", "[", "[]", "[!]", "[z-a]", "[!z-a]", "[a-]"]
GLOBS += [
    "[-a]",
    "[a-c-e]",
    "[--0]",
    "[^a]",
    "[[]",
    "[\\]",
    "[\\w]",
    "\\",
    "\\*",
    "[a&&b]",
    "[[:alpha:]]",
    "a|b",
    "**?**",
]
TEXTS = [
    "",
    "a",
    "b",
    "A",
    "z",
    "-",
    "^",
    "]",
    "[",
    "!",
    "\\",
    "|",
    "a]",
    "[a",
    "[]",
    "[!]",
    "aab",
    "é",
    "\n",
    "w",
    ":",
]


def matched(catalog, pairs):
    """For (text, glob) each, what the database says"""

    def work(connection):
        columns = [sa.literal(text).regexp_match(sa.literal(glob, Glob())) for text, glob in pairs]
        return [bool(one) for one in connection.execute(sa.select(*columns)).one()]

    return catalog.database.read(work)


def agrees(catalog, pairs):
    assert dict(zip(pairs, matched(catalog, pairs), strict=True)) == {
        (text, glob): fnmatch.fnmatchcase(text, glob) for text, glob in pairs
    }


@pytest.mark.parametrize("glob", GLOBS)
def test_every_form_of_a_glob(catalog, glob):
    agrees(catalog, [(text, glob) for text in TEXTS])


_PAIRS = st.lists(st.tuples(st.text(ALPHABET, max_size=6), st.text(ALPHABET, max_size=8)), min_size=30, max_size=30)
_QUIET = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture]}


@settings(max_examples=200, **_QUIET)
@given(_PAIRS)
def test_any_glob_and_text(postgres_catalog, pairs):
    agrees(postgres_catalog, pairs)


def test_a_glob_that_goes_back_and_forth_comes_to_an_end(catalog):
    assert matched(catalog, [("a" * 200, "*a" * 900 + "b"), ("a" * 1000, "*a" * 900)]) == [False, True]
