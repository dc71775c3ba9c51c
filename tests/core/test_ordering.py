"""Ordering: parents before children, and nothing moved without need"""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from artifactstore.core.ordering import parents_first
from artifactstore.core.verdict import needed_by
from tests.core.candidates import id_of, need

NAMES = [f"m:{n}" for n in range(8)]
names = st.lists(st.sampled_from(NAMES), max_size=12)
edges = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)), max_size=14)


def ordered(refs, *pairs):
    found = parents_first([id_of(ref) for ref in refs], [need(*pair) for pair in pairs])
    return [ref for one in found for ref in NAMES if id_of(ref) == one]


def test_only_what_must_move_moves():
    assert ordered(["m:0", "m:1", "m:2"], ("m:1", "m:0")) == ["m:0", "m:1", "m:2"]
    assert ordered(["m:0", "m:1", "m:2"], ("m:0", "m:2")) == ["m:2", "m:0", "m:1"]
    assert ordered(["m:0", "m:1"], ("m:0", "m:7")) == ["m:0", "m:1"]


def test_two_parents_that_share_one():
    diamond = [("m:0", "m:1"), ("m:0", "m:2"), ("m:1", "m:3"), ("m:2", "m:3")]
    assert ordered(["m:0", "m:1", "m:2", "m:3"], *diamond) == ["m:3", "m:1", "m:2", "m:0"]


def test_a_ring_and_a_version_that_needs_itself_end():
    assert ordered(["m:0", "m:1"], ("m:0", "m:1"), ("m:1", "m:0"), ("m:1", "m:1")) == ["m:1", "m:0"]


def test_a_line_of_thousands_is_no_matter_of_depth():
    refs = [f"m:{n}" for n in range(5000)]
    line = [need(child, parent) for child, parent in pairwise(refs)]
    assert parents_first(map(id_of, refs), line) == [id_of(ref) for ref in reversed(refs)]


@given(names, edges)
def test_each_once_and_after_all_it_needs(refs, pairs):
    needs = [need(*pair) for pair in pairs]
    found = parents_first([id_of(ref) for ref in refs], needs)
    assert sorted(found) == sorted({id_of(ref) for ref in refs})
    for place, child in enumerate(found):
        for parent in needed_by([child], needs).keys() & set(found):
            # of those in a ring with it nothing can be said
            if child not in needed_by([parent], needs) and _directly(child, parent, needs):
                assert found.index(parent) < place


def _directly(child, parent, needs):
    return any((one.child, one.parent) == (child, parent) for one in needs)
