"""Sharding: parts in any grid make up the tensor, byte by byte, and what does not is refused"""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.core.errors import Corrupt
from artifactstore.core.sharding import PATH, Chunk, Index, put_together, unsharded
from tests.core.shards import cells, gathered, written


@st.composite
def grids(draw):
    """A shape, and where it is cut in each dimension"""
    shape = draw(st.lists(st.integers(1, 5), max_size=3).map(tuple))
    cuts = [sorted({0, size, *draw(st.lists(st.integers(0, size), max_size=2))}) for size in shape]
    return shape, cuts


@given(grids(), st.randoms(use_true_random=False))
def test_any_grid_makes_up_the_tensor(grid, random):
    shape, cuts = grid
    whole = np.random.default_rng(0).integers(0, 2**16, shape, dtype=np.uint16)
    chunks, parts = [], []
    for offsets, sizes, data in cells(whole, cuts):
        chunks.append(Chunk(offsets, sizes, f"rank-{len(parts)}", "w"))
        parts.append(("w", "U16", sizes, data))
    random.shuffle(chunks)
    manifest, memory = written([[part] for part in parts])
    found = put_together(manifest, Index.parse(Index({"w": shape}, {"w": chunks}).to_bytes()))
    assert (found.tensors["w"].dtype, found.tensors["w"].shape) == ("U16", shape)
    assert gathered(found.tensors["w"], memory) == whole.tobytes()


def halves():
    """Two halves of a tensor of shape (4, 2)"""
    parts = [("w", "U8", (2, 2), b"abcd"), ("w", "U8", (2, 2), b"efgh")]
    chunks = [Chunk((0, 0), (2, 2), "rank-0", "w"), Chunk((2, 0), (2, 2), "rank-1", "w")]
    return written([[part] for part in parts])[0], Index({"w": (4, 2)}, {"w": chunks})


@pytest.mark.parametrize(
    "change",
    [
        lambda chunks: chunks[:1],
        lambda chunks: [chunks[0], chunks[0]],
        lambda chunks: [chunks[0], replace(chunks[1], offsets=(1, 0))],
        lambda chunks: [chunks[0], replace(chunks[1], offsets=(3, 0))],
        lambda chunks: [chunks[0], replace(chunks[1], sizes=(1, 2))],
        lambda chunks: [chunks[0], replace(chunks[1], offsets=(2,))],
        lambda chunks: [chunks[0], replace(chunks[1], file="rank-7")],
        lambda chunks: [chunks[0], replace(chunks[1], name="v")],
        lambda chunks: [],
    ],
)
def test_parts_that_do_not_make_up_the_tensor_are_refused(change):
    manifest, index = halves()
    assert put_together(manifest, index).tensors["w"].nbytes == 8
    with pytest.raises(Corrupt):
        put_together(manifest, replace(index, chunks={"w": change(list(index.chunks["w"]))}))


def test_half_bytes_are_not_put_together():
    manifest, _ = written([[("w", "F4", (3,), b"ab")], [("w", "F4", (3,), b"cd")]])
    chunks = [Chunk((0,), (3,), "rank-0", "w"), Chunk((3,), (3,), "rank-1", "w")]
    with pytest.raises(Corrupt):
        put_together(manifest, Index({"w": (6,)}, {"w": chunks}))


def test_objects_and_paths_come_back():
    manifest, memory = written([[("step", "U8", (3,), b"abc")]])
    index = Index({}, {}, {"step": ("rank-0", "step")}, {"step": ("a", 0, "step")})
    found = put_together(manifest, Index.parse(index.to_bytes()))
    assert gathered(found.objects["step"], memory) == b"abc"
    assert found.paths == {"step": ("a", 0, "step")}
    assert not found.tensors
    with pytest.raises(Corrupt, match="not there"):
        put_together(manifest, replace(index, objects={"step": ("rank-0", "other")}))


def test_a_version_that_no_ranks_wrote():
    manifest, memory = written([[("w", "U8", (3,), b"abc")]])
    assert gathered(unsharded(manifest).tensors["w"], memory) == b"abc"


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_any_other_document_is_refused(document):
    for raw in (json.dumps(document).encode(), json.dumps({"format": 1, "tensors": document}).encode(), b"\xff"):
        with pytest.raises(Corrupt, match=PATH):
            Index.parse(raw)


@pytest.mark.parametrize(
    "row", [[[-1], []], [[True], []], [["1"], []], [[1], [[[0], [1], "f"]]], [[1], [[[0.5], [1], "f", "w"]]]]
)
def test_rows_of_other_things_are_refused(row):
    document = {"format": 1, "tensors": {"w": row}, "objects": {}, "paths": {}}
    with pytest.raises(Corrupt):
        Index.parse(json.dumps(document).encode())
