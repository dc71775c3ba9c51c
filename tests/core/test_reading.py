"""Reading: which bytes make up a tensor, or a part of one"""

from itertools import pairwise
from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.core.errors import Invalid
from artifactstore.core.manifest import Extent
from artifactstore.core.reading import Run, Stored, choose, narrow, near, planned, portions, runs


def laid(shape, lengths):
    """An int16 tensor of distinct numbers, in pieces of these lengths: itself, and the array"""
    array = np.arange(prod(shape), dtype=np.int16).reshape(shape)
    extents, at = [], 0
    for number, most in enumerate(lengths):
        length = min(most, array.nbytes - at)
        if length:
            extents.append(Extent(number, 10 * number, length))
        at += length
    if at < array.nbytes:
        extents.append(Extent(len(lengths), 0, array.nbytes - at))
    return Stored("t", "I16", shape, tuple(extents)), array


def gathered(whole, part, array):
    """The bytes that a part's extents name"""
    raw, at, pieces = array.tobytes(), 0, {}
    for extent in whole.extents:
        pieces[extent.blob] = bytes(extent.start) + raw[at : at + extent.length]
        at += extent.length
    return b"".join(pieces[one.blob][one.start : one.start + one.length] for one in part.extents)


@st.composite
def cuts(draw):
    shape = tuple(draw(st.lists(st.integers(1, 5), min_size=1, max_size=4)))
    lengths = draw(st.lists(st.integers(0, 40), max_size=5))
    dim = draw(st.integers(0, len(shape) - 1))
    start = draw(st.integers(0, shape[dim]))
    return shape, lengths, dim, start, draw(st.integers(0, shape[dim] - start))


@given(cuts())
def test_a_part_is_what_numpy_says_it_is(case):
    shape, lengths, dim, start, length = case
    whole, array = laid(shape, lengths)
    part = narrow(whole, (dim, start, length))
    wanted = array.take(range(start, start + length), axis=dim)
    assert part.shape == wanted.shape
    assert gathered(whole, part, array) == wanted.tobytes()
    assert narrow(whole, (dim - len(shape), start, length)) == part


@given(st.integers(-7, 7), st.integers(-7, 7))
def test_a_slice_is_what_python_says_it_is(start, stop):
    whole, array = laid((5, 3), [7])
    part = narrow(whole, slice(start, stop))
    assert gathered(whole, part, array) == array[start:stop].tobytes()
    assert part.shape == array[start:stop].shape


@pytest.mark.parametrize("cut", [(2, 0, 1), (-3, 0, 1), (0, 0, 6), (0, -1, 2), (1, 3, 1), slice(0, 4, 2)], ids=str)
def test_a_part_that_is_none_is_refused(cut):
    with pytest.raises(Invalid, match="t: "):
        narrow(laid((5, 3), [])[0], cut)


WRONG = [3, [0, 1], (0, 1), (0, 0, 1, 1), ("a", 0, 1), (0, 0.5, 1), "abc", slice("a"), slice(0, 2, "x"), {}]


@pytest.mark.parametrize("cut", WRONG, ids=str)
def test_what_says_no_part_is_refused(cut):
    with pytest.raises(Invalid, match="t: "):
        narrow(laid((5, 3), [])[0], cut)


@pytest.mark.parametrize("cut", [slice(None), (0, 0, 5), (1, 0, 3), [-1, 0, 3], (np.int64(1), 0, np.int64(3))], ids=str)
def test_all_of_a_tensor_is_itself(cut):
    whole = laid((5, 3), [4, 6])[0]
    assert narrow(whole, cut) is whole


def test_a_part_begins_at_a_whole_byte():
    packed = Stored("t", "F4", (4, 6), (Extent(0, 0, 12),))
    assert narrow(packed, (1, 2, 2)).nbytes == 4
    with pytest.raises(Invalid, match="inside a byte of F4"):
        narrow(packed, (1, 1, 2))


def test_runs_are_in_the_order_of_each_piece():
    one = Stored("one", "U8", (30,), (Extent(1, 50, 10), Extent(0, 5, 20)))
    other = Stored("other", "U8", (4,), (Extent(1, 7, 4),))
    assert {
        number: [(run.start, run.length, run.tensor, run.at) for run in some]
        for number, some in runs([one, other]).items()
    } == {
        0: [(5, 20, 0, 10)],
        1: [(7, 4, 1, 0), (50, 10, 0, 0)],
    }


def test_every_name_that_is_not_there_is_told():
    tensors = {"a": Stored("a", "U8", (1,), (Extent(3, 0, 1),)), "b": Stored("b", "U8", (1,), (Extent(2, 0, 1),))}
    assert [one.name for one in choose(tensors, None)] == ["b", "a"]
    with pytest.raises(Invalid, match="c, d") as failed:
        choose(tensors, ["a", "c", "d"])
    assert failed.value.facts["names"] == ["c", "d"]
    assert choose(tensors, []) == []
    for wrong in ("a", "ab", b"a", ["a", 3], [["a"]]):
        with pytest.raises(Invalid):
            choose(tensors, wrong)


def test_a_plan_says_what_of_each():
    whole = laid((5, 3), [])[0]
    other = Stored("other", "U8", (4,), (Extent(1, 7, 4),))
    tensors = {"t": whole, "other": other}
    assert planned(tensors, {"t": slice(1, 2)}) == [narrow(whole, slice(1, 2))]
    assert planned(tensors, {"other": None, "t": None}) == [whole, other]
    assert planned(tensors, {}) == []
    with pytest.raises(Invalid, match="named u"):
        planned(tensors, {"u": None})
    with pytest.raises(Invalid, match="not a list"):
        planned(tensors, ["t"])


bare = st.lists(st.tuples(st.integers(-3, 9), st.integers(1, 20)), max_size=12)


def laid_out(steps):
    """Runs in the order of their starts, with gaps and overlaps"""
    found, at = [], 0
    for number, (gap, length) in enumerate(steps):
        start = max(at + gap, 0)
        found.append(Run(start, length, number, 0))
        at = start + length
    return sorted(found, key=lambda run: run.start)


@given(bare, st.integers(1, 30))
def test_portions_have_every_byte_once_and_no_more_than_they_may(steps, limit):
    wanted = laid_out(steps)
    found = list(portions(wanted, limit))
    assert all(0 < sum(run.length for run in some) <= limit for some in found)
    assert all(sum(run.length for run in some) == limit for some in found[:-1])
    bytes_of = [(run.tensor, run.at + n, run.start + n) for some in found for run in some for n in range(run.length)]
    assert bytes_of == [(run.tensor, run.at + n, run.start + n) for run in wanted for n in range(run.length)]


@given(bare, st.integers(0, 6), st.integers(1, 60), st.integers(1, 4))
def test_what_lies_near_is_read_at_once(steps, gap, most, count):
    wanted = laid_out(steps)
    found = list(near(wanted, gap=gap, most=most, count=count))
    assert [run for some in found for run in some] == wanted
    ends = [run.start + run.length for run in wanted]
    for some in found:
        assert len(some) <= count
        assert len(some) == 1 or some[-1].start + some[-1].length - some[0].start <= most
        first = wanted.index(some[0])
        assert all(0 <= run.start - ends[first + n] <= gap for n, run in enumerate(some[1:]))
    for before, after in pairwise(found):
        begin, end = after[0].start, after[0].start + after[0].length
        apart = not 0 <= begin - (before[-1].start + before[-1].length) <= gap
        assert apart or len(before) == count or end - before[0].start > most
