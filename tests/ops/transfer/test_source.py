"""Sources: exact bytes, or a clear refusal"""

import os

import pytest

from artifactstore.core.errors import Denied, Invalid, NotFound, Unavailable
from artifactstore.core.formats.base import FileInfo
from artifactstore.core.names import SafePath
from artifactstore.ops.transfer import source
from artifactstore.ops.transfer.source import LocalFile, LocalReading, MemoryFile, looking_at


@pytest.fixture
def path(tmp_path):
    (tmp_path / "x.bin").write_bytes(bytes(range(100)))
    return tmp_path / "x.bin"


def test_reads_exactly(path):
    reading = LocalReading(path)
    assert reading.read(10, 5) == bytes(range(10, 15))
    reading.close()


def test_reads_without_preadv(path, monkeypatch):
    monkeypatch.delattr(os, "preadv")
    reading = LocalReading(path)
    assert reading.read(90, 10) == bytes(range(90, 100))
    reading.close()


def test_a_file_that_became_shorter(path):
    reading = LocalReading(path)
    os.truncate(path, 50)
    with pytest.raises(Invalid, match="changed while it was being read"):
        reading.read(40, 20)
    with pytest.raises(Invalid, match="changed"):
        reading.close()


def test_what_is_no_file_of_ours(path, tmp_path):
    (tmp_path / "link").symlink_to(path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(NotFound):
        LocalReading(tmp_path / "nothing")
    with pytest.raises(Invalid):
        LocalReading(tmp_path / "link")
    with pytest.raises(Invalid, match="not a regular file"):
        LocalReading(tmp_path / "folder")
    with pytest.raises(Invalid):
        LocalReading(path / "below")


@pytest.mark.parametrize(("number", "kind"), [(13, Denied), (5, Unavailable), (6, Invalid), (21, Invalid)])
def test_what_the_system_says(path, number, kind):
    with pytest.raises(kind, match=r"x\.bin"), looking_at(path):
        raise OSError(number, os.strerror(number))
    with pytest.raises(kind, match=r"y\.bin"), looking_at(path):
        raise OSError(number, os.strerror(number), str(path.with_name("y.bin")))


def test_a_failing_disk(path, monkeypatch):
    def fail(*_):
        raise OSError(5, "Input/output error")

    reading = LocalReading(path)
    monkeypatch.setattr(source, "_read_at", fail)
    with pytest.raises(Unavailable, match="Input/output error"):
        reading.read(0, 1)
    reading.abandon()


def test_a_disk_that_fails_when_a_file_is_looked_at_leaves_none_open(path, monkeypatch):
    def fail(fd):
        seen.append(fd)
        raise OSError(5, "Input/output error")

    seen = []
    reading = LocalReading(path)
    monkeypatch.setattr(os, "fstat", fail)
    with pytest.raises(Unavailable, match="Input/output error"):
        LocalReading(path)
    with pytest.raises(Unavailable, match="Input/output error"):
        reading.close()
    monkeypatch.undo()
    assert len(seen) == 2
    for fd in seen:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)


def test_a_file_replaced_between_look_and_open(path):
    reading = LocalReading(path)
    file = LocalFile(SafePath("x.bin"), path, reading.stamp, FileInfo("other"))
    reading.close()
    assert file.size == 100
    path.with_name("y").write_bytes(bytes(100))
    path.with_name("y").rename(path)
    with pytest.raises(Invalid, match="changed"):
        file.open()


def test_memory_is_read_in_order_across_its_parts():
    made = []

    def part(raw):
        def make():
            made.append(raw)
            return memoryview(raw)

        return make

    file = MemoryFile(SafePath("x"), FileInfo("other"), (3, 0, 4), (part(b"abc"), part(b""), part(b"defg")))
    assert file.size == 7
    reading = file.open()
    buffer = bytearray(3)
    reading.fill(2, memoryview(buffer))
    assert buffer == b"cde"
    reading.fill(5, memoryview(buffer)[:2])
    assert buffer == b"fge"
    with pytest.raises(AssertionError, match="in file order"):
        reading.fill(0, memoryview(buffer)[:1])
    reading.close()
    assert made == [b"abc", b"defg"]
