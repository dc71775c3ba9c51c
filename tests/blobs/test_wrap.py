"""Wrappers: retry, count and verify change nothing else"""

import pytest

from artifactstore.blobs.layout import SETTINGS_KEY, new_incarnation
from artifactstore.blobs.memory import MemoryBlobs
from artifactstore.blobs.wrap import Counting, Retrying, Verified, Wrapped, named_digest
from artifactstore.core.digest import Digest
from artifactstore.core.errors import Busy, Corrupt, NotFound, Unavailable
from tests.contract.blobs import DATA, key_of, put


class Failing:
    """Fails the first calls, as an `Around`"""

    def __init__(self, *errors):
        self.errors = list(errors)
        self.verbs = []

    def __call__(self, verb, call, nbytes=0):
        self.verbs.append(verb)
        if self.errors:
            raise self.errors.pop(0)
        return call()


PASSING = Unavailable("Come back later", retryable=True)
LASTING = Unavailable("Never come back", retryable=False)


@pytest.mark.parametrize("failures", [0, 1, 3])
def test_passing_failures_are_tried_again(failures):
    inner = MemoryBlobs()
    [key] = put(inner, DATA)
    delays = []
    failing = Failing(*[PASSING] * failures)
    store = Retrying(Wrapped(inner, failing), 3, delays.append)
    assert store.read(key) == DATA
    assert failing.verbs == ["read"] * (failures + 1)
    assert len(delays) == failures
    assert all(0.05 * 2**n <= delay <= 0.1 * 2**n for n, delay in enumerate(delays))


def test_the_last_failure_is_raised_and_delays_have_a_ceiling():
    delays = []
    store = Retrying(Wrapped(MemoryBlobs(), Failing(*[PASSING] * 99)), 12, delays.append)
    with pytest.raises(Unavailable, match="Come back later"):
        store.size("a")
    assert len(delays) == 12
    assert 5 <= delays[-1] <= 10


@pytest.mark.parametrize("error", [LASTING, Busy("Held"), NotFound("Gone"), Corrupt("Bad")])
def test_lasting_failures_are_raised_at_once(error):
    delays = []
    store = Retrying(Wrapped(MemoryBlobs(), Failing(error)), 5, delays.append)
    with pytest.raises(type(error)) as raised:
        store.size("a")
    assert raised.value is error
    assert delays == []


def test_every_verb_is_tried_again():
    inner = MemoryBlobs()
    failing = Failing()
    store = Retrying(Wrapped(inner, failing), 1, lambda seconds: None)
    key, other = key_of(DATA), key_of(b"other")

    def tried(call):
        failing.errors.append(PASSING)
        return call()

    tried(store.prepare)
    assert tried(store.free) is None
    batch = tried(lambda: store.batch("me"))
    tried(lambda: batch.write(key, DATA))
    assert tried(store.owners) == ["me"]
    tried(batch.publish)
    batch.write(other, b"other")
    tried(batch.discard)
    buffer = bytearray(len(DATA))
    tried(lambda: store.read_into(key, memoryview(buffer)))
    assert bytes(buffer) == DATA
    assert list(tried(lambda: store.keys(""))) == [key]
    assert list(tried(lambda: store.sizes(""))) == [(key, len(DATA))]
    tried(lambda: store.replace("artstore.json", b"{}"))
    assert inner.read("artstore.json") == b"{}"
    tried(lambda: store.drop("me"))
    tried(lambda: store.quarantine(key))
    tried(lambda: store.delete(f"quarantine/{key}"))
    assert list(inner.keys("quarantine/")) == []
    assert not failing.errors


def test_counting_by_verb():
    store = Counting(MemoryBlobs())
    [key] = put(store, DATA)
    store.read(key)
    store.read(key, 5, 7)
    store.read_into(key, memoryview(bytearray(9)))
    with pytest.raises(NotFound):
        store.read(key_of(b"never written"))
    assert store.calls == {"batch": 1, "write": 1, "publish": 1, "read": 3, "read_into": 1}
    assert store.nbytes["write"] == len(DATA)
    assert store.nbytes["read"] == len(DATA) + 7
    assert store.nbytes["read_into"] == 9


def test_a_sound_read_costs_no_second_call():
    store = Counting(MemoryBlobs())
    [key] = put(store, DATA)
    reader = Verified(store)
    assert reader.read(key, 0, len(DATA)) == DATA
    assert reader.size(key) == len(DATA)
    assert store.calls["size"] == 1


def test_what_tells_no_digest_is_given_as_it_is():
    store = MemoryBlobs()
    encoded = key_of(DATA) + ".z"
    batch = store.batch("me")
    for key in (SETTINGS_KEY, encoded):
        batch.write(key, b"{}")
    batch.publish()
    assert Verified(store).read(SETTINGS_KEY) == Verified(store).read(encoded) == b"{}"
    assert named_digest(encoded) is None
    assert named_digest(key_of(DATA)) == Digest.of(DATA)
    assert len(new_incarnation()) == 16
