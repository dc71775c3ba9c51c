"""State trees to save, and what it means that one came back"""

import math
from collections import Counter, OrderedDict

import numpy as np
import torch
from hypothesis import strategies as st

from artifactstore.core.formats.safetensors import parse
from artifactstore.tensors import document
from artifactstore.tensors.dtypes import NUMPY, TORCH, allocate, allocate_array, view_array, view_bytes
from artifactstore.tensors.save import sources
from artifactstore.tensors.tree import take_apart


class Bytes:
    """A file's bytes in memory, for the parsers"""

    def __init__(self, raw):
        self.raw = raw
        self.size = len(raw)

    def read(self, offset, length):
        return self.raw[offset : offset + length]


def files_of(context):
    """The bytes of every file that a context becomes"""
    written = {}
    for source in sources(take_apart(context)):
        reading = source.open()
        buffer = bytearray(source.size)
        reading.fill(0, memoryview(buffer))
        reading.close()
        written[str(source.path)] = bytes(buffer)
        if source.info.format == "safetensors":
            assert parse(Bytes(bytes(buffer)), source.path) == source.info
    return written


def put_together(files):
    """The context that files came from, without a store"""
    made = {}

    def lookup(kind, path, name):
        if (kind, path, name) not in made:
            info = next(t for t in parse(Bytes(files[path]), path).tensors if t.name == name)
            data = files[path][info.begin : info.end]
            if kind == "array":
                made[kind, path, name] = allocate_array(info.dtype, info.shape, len(data))
                view_array(made[kind, path, name])[:] = data
            else:
                made[kind, path, name] = allocate(info.dtype, info.shape, len(data), torch.device("cpu"))
                view_bytes(made[kind, path, name])[:] = data
        return made[kind, path, name]

    return document.decode(files[document.PATH], lookup)


def is_same(one, two):
    """Equal in value, type, order and, for tensors and floats, bit by bit"""
    if isinstance(one, torch.Tensor):
        return (
            isinstance(two, torch.Tensor)
            and (one.dtype, one.shape) == (two.dtype, two.shape)
            and raw(one) == raw(two.cpu())
        )
    if type(one) is not type(two):
        return False
    if isinstance(one, np.ndarray):
        return (one.dtype, one.shape) == (two.dtype, two.shape) and one.tobytes() == two.tobytes()
    if isinstance(one, np.generic):
        return one.dtype == two.dtype and one.tobytes() == two.tobytes()
    if isinstance(one, dict):
        pairs = zip(one.items(), two.items(), strict=False)
        return len(one) == len(two) and all(is_same(k, m) and is_same(v, w) for (k, v), (m, w) in pairs)
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(map(is_same, one, two))
    if isinstance(one, float):
        return np.float64(one).tobytes() == np.float64(two).tobytes()
    if isinstance(one, complex):
        return is_same([one.real, one.imag], [two.real, two.imag])
    return one == two


def raw(tensor):
    whole = torch.empty(tensor.shape, dtype=tensor.dtype).copy_(tensor.detach())
    return bytes(view_bytes(whole)) if whole.numel() else b""


def random_tensor(dtype, shape, seed=0):
    """Any bits at all, except for booleans"""
    random = np.random.default_rng(seed)
    nbytes = math.prod(shape) * dtype.itemsize
    data = random.integers(0, 2 if dtype is torch.bool else 256, nbytes, dtype=np.uint8)
    return torch.from_numpy(data).view(dtype).reshape(shape) if nbytes else torch.empty(shape, dtype=dtype)


shapes = st.lists(st.integers(0, 4), max_size=3).map(tuple)
tensors = st.builds(
    random_tensor,
    st.sampled_from([dtype for name, dtype in TORCH.items() if name != "F4"]),
    shapes,
    st.integers(0, 9),
)
arrays = st.builds(
    lambda dtype, shape, fill: np.full(shape, fill).astype(dtype),
    st.sampled_from(list(NUMPY.values())),
    shapes,
    st.integers(0, 1),
)
scalars = st.builds(
    lambda name, value: np.dtype(name).type(value), st.sampled_from(sorted(document.SCALARS)), st.integers(0, 1)
)
text = st.text(st.characters(exclude_categories=["Cs"]))
numbers = st.integers() | st.floats() | st.complex_numbers()
keys = st.one_of(text, st.integers(), st.tuples(st.integers(), text), st.none(), st.binary(max_size=4))
leaves = st.one_of(st.none(), st.booleans(), numbers, text, st.binary(max_size=20), tensors, arrays, scalars)
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(keys, inner, max_size=4),
        st.dictionaries(text, inner, max_size=4).map(OrderedDict),
        st.dictionaries(keys, st.integers(), max_size=4).map(Counter),
    ),
    max_leaves=12,
)
contexts = st.dictionaries(text, trees, max_size=4)
states = st.dictionaries(st.sampled_from(["model", "optimizer", "rng", "extra"]), trees, max_size=4)
