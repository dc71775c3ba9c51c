"""Memory keeps the contract"""

import pytest

from artifactstore.blobs.memory import MemoryBlobs
from artifactstore.core.errors import Exists
from tests.contract.blobs import DATA, put


def test_bytes_written_are_not_the_callers_any_more():
    store = MemoryBlobs()
    data = bytearray(DATA)
    batch = store.batch("me")
    batch.write("a", data)
    data[0] ^= 1
    batch.publish()
    assert store.read("a") == DATA


def test_quarantine_overwrites_nothing():
    store = MemoryBlobs()
    [key] = put(store, DATA)
    batch = store.batch("me")
    batch.write(f"quarantine/{key}", b"evidence")
    batch.publish()
    with pytest.raises(Exists):
        store.quarantine(key)
    assert store.read(f"quarantine/{key}") == b"evidence"
    assert store.read(key) == DATA
