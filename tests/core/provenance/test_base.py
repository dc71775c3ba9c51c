"""Bounds on what is believed, and how what was read stands beside what was given"""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.core.lineage import Link, Relation
from artifactstore.core.manifest import rfc8785
from artifactstore.core.provenance.base import Budget, Provenance, bounded, label, license_of, parent, plain, shown
from tests.core.provenance.versions import Told, brief

ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=3) | st.dates(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.integers(), inner, max_size=4),
    max_leaves=6,
)


def test_parents_given_come_first_and_win():
    given_links = [Link(Relation.DISTILL, "org/base:3"), Link(Relation.MERGE, "hf://org/other@v1")]
    read = [
        Link(Relation.ADAPTER, "hf://org/base"),
        Link(Relation.MERGE, "hf://org/other"),
        Link(Relation.MERGE, "hf://org/third"),
    ]
    found = Provenance(tuple(read)).beside(given_links, "org/child")
    assert brief(found) == [
        ("distill", "org/base:3"),
        ("merge", "hf://org/other@v1"),
        ("merge", "hf://org/third"),
    ]
    assert Provenance(tuple(read)).beside([], "org/child") == tuple(read)


def test_an_artifact_is_not_its_own_parent_by_name():
    read = Provenance((Link(Relation.QUANTIZE, "hf://org/base@v1"), Link(Relation.MERGE, "hf://org/other")))
    assert brief(read.beside([], "org/base")) == [("merge", "hf://org/other")]
    own = Link(Relation.RESUME, "org/base:1")
    assert brief(read.beside([own], "org/base")) == [("resume", "org/base:1"), ("merge", "hf://org/other")]


def test_a_link_says_where_it_was_read():
    link = parent(Relation.MERGE, "hf://a/b", "sub/README.md", {"read": "elsewhere", "density": 0.5}, 0.25)
    assert link == Link(Relation.MERGE, "hf://a/b", None, 0.25, {"read": "sub/README.md", "density": 0.5})


def test_a_licence_is_a_label():
    told = Told()
    assert license_of(" apache-2.0 ", "README.md", told) == "apache-2.0"
    assert license_of(None, "README.md", told) is None
    assert license_of("", "README.md", told) is None
    assert told.lines == []
    assert license_of("the whole\ntext", "README.md", told) is None
    assert license_of(["mit"], "README.md", told) is None
    assert told.lines == [
        "README.md: its license is 'the whole\\ntext', not a name of 1 to 200 characters; it was not taken",
        "README.md: its license is a value of type list, not a name of 1 to 200 characters; it was not taken",
    ]


@pytest.mark.parametrize("value", ["\U000bbea6" * 100, "x" * 10**6, ["x" * 10**6]])
def test_what_is_shown_is_short(value):
    assert len(shown(value)) <= 82


def test_at_most_a_thousand_parents_are_taken():
    told = Told()
    assert list(bounded(range(1000), "x", told)) == list(range(1000))
    assert told.lines == []
    assert list(bounded(range(1001), "x", told)) == list(range(1000))
    assert told.lines == ["x: it names more than 1000 parents; only so many were taken"]


@pytest.mark.parametrize(
    "value", [math.inf, math.nan, 2**53, b"x", "a\0", "\ud800", "x" * 201, {1: 2}, [[[[[[[1]]]]]]]]
)
def test_what_a_manifest_cannot_carry_is_left_out(value):
    assert plain(value, Budget()) is None
    assert plain([value], Budget()) is None


def test_the_values_of_one_file_are_bounded_together():
    budget = Budget(5)
    assert plain([1, 2, 3], budget) == [1, 2, 3]
    assert plain([1, 2], budget) is None
    assert plain(1, budget) is None


@given(ANY)
def test_what_is_kept_is_what_was_there_and_can_be_written(value):
    kept = plain(value, Budget())
    if kept is not None:
        assert kept == value
        assert rfc8785.dumps(kept)


@given(ANY)
def test_any_value_is_a_label_or_none(value):
    found = label(value)
    assert found is None or found == value.strip()
