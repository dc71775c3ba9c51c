"""Reading ahead: in order, whatever comes first, and no more than is asked for"""

import threading

import pytest

from artifactstore.blobs.ahead import read_ahead
from artifactstore.blobs.local import LocalBlobs
from artifactstore.blobs.memory import MemoryBlobs
from artifactstore.blobs.wrap import Counting
from artifactstore.core.errors import Corrupt, NotFound, Unavailable


@pytest.fixture(params=["local", "memory"])
def place(request, tmp_path):
    place = LocalBlobs(tmp_path) if request.param == "local" else MemoryBlobs()
    place.prepare()
    for number in range(50):
        place.replace(f"key{number:02d}", b"%d" % number)
    return place


def test_objects_come_in_the_order_asked_for(place):
    keys = [f"key{number:02d}" for number in reversed(range(50))]
    assert list(read_ahead(place, keys)) == [(key, b"%d" % int(key[3:])) for key in keys]
    assert list(read_ahead(place, [])) == []


def test_what_is_missing_is_told_in_its_place(place):
    (_, first), (_, gone), (_, last) = read_ahead(place, ["key01", "none", "key02"])
    assert (first, last) == (b"1", b"2")
    assert isinstance(gone, NotFound)


def test_what_is_no_object_is_told_in_its_place(tmp_path):
    place = LocalBlobs(tmp_path)
    (tmp_path / "folder").mkdir()
    ((_, found),) = read_ahead(place, ["folder"])
    assert isinstance(found, Corrupt)


def test_any_other_failure_is_raised(place):
    def fail(key):
        raise Unavailable("down")

    place.read = fail
    with pytest.raises(Unavailable, match="down"):
        list(read_ahead(place, ["key01"]))


def test_several_are_under_way_at_once():
    together = threading.Barrier(8)

    class Meeting(MemoryBlobs):
        def read(self, key, start=0, length=None):
            together.wait(30)
            return b""

    assert len(list(read_ahead(Meeting(), [str(number) for number in range(16)]))) == 16


def test_only_a_few_are_read_before_they_are_taken():
    place = Counting(MemoryBlobs())
    for number in range(100):
        place.replace(f"key{number}", b"")
    found = read_ahead(place, (f"key{number}" for number in range(100)))
    next(found)
    found.close()
    assert place.calls["read"] <= 16


def test_no_more_threads_is_told():
    started = []

    class Crowded(threading.Thread):
        def start(self):
            started.append(self)
            raise RuntimeError("can't start new thread")

    real, threading.Thread = threading.Thread, Crowded
    try:
        with pytest.raises(Unavailable, match="threads"):
            list(read_ahead(MemoryBlobs(), ["a"]))
    finally:
        threading.Thread = real
    assert started
