"""Compare: the numbers plain torch gives, at constant memory, reading only what differs"""

import json
import math
import struct
from dataclasses import astuple, replace
from fractions import Fraction
from itertools import count

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from artifactstore.blobs.wrap import Counting
from artifactstore.core.errors import Corrupt
from artifactstore.core.events import Progress
from artifactstore.core.formats.safetensors import write_header
from artifactstore.core.manifest import MAX_BLOB, Extent
from artifactstore.core.pairing import match
from artifactstore.ops.diff import Numbers
from artifactstore.ops.transfer.fetch import load_manifest
from artifactstore.store import Store
from artifactstore.tensors import compare
from artifactstore.tensors.compare import measure
from artifactstore.tensors.dtypes import NAMES, TORCH, view_bytes
from tests.core.formats.gguf_files import gguf
from tests.core.formats.gguf_files import tensor as gguf_tensor
from tests.tensors.states import random_tensor, raw, shapes

MIB = 1 << 20
NUMERIC = [name for name in TORCH if name != "F4"]
NEVER = Numbers(None, None, None, None)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with Store.init(str(tmp_path_factory.mktemp("compare") / "store")) as store:
        yield store


@pytest.fixture(scope="module", autouse=True)
def alone():
    """Threads of torch wait for each other wherever the processor is busy, and what is here is small"""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def add(store, tmp_path_factory):
    """Store {path: {name: tensor} or bytes} as a version; its manifest"""
    numbers = count()

    def add(files):
        folder = tmp_path_factory.mktemp("files")
        for path, content in files.items():
            (folder / path).write_bytes(content if isinstance(content, bytes) else safetensors(content))
        name = f"m{next(numbers)}"
        return load_manifest(store.depot, store.add([folder], name=name).committed.version.id)

    return add


def safetensors(tensors):
    data = {name: raw(tensor) for name, tensor in tensors.items()}
    heads = [(name, NAMES[tensor.dtype], tensor.shape, len(data[name])) for name, tensor in tensors.items()]
    return write_header(heads, None) + b"".join(data.values())


def told(depot, old, new):
    """What is measured of each pair of one shape that is not known to be the same, by name"""
    pairs = [pair for pair in match(old, new).pairs if pair.old.info.shape == pair.new.info.shape and not pair.same]
    return dict(zip((pair.name for pair in pairs), measure(depot, old, new, pairs), strict=True))


def plain(old, new):
    """The numbers, all at once"""
    wide = torch.complex128 if old.is_complex() or new.is_complex() else torch.float64
    one, two = (tensor.to(wide).reshape(-1) for tensor in (old, new))
    good = one.isfinite() & two.isfinite()
    lost = [int((~each.isfinite()).sum()) for each in (one, two)]
    one, two = one[good], two[good]
    if not len(one):
        return Numbers(None, None, None, None, *lost)
    gap = (two - one).abs()
    norms = [torch.linalg.vector_norm(each).item() for each in (one, two)]
    inner = torch.vdot(one, two).real.item()
    cosine = inner / norms[0] / norms[1] if all(norms) else math.nan
    far = torch.linalg.vector_norm(gap).item()
    distance = far / norms[0] if norms[0] else math.nan if far else 0.0
    return Numbers(gap.max().item(), gap.mean().item(), distance, cosine, *lost)


def is_close(found, expected):
    """Equal but for rounding; what is no number is None"""
    return all(
        one is None
        if not (other is not None and math.isfinite(other))
        else math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
        for one, other in zip(astuple(found), astuple(expected), strict=True)
    )


def sane(name, shape, seed):
    """Values of a dtype that float64 can square"""
    tensor = random_tensor(TORCH[name], shape, seed)
    if name == "F64":
        return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return tensor


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shapes, st.integers(0, 999), st.sampled_from(NUMERIC))
@example((300, 1000), 1, "F16")
@example((), 2, "BF16")
def test_the_numbers_are_those_of_plain_torch_for_every_dtype(store, add, shape, seed, other):
    old = {name: sane(name, shape, seed) for name in NUMERIC}
    new = {name: sane(name, shape, seed + 1) for name in NUMERIC}
    old["cast"], new["cast"] = sane("F32", shape, seed), sane(other, shape, seed + 2)
    found = told(store.depot, add({"m.safetensors": old}), add({"n.safetensors": new}))
    for name, before in old.items():
        if (before.dtype, raw(before)) == (new[name].dtype, raw(new[name])):
            assert name not in found or found[name].same
        else:
            assert found[name].same is False
            assert is_close(found[name].numbers, plain(before, new[name])), name
            assert json.dumps(astuple(found[name].numbers), allow_nan=False)


longs = st.lists(
    st.integers(0, 2**64 - 1) | st.integers(2**63 - 3, 2**63 + 3) | st.integers(0, 3), min_size=1, max_size=9
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(longs, longs, st.sampled_from(["I64", "U64"]), st.sampled_from(["I64", "U64", "I8", "BOOL"]))
@example([2**53], [2**53 + 1], "I64", "I64")
@example([0], [2**64 - 1], "U64", "U64")
@example([2**63], [2**63 - 1], "I64", "I64")
def test_integers_of_64_bits_are_subtracted_exactly(store, add, one, two, dtype, other):
    def tensor(values, name):
        filled = torch.tensor([value - (value >> 63 << 64) for value in values], dtype=torch.int64)
        return filled.view(torch.uint64) if name == "U64" else filled.to(TORCH[name])

    size = min(len(one), len(two))
    old, new = tensor(one[:size], dtype), tensor(two[:size], other)
    found = told(store.depot, add({"m.safetensors": {"w": old}}), add({"n.safetensors": {"w": new}})).get("w")
    gaps = [abs(int(after) - int(before)) for before, after in zip(old.tolist(), new.tolist(), strict=True)]
    if dtype == other and not any(gaps):
        assert found is None or found.same
    else:
        assert found.numbers.max_abs == float(max(gaps))
        assert math.isclose(found.numbers.mean_abs, Fraction(sum(gaps), size))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ([1.0, math.nan, 2.0], [1.0, 3.0, 4.0], Numbers(2.0, 1.0, 2 / math.sqrt(5), 9 / math.sqrt(85), 1, 0)),
        ([1.0, 2.0], [math.inf, -math.inf], Numbers(None, None, None, None, 0, 2)),
        ([0.0, 0.0], [1.0, -1.0], Numbers(1.0, 1.0, None, None)),
        ([1.0, -1.0], [0.0, 0.0], Numbers(1.0, 1.0, 1.0, None)),
        ([0.0], [-0.0], Numbers(0.0, 0.0, 0.0, None)),
        ([1e300, 1.0], [1e300, 2.0], Numbers(1.0, 0.5, None, None)),
        ([1.7e308], [-1.7e308], Numbers(None, None, None, None)),
        ([1e200, math.nan], [1e200, 1.0], Numbers(0.0, 0.0, None, None, 1, 0)),
    ],
)
def test_what_is_no_number_is_none(store, add, old, new, expected):
    one, two = (torch.tensor(values, dtype=torch.float64) for values in (old, new))
    found = told(store.depot, add({"m.safetensors": {"w": one}}), add({"m.safetensors": {"w": two}}))["w"]
    assert is_close(found.numbers, expected), found


def test_a_cosine_is_at_most_one(store, add):
    old = torch.linspace(-3, 3, 999, dtype=torch.float64)
    found = told(store.depot, add({"m.safetensors": {"w": old}}), add({"m.safetensors": {"w": old * 3}}))["w"].numbers
    assert 1 - 1e-12 < found.cosine <= 1
    assert math.isclose(found.rel_l2, 2)


def test_values_that_torch_cannot_read_are_compared_as_bytes(store, add):
    def packed(seed):
        data = random_tensor(torch.uint8, (64,), seed)
        head = [("w", "F4", (128,), 64), ("v", "F6_E2M3", (4,), 3), ("same", "F4", (8,), 4)]
        return write_header(head, None) + bytes(view_bytes(data)) + bytes([seed, 0, 0]) + b"same"

    found = told(store.depot, add({"m.safetensors": packed(1)}), add({"m.safetensors": packed(2)}))
    assert {name: one.same for name, one in found.items()} == {"w": False, "v": False, "same": True}
    assert found["w"].reason == "values of dtype F4 are not read"
    assert found["v"].numbers is None
    assert found["same"].reason is None


def test_quantized_tensors_differ_by_digest_alone(store, add):
    def quantized(seed):
        blocks = 18 * 32768 * 8  # 4.5 MiB: a blob of its own
        large, small = (bytes(view_bytes(random_tensor(torch.uint8, (n,), seed))) for n in (blocks, 18 * 64))
        heads = (("large", (32768 * 8 * 32,)), ("small", (64 * 32,)), ("same", (32,)))
        ends = [0, len(large), len(large) + len(small)]
        tensors = [gguf_tensor(name, dims, 2, at) for (name, dims), at in zip(heads, ends, strict=True)]
        return gguf([], tensors, large + small + b"s" * 18)

    old, new = add({"m.gguf": quantized(1)}), add({"m.gguf": quantized(2)})
    counting = Counting(store.depot.blobs)
    found = told(replace(store.depot, blobs=counting), old, new)
    assert {name: one.same for name, one in found.items()} == {"large": False, "small": False, "same": True}
    assert found["large"].reason == "values of dtype Q4_0 are not read"
    # The shared blob of either version.
    assert counting.calls["read_into"] == 2


def test_equal_bytes_in_another_blob_are_found_the_same(store, add):
    small = {f"w{n}": random_tensor(torch.float32, (1000 + n,), n) for n in range(30)}
    old = add({"model.safetensors": small})
    turned = dict(reversed(small.items()))
    parts = [dict(list(turned.items())[:11]), dict(list(turned.items())[11:])]
    new = add({f"model-0000{n}-of-00002.safetensors": part for n, part in enumerate(parts, 1)})
    assert any(pair.same is None for pair in match(old, new).pairs)
    assert all(one.same for one in told(store.depot, old, new).values())


def large_tensors(seed):
    """Each a blob of its own"""
    return {f"w{n:02}": random_tensor(torch.int32, (MIB + n,), seed + n) for n in range(10)}


@pytest.mark.parametrize(("memory", "most"), [(1, 1), (4 * 2 * MAX_BLOB, 2)])
def test_no_more_blobs_are_in_memory_than_the_budget_allows(store, add, memory, most):
    old, new = add({"m.safetensors": large_tensors(0)}), add({"m.safetensors": large_tensors(100)})
    started, consumed = count(), []

    def monitor(event):
        if isinstance(event, Progress):
            consumed.append(event)

    held = []

    class Watched(Counting):
        def read_into(self, key, buffer, start=0):
            done = sum(event.done >= (n + 1) * 8 * MIB for event in consumed[-1:] for n in range(10))
            held.append(next(started) + 1 - 2 * done)
            super().read_into(key, buffer, start)

    depot = replace(
        store.depot,
        blobs=Watched(store.depot.blobs),
        monitor=monitor,
        settings=replace(store.depot.settings, memory=memory),
    )
    assert not any(one.same for one in told(depot, old, new).values())
    assert len(held) == 20
    assert max(held) <= 2 * most
    assert {event.phase for event in consumed} == {"compare"}
    assert consumed[-1].done == consumed[-1].total == sum(pair.old.nbytes * 2 for pair in match(old, new).pairs)


def small_tensors(order, seed):
    """Many to a blob, whose place in the file is not that of their names"""
    return {f"w{n:03}": random_tensor(torch.uint8, (600_000 + n,), seed + n) for n in order}


def test_shared_blobs_in_another_order_stay_within_the_budget(store, add):
    old = add({"m.safetensors": small_tensors(range(30), 0)})
    new = add({"m.safetensors": small_tensors([n * 11 % 30 for n in range(30)], 1)})
    pairs = match(old, new).pairs
    reader = compare._Reader(store.depot, old, new, 1)
    batches = list(compare._batches(list(enumerate(pairs)), old, new, 16 * MIB))
    assert [at for batch in batches for at in batch] == list(range(30))
    assert len(batches) > 2
    for batch in batches:
        for manifest, placed in ((old, [pairs[at].old for at in batch]), (new, [pairs[at].new for at in batch])):
            used = {extent.blob for one in placed for extent in one.extents}
            assert sum(manifest.blobs[number].size for number in used) <= 16 * MIB or len(batch) == 1
        reader.read([pairs[at] for at in batch])
    # Buffers that were ever needed at once are kept by their pools.
    assert max(len(side._pool._free) for side in (reader._old, reader._new)) <= 4
    depot = replace(store.depot, settings=replace(store.depot.settings, memory=64 * MIB))
    for name, found in told(depot, old, new).items():
        number = int(name[1:])
        assert is_close(found.numbers, plain(*(small_tensors([number], seed)[name] for seed in (0, 1))))


def test_a_tensor_longer_than_a_blob_against_one_of_another_width(store, add):
    one = torch.arange(17 * MIB, dtype=torch.float32) / 7
    old, new = add({"m.safetensors": {"w": one}}), add({"m.safetensors": {"w": one.bfloat16()}})
    assert len(old.blobs) > len(new.blobs)
    found = told(store.depot, old, new)["w"]
    assert is_close(found.numbers, plain(one, one.bfloat16()))


def test_extents_may_end_inside_an_element(store, add):
    one, two = (random_tensor(torch.float32, (5000,), seed) for seed in (1, 2))
    old, new = add({"m.safetensors": {"w": one}}), add({"m.safetensors": {"w": two}})

    def split(manifest, step):
        (file,) = manifest.files
        extents = tuple(
            Extent(extent.blob, extent.start + begin, min(step, extent.length - begin))
            for extent in file.extents
            for begin in range(0, extent.length, step)
        )
        return replace(manifest, files=(replace(file, extents=extents),))

    found = told(store.depot, split(old, 333), split(new, 1021))["w"]
    assert is_close(found.numbers, plain(one, two))


def test_a_table_that_lies_about_a_tensor_is_told(store, add):
    old, new = (add({"m.safetensors": {"w": torch.full((4,), value)}}) for value in (1.0, 2.0))

    def lying(manifest):
        (file,) = manifest.files
        return replace(manifest, files=(replace(file, tensors=(replace(file.tensors[0], shape=(5,)),)),))

    with pytest.raises(Corrupt, match="16 bytes are no F32 tensor"):
        told(store.depot, lying(old), lying(new))


def test_a_damaged_blob_is_named(store, add):
    old, new = (add({"m.safetensors": {"w": torch.full((1000,), value)}}) for value in (3.0, 4.0))
    (digest,) = {blob.digest for blob in new.blobs if blob.size >= 4000}
    place = store.depot.catalog.blobs.places([digest])[digest]
    path = store.depot.blobs.root / place.key
    path.chmod(0o644)
    path.write_bytes(struct.pack("<f", 5.0) + path.read_bytes()[4:])
    with pytest.raises(Corrupt, match=digest.hex()[:12]):
        told(store.depot, old, new)


def test_without_pairs_nothing_is_read(store, add):
    old = add({"m.safetensors": {"w": torch.ones(4), "empty": torch.empty(0)}})
    new = add({"m.safetensors": {"w": torch.ones(4), "empty": torch.empty(0, dtype=torch.float16)}})
    counting = Counting(store.depot.blobs)
    found = told(replace(store.depot, blobs=counting), old, new)
    assert found["empty"].numbers == NEVER
    assert measure(replace(store.depot, blobs=counting), old, new, []) == []
    assert counting.calls["read_into"] == 0
