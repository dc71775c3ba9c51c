"""Listing: an entry of models.json is set, and the others stay"""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.core.errors import Invalid
from artifactstore.core.listing import put

ENTRY = {"id": "k", "name": "é"}


def put_in(found):
    return json.loads(put(json.dumps(found).encode(), "k", ENTRY))


def test_a_new_listing_is_an_object():
    assert put(None, "k", ENTRY) == '{\n  "k": {\n    "id": "k",\n    "name": "é"\n  }\n}\n'.encode()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"k": ENTRY}),
        ({"a": 1, "k": 2, "b": 3}, {"a": 1, "k": ENTRY, "b": 3}),
        ([{"id": "a"}, {"id": "k", "old": 1}, {"id": "b"}], [{"id": "a"}, ENTRY, {"id": "b"}]),
        ([], [ENTRY]),
        ({"version": 1, "models": [{"id": "a"}]}, {"version": 1, "models": [{"id": "a"}, ENTRY]}),
        ({"models": {"a": 1}, "z": 0}, {"models": {"a": 1, "k": ENTRY}, "z": 0}),
        (["odd", {"id": "k"}], ["odd", ENTRY]),
    ],
)
def test_an_entry_is_set_in_the_way_that_the_listing_has(before, after):
    assert put_in(before) == after


@pytest.mark.parametrize("raw", [b"", b"3", b'"models"', b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_listing_is_refused(raw):
    with pytest.raises(Invalid, match=r"models\.json") as refusal:
        put(raw, "k", ENTRY)
    assert refusal.value.message.isprintable()


@given(st.dictionaries(st.text(), st.integers()) | st.lists(st.fixed_dictionaries({"id": st.text()})), st.text())
def test_the_same_entry_twice_changes_nothing(before, key):
    once = put(json.dumps(before).encode(), key, {"id": key})
    assert put(once, key, {"id": key}) == once
    others = before if isinstance(before, list) else list(before)
    assert len(json.loads(once)) >= len(others)
