"""Consolidated: parts that ranks wrote are the very file that the safetensors library writes of the tensors"""

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import TensorSpec, serialize
from safetensors.numpy import load, save

from artifactstore.core.consolidated import consolidate, is_offered
from artifactstore.core.digest import Sha256
from artifactstore.core.errors import Invalid
from artifactstore.core.formats import safetensors
from artifactstore.core.manifest import Extent, FileEntry, Manifest
from artifactstore.core.names import ArtifactName, SafePath
from artifactstore.core.reading import Stored
from artifactstore.core.sharding import Chunk, Index, put_together
from tests.core.formats.sources import Bytes
from tests.core.shards import cells, gathered, written

DTYPES = {
    "BOOL": np.bool_,
    "U8": np.uint8,
    "I8": np.int8,
    "I16": np.int16,
    "U16": np.uint16,
    "F16": np.float16,
    "I32": np.int32,
    "U32": np.uint32,
    "F32": np.float32,
    "C64": np.complex64,
    "F64": np.float64,
    "I64": np.int64,
    "U64": np.uint64,
}
# what the library calls those that NumPy lacks, as far as it takes them from Python
OTHERS = {
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F4": "float4_e2m1fn_x2",
}
NAMES = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=6)


@st.composite
def tensors(draw):
    """A tensor, its dtype in safetensors, and where it is cut in each dimension"""
    dtype = draw(st.sampled_from(list(DTYPES)))
    shape = draw(st.lists(st.integers(0, 5), max_size=3).map(tuple))
    values = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 2, shape).astype(DTYPES[dtype])
    return values, dtype, [sorted({0, size, *draw(st.lists(st.integers(0, size), max_size=2))}) for size in shape]


@given(st.dictionaries(NAMES, tensors(), max_size=5), st.integers(1, 3), st.integers(1, 30), st.randoms())
def test_it_is_what_the_library_writes(state, count, size, random):
    ranks, chunks = [[] for _ in range(count)], defaultdict(list)
    for name, (array, dtype, cuts) in state.items():
        for offsets, sizes, data in cells(array, cuts):
            rank = random.randrange(count)
            ranks[rank].append((f"{name}@{offsets}", dtype, sizes, data))
            chunks[name].append(Chunk(offsets, sizes, f"rank-{rank}", f"{name}@{offsets}"))
    manifest, memory = written(ranks, size)
    index = Index({name: array.shape for name, (array, *_) in state.items()}, chunks)
    found = consolidate(put_together(manifest, index).tensors)
    raw = found.header + gathered(found.body, memory)
    assert raw == save({name: array for name, (array, *_) in state.items()}, {"format": "pt"})
    assert len(raw) == found.size
    assert {one.name for one in safetensors.parse(Bytes(raw), "x").tensors} == set(state)
    assert all(np.array_equal(array, load(raw)[name]) for name, (array, *_) in state.items())


def test_every_dtype_lies_where_the_library_puts_it():
    data, tensors, specs = np.zeros(8, np.uint8), {}, {}
    for name, called in ({dtype: np.dtype(each).name for dtype, each in DTYPES.items()} | OTHERS).items():
        count = 64 // safetensors.DTYPE_BITS[name]
        tensors[name] = Stored(name, name, (count,), (Extent(0, 0, 8),))
        shape = [count // 2] if name == "F4" else [count]  # of the bytes in which two values are packed
        specs[name] = TensorSpec(dtype=called, shape=shape, data_ptr=data.ctypes.data, data_len=8)
    found = consolidate(tensors)
    assert found.header + bytes(8 * len(tensors)) == bytes(serialize(specs, metadata={"format": "pt"}))


@pytest.mark.parametrize(
    ("name", "dtype"), [("__metadata__", "U8"), ("a\nb", "U8"), ("w", "Q4_K"), ("w", "F4")], ids=repr
)
def test_what_no_such_file_holds_is_refused(name, dtype):
    with pytest.raises(Invalid):
        consolidate({name: Stored(name, dtype, (3,), (Extent(0, 0, 3),))})


@pytest.mark.parametrize(
    ("paths", "offered"),
    [
        (["dcp.json", "rank-00000.safetensors"], True),
        (["model.safetensors"], False),
        (["sub/dcp.json"], False),
        (["dcp.json", "consolidated.safetensors"], False),
        (["dcp.json", "Consolidated.SafeTensors"], False),
        (["dcp.json", "consolidated.safetensors/part"], False),
    ],
)
def test_a_file_of_the_version_keeps_its_name(paths, offered):
    files = tuple(FileEntry(SafePath(path), 0, Sha256.of(b""), "other", ()) for path in paths)
    assert is_offered(Manifest(ArtifactName("a"), 1, files, ())) is offered
