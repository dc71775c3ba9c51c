"""Cut rules: every byte once, blobs within their limits, and small changes that move few blobs"""

import random
from itertools import pairwise

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from artifactstore.core.errors import Invalid
from artifactstore.core.formats.base import Region
from artifactstore.core.formats.cutting import (
    ALIGN,
    BLOB_LIMIT,
    GATHER_BELOW,
    GATHER_LIMIT,
    MIB,
    ContentRule,
    Gather,
    Role,
    Segment,
    content_cuts,
    cut,
)

SIZES = st.integers(1, 300) | st.sampled_from(
    [GATHER_BELOW - 1, GATHER_BELOW, BLOB_LIMIT, BLOB_LIMIT + 1, 3 * BLOB_LIMIT + 7]
)
LAYOUTS = st.lists(st.tuples(st.integers(0, 2) | st.integers(0, 3 * BLOB_LIMIT), SIZES), max_size=8)


def laid_out(layout):
    position = 0
    for number, (gap, size) in enumerate(layout):
        yield Region(f"t{number}", position + gap, position + gap + size)
        position += gap + size


@given(LAYOUTS, st.integers(0, 2 * BLOB_LIMIT))
def test_segments_cover_the_file_once(layout, tail):
    regions = list(laid_out(layout))
    size = (regions[-1].end if regions else 0) + tail
    segments = list(cut(size, regions))
    assert [s.begin for s in segments] == [0, *(s.end for s in segments)][: len(segments)]
    assert (segments[-1].end if segments else 0) == size
    assert all(0 < s.end - s.begin <= BLOB_LIMIT for s in segments)
    small = [(r.name, r.begin, r.end) for r in regions if r.end - r.begin < GATHER_BELOW]
    assert [(s.name, s.begin, s.end) for s in segments if s.role is Role.GATHER] == small
    large = {r.name: r.end - r.begin for r in regions if r.end - r.begin >= GATHER_BELOW}
    solo = [s for s in segments if s.role is Role.SOLO]
    assert {n: sum(s.end - s.begin for s in solo if s.name == n) for n in large} == large
    assert {s.name for s in solo} == set(large)


@given(LAYOUTS, st.integers(0, 2 * BLOB_LIMIT))
def test_rest_fills_blobs_to_the_limit(layout, tail):
    regions = list(laid_out(layout))
    filled = 0
    for segment in cut((regions[-1].end if regions else 0) + tail, regions):
        if segment.role is Role.REST:
            assert filled + segment.end - segment.begin <= BLOB_LIMIT
            filled = (filled + segment.end - segment.begin) % BLOB_LIMIT


def test_a_large_tensor_is_cut_every_64_mib_and_its_tail_stays_alone():
    end = 100 + 2 * BLOB_LIMIT + 5
    assert list(cut(end, [Region("w", 100, end)])) == [
        Segment(0, 100, Role.REST, ""),
        Segment(100, 100 + BLOB_LIMIT, Role.SOLO, "w"),
        Segment(100 + BLOB_LIMIT, 100 + 2 * BLOB_LIMIT, Role.SOLO, "w"),
        Segment(100 + 2 * BLOB_LIMIT, end, Role.SOLO, "w"),
    ]


@pytest.mark.parametrize(
    "regions",
    [
        [Region("a", 0, 5), Region("b", 4, 8)],
        [Region("a", 5, 8), Region("b", 0, 5)],
        [Region("a", 0, 11)],
        [Region("a", -1, 5)],
        [Region("a", 5, 5)],
        [Region("a", 6, 5)],
    ],
)
def test_refuses_regions_that_cannot_be(regions):
    with pytest.raises(Invalid, match="Region"):
        list(cut(10, regions))


def gathered(sizes):
    """Blobs as lists of (name, size, start)"""
    blobs, rule = [], Gather()
    for name, nbytes in sizes:
        if not rule.fits(nbytes):
            rule = Gather()
        if not rule.length:
            blobs.append([])
        blobs[-1].append((name, nbytes, rule.place(name, nbytes)))
    return blobs


@settings(max_examples=50)
@given(st.lists(st.integers(1, GATHER_BELOW - 1), max_size=60), st.integers(0, 9))
def test_gathered_regions_are_aligned_apart_and_within_the_limit(sizes, seed):
    named = [(f"{seed}.{number}", size) for number, size in enumerate(sizes)]
    blobs = gathered(named)
    assert [(name, size) for blob in blobs for name, size, _ in blob] == named
    for blob in blobs:
        assert blob[0][2] == 0
        assert blob[-1][1] + blob[-1][2] <= GATHER_LIMIT
        for (_, size, start), (_, _, following) in pairwise(blob):
            assert following % ALIGN == 0
            assert 0 <= following - (start + size) < ALIGN
        assert not any(Gather.closes_after(name, size) for name, size, _ in blob[:-1])
    for blob, after in pairwise(blobs):
        last, following = blob[-1], after[0]
        full = -(-(last[1] + last[2]) // ALIGN) * ALIGN + following[1] > GATHER_LIMIT
        assert full or Gather.closes_after(*last[:2])


def test_closing_follows_the_name():
    assert [n for n in range(200) if Gather.closes_after(f"layer.{n}.norm", 64 * 1024)] == [27, 43, 55, 81, 192]
    assert not Gather.closes_after("a", 0)
    closing = sum(Gather.closes_after(str(n), GATHER_BELOW // 2) for n in range(2000))
    assert 900 < closing < 1100


def test_changing_one_small_tensor_rewrites_few_bytes():
    rng = random.Random(7)
    named = [(f"model.layers.{n}.weight", int(2 ** rng.uniform(8, 22))) for n in range(300)]
    before = {tuple(blob) for blob in gathered(named)}
    total = sum(size for _, size in named)
    rewritten = []
    for at in range(0, 300, 3):
        name, size = named[at]
        for changed in (
            named[:at] + named[at + 1 :],
            [*named[:at], ("new." + name, size), *named[at:]],
            [*named[:at], (name, size // 2 + 1), *named[at + 1 :]],
        ):
            new = [blob for blob in gathered(changed) if tuple(blob) not in before]
            rewritten.append(sum(size for blob in new for _, size, _ in blob))
    assert total > 100 * MIB
    assert sum(rewritten) / len(rewritten) < 8 * MIB
    assert max(rewritten) < 48 * MIB


GOLDEN = blake3(b"artifactstore cut rules").digest(length=48 * MIB)


def test_content_cuts_are_where_they_were():
    """A library that cuts elsewhere would store everything anew: that is a new CUT_RULES, not an upgrade"""
    assert content_cuts(GOLDEN, at_end=True) == [6848253, 6262538, 2295058, 4526414, 7139984, 4440532, 5104428, 4501062, 2388802, 4305813, 1871783, 646981]  # fmt: skip
    assert content_cuts(GOLDEN[:5000], at_end=True, rule=SMALL) == [289, 212, 423, 714, 439, 150, 193, 370, 310, 557, 370, 549, 266, 122, 36]  # fmt: skip
    assert content_cuts(bytes(40 * MIB), at_end=True) == [16 * MIB, 16 * MIB, 8 * MIB]


SMALL = ContentRule(smallest=64, average=256, largest=1024)


def windowed(data, rule, steps):
    """Cuts of data that arrives in windows of these sizes beyond the largest chunk"""
    cuts, begin, end = [], 0, 0
    while begin < len(data) or not cuts:
        end = min(len(data), max(end, begin + rule.largest + next(steps)))
        cuts += content_cuts(data[begin:end], at_end=end == len(data), rule=rule)
        begin = sum(cuts)
    return cuts


@settings(max_examples=100)
@given(
    st.binary(max_size=300),
    st.integers(1, 40),
    st.randoms(use_true_random=False),
    st.lists(st.integers(0, 700), min_size=1),
)
def test_cuts_do_not_depend_on_windows(piece, repeats, rng, sizes):
    data = piece * repeats + rng.randbytes(rng.randint(1, 6000))
    steps = iter(sizes * 1000)
    whole = content_cuts(data, at_end=True, rule=SMALL)
    assert windowed(data, SMALL, steps) == whole
    assert sum(whole) == len(data)
    assert all(length <= SMALL.largest for length in whole)
    assert all(length >= SMALL.smallest for length in whole[:-1])


def test_large_cuts_do_not_depend_on_windows():
    assert windowed(GOLDEN, ContentRule(), iter([0, 1, 333, MIB, 5 * MIB] * 99)) == content_cuts(GOLDEN, at_end=True)


def test_shifted_bytes_keep_their_cuts():
    shifted = content_cuts(b"new" + GOLDEN, at_end=True)
    assert shifted[1:] == content_cuts(GOLDEN, at_end=True)[1:]


def test_a_window_that_ends_nothing_gives_nothing():
    assert content_cuts(b"", at_end=True) == []
    assert content_cuts(b"a", at_end=True) == [1]
    assert content_cuts(b"a", at_end=False) == []
