"""Large reads in parts: all of them at once, one made again alone, none left behind"""

import os
import threading

import pytest

from artifactstore.blobs.memory import MemoryBlobs
from artifactstore.blobs.ranged import Ranged
from artifactstore.blobs.wrap import Counting, Retrying
from artifactstore.core.errors import Unavailable
from tests.contract.blobs import put

DATA = bytes(range(256)) * 40


class Breaking:
    """Fails reads that begin at some places, once each, after some bytes"""

    def __init__(self, inner, places):
        self._inner, self._places = inner, set(places)

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def read_into(self, key, buffer, start=0):
        if start in self._places:
            self._places.discard(start)
            self._inner.read_into(key, buffer[:10], start)
            raise Unavailable("the body broke", retryable=True)
        self._inner.read_into(key, buffer, start)


@pytest.fixture
def memory():
    return MemoryBlobs("ranged")


def test_only_the_part_that_broke_is_read_again(memory):
    [key] = put(memory, DATA)
    counted = Counting(memory)
    place = Ranged(Retrying(Breaking(counted, {3000, 7000}), 2, lambda seconds: None), 1000, 4)
    buffer = bytearray(len(DATA))
    place.read_into(key, memoryview(buffer))
    assert bytes(buffer) == DATA
    assert counted.calls["read_into"] == 11 + 2
    assert counted.nbytes["read_into"] == len(DATA) + 20


def test_a_part_that_stays_broken_ends_the_read_when_all_are_over(memory):
    [key] = put(memory, DATA)
    slow, late = threading.Event(), []

    class Late(Breaking):
        def read_into(self, key, buffer, start=0):
            if start == 5000:
                slow.wait(5)
                late.append(start)
            super().read_into(key, buffer, start)

    place = Ranged(Late(memory, {0}), 1000, 4)
    threading.Timer(0.2, slow.set).start()
    with pytest.raises(Unavailable, match="the body broke"):
        place.read_into(key, memoryview(bytearray(len(DATA))))
    assert late == [5000]


def test_reads_go_on_in_a_process_that_was_forked(memory):
    [key] = put(memory, DATA)
    place = Ranged(memory, 1000, 4)
    place.read_into(key, memoryview(bytearray(len(DATA))))
    pid = os.fork()
    if pid == 0:
        buffer = bytearray(len(DATA))
        place.read_into(key, memoryview(buffer))
        os._exit(0 if bytes(buffer) == DATA else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
