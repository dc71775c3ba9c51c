"""The disk cache: filled once, checked, within its budget, safe with others at work"""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from artifactstore.blobs.cache import CachedReader
from artifactstore.blobs.layout import SETTINGS_KEY
from artifactstore.blobs.memory import MemoryBlobs
from artifactstore.blobs.wrap import Counting
from artifactstore.core.errors import Corrupt, NotFound
from tests.contract.blobs import DATA, key_of, put


@pytest.fixture
def store():
    return Counting(MemoryBlobs())


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "a" / "cache"


def copies(folder):
    return {path.name: path for path in folder.iterdir()}


def leaf(key):
    return key.rpartition("/")[2]


def test_the_second_read_does_not_reach_the_store(store, folder):
    [key] = put(store, DATA)
    reader = CachedReader(store, folder, 1 << 20)
    assert reader.read(key, 5, 9) == DATA[5:14]
    before = store.calls.total()
    assert reader.read(key) == DATA
    assert reader.read(key, 1, 2) == DATA[1:3]
    buffer = bytearray(4)
    reader.read_into(key, memoryview(buffer), 7)
    assert bytes(buffer) == DATA[7:11]
    assert CachedReader(store, folder, 1 << 20).read(key, 3, 3) == DATA[3:6]
    assert store.calls.total() == before
    assert list(copies(folder)) == [leaf(key)]


@pytest.mark.parametrize(
    "damage",
    [lambda data: data[:-1], lambda data: b"", lambda data: bytes([data[0] ^ 1]) + data[1:], lambda data: data + b"x"],
)
@pytest.mark.parametrize("known", [True, False])
def test_a_damaged_copy_is_dropped_and_fetched_again(store, folder, damage, known):
    [key] = put(store, DATA)
    reader = CachedReader(store, folder, 1 << 20)
    reader.read(key)
    path = copies(folder)[leaf(key)]
    path.write_bytes(damage(DATA))
    if not known:
        reader = CachedReader(store, folder, 1 << 20)
        assert reader.read(key, 0, 10) == DATA[:10]
    assert reader.read(key) == DATA
    assert path.read_bytes() == DATA


def test_the_longest_unused_goes_first(store, folder):
    keys = put(store, *(bytes([n]) * 1000 for n in range(4)))
    reader = CachedReader(store, folder, 3000)
    for age, key in enumerate(keys[:3]):
        reader.read(key)
        os.utime(folder / leaf(key), ns=(age, age))
    reader.read(keys[0])
    reader.read(keys[3])
    assert set(copies(folder)) == {leaf(key) for key in (keys[0], keys[2], keys[3])}


def test_never_more_bytes_than_the_budget(store, folder):
    keys = put(store, *(bytes([n]) * (n * 37) for n in range(1, 60)))
    reader = CachedReader(store, folder, 5000)
    for key in keys:
        reader.read(key)
        assert sum(path.stat().st_size for path in folder.iterdir()) <= 5000


def test_an_object_beyond_the_budget_is_passed_through(store, folder):
    [key] = put(store, DATA)
    reader = CachedReader(store, folder, len(DATA) - 1)
    assert reader.read(key, 3, 4) == DATA[3:7]
    assert reader.read(key) == DATA
    assert not folder.exists()


def test_what_tells_no_digest_is_never_kept(store, folder):
    batch = store.batch("me")
    batch.write(SETTINGS_KEY, b"{}")
    batch.publish()
    reader = CachedReader(store, folder, 1 << 20)
    assert reader.read(SETTINGS_KEY) == b"{}"
    assert not folder.exists()


def test_damage_at_the_source_is_not_kept(store, folder):
    key = key_of(DATA)
    batch = store.batch("me")
    batch.write(key, DATA[::-1])
    batch.publish()
    reader = CachedReader(store, folder, 1 << 20)
    with pytest.raises(Corrupt):
        reader.read(key, 2, 5)
    assert not folder.exists()


def test_foreign_files_in_the_folder_are_left_alone(store, folder):
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_bytes(bytes(10_000))
    keys = put(store, b"a" * 900, b"b" * 900)
    reader = CachedReader(store, folder, 1000)
    for key in keys:
        reader.read(key)
    assert set(copies(folder)) == {"notes.txt", leaf(keys[1])}


def test_what_a_crash_left_is_evicted_like_a_copy(store, folder):
    folder.mkdir(parents=True)
    keys = put(store, b"a" * 900)
    part = folder / f"{leaf(keys[0])}.0123abcd.part"
    part.write_bytes(bytes(500))
    assert CachedReader(store, folder, 1000).read(keys[0]) == b"a" * 900
    assert set(copies(folder)) == {leaf(keys[0])}


def test_a_cache_that_cannot_be_written_is_no_error(store, tmp_path):
    [key] = put(store, DATA)
    (tmp_path / "file").write_bytes(b"in the way")
    assert CachedReader(store, tmp_path / "file", 1 << 20).read(key) == DATA
    folder = tmp_path / "cache"
    reader = CachedReader(store, folder, 1 << 20)
    (folder / leaf(key)).mkdir(parents=True)
    assert reader.read(key) == DATA
    assert set(copies(folder)) == {leaf(key)}


def test_missing_stays_missing(store, folder):
    with pytest.raises(NotFound):
        CachedReader(store, folder, 1 << 20).read(key_of(DATA))


def test_readers_that_share_a_folder_agree(store, folder):
    contents = [bytes([n]) * 500 for n in range(40)]
    keys = put(store, *contents)
    readers = [CachedReader(store, folder, 4000) for _ in range(4)]
    start = threading.Barrier(8)

    def read_all(n):
        start.wait()
        return [readers[n % 4].read(key) for key in keys[n:] + keys[:n]]

    with ThreadPoolExecutor(8) as pool:
        for n, found in enumerate(pool.map(read_all, range(8))):
            assert found == contents[n:] + contents[:n]
