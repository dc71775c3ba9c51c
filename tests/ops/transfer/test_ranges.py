"""Ranges: any part of a file, each blob read once by who reads on and on"""

import dataclasses
import random

import pytest
from safetensors.numpy import save

from artifactstore.blobs.wrap import Counting
from artifactstore.core.manifest import Extent
from artifactstore.core.settings import Settings
from artifactstore.ops.transfer.fetch import load_manifest
from artifactstore.ops.transfer.ranges import Ranges
from artifactstore.ops.transfer.sharded import consolidated
from tests.sharded import STATE, write_ranks


@pytest.fixture
def version(store, tmp_path):
    write_ranks(tmp_path / "ranks")
    return load_manifest(store.depot, store.add([tmp_path / "ranks"], name="r").committed.version.id)


def counted(depot, memory=512 << 20):
    """The depot with other settings, and the blobs whose reads are counted"""
    blobs = Counting(depot.blobs)
    return dataclasses.replace(depot, blobs=blobs, settings=Settings(memory=memory)), blobs


def test_any_part_of_what_lies_here_and_there(store, version):
    whole = consolidated(store.depot, version)
    raw = save(STATE, {"format": "pt"})
    ranges = Ranges(store.depot, version, whole.body, whole.header)
    assert ranges.size == len(raw) == whole.size
    places = random.Random(1)
    for begin, length in [(0, 8), (0, len(raw)), (len(raw) - 9, 99), (len(raw), 1), (len(whole.header) - 1, 2)]:
        assert ranges.read(begin, begin + length) == raw[begin : begin + length]
    for _ in range(100):
        begin = places.randrange(len(raw))
        end = begin + places.choice([0, 1, 4001, 1 << 20])
        assert ranges.read(begin, end) == raw[begin:end]


def test_who_reads_on_and_on_reads_each_blob_once(store, version):
    depot, blobs = counted(store.depot)
    whole = consolidated(depot, version)
    used = {extent.blob for extent in whole.body.extents}
    for step in (1 << 20, whole.size):
        blobs.calls.clear()
        ranges = Ranges(depot, version, whole.body, whole.header)
        for begin in range(0, whole.size, step):
            ranges.read(begin, begin + step)
        assert blobs.calls["read_into"] == len(used)


def test_what_does_not_fit_into_memory_is_read_again(store, version):
    depot, blobs = counted(store.depot, memory=1)
    whole = consolidated(depot, version)
    ranges = Ranges(depot, version, whole.body, whole.header)
    found = b"".join(ranges.read(begin, begin + (1 << 20)) for begin in range(0, whole.size, 1 << 20))
    assert found == save(STATE, {"format": "pt"})
    assert len(ranges._kept) == 2
    assert blobs.calls["read_into"] > 2 * len(version.blobs)


def test_what_the_file_comes_back_to_stays_and_the_rest_goes(store, version):
    depot, blobs = counted(store.depot)
    large = [number for number, blob in enumerate(version.blobs) if blob.size > 100]
    first, *others = large
    file = dataclasses.replace(version.files[0], extents=[Extent(each, 0, 100) for each in [first, *others, first]])
    ranges = Ranges(depot, version, file)
    for begin in range(0, ranges.size, 100):
        ranges.read(begin, begin + 100)
    assert blobs.calls["read_into"] == len(large) > 3
    assert len(ranges._kept) == 2
