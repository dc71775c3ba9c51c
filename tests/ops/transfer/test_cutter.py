"""The cutter: whatever comes in, the extents give it back, and each blob is what its digest says"""

import hashlib
import os
import threading
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from artifactstore.core.digest import Digest
from artifactstore.core.errors import Invalid
from artifactstore.core.formats.base import FileInfo, Region
from artifactstore.core.names import SafePath
from artifactstore.ops.ingest import look
from artifactstore.ops.transfer.cutter import cut_sources, entries
from artifactstore.ops.transfer.source import MemoryFile
from artifactstore.ops.transfer.upload import Upload
from tests.ops.transfer.memory_session import MemorySession

MIB = 1 << 20


def take(session, sources, memory=512 * MIB):
    with Upload(session, memory=memory, monitor=lambda event: None, phase="add", total=0) as upload:
        drafts = cut_sources(upload, sources)
        upload.finish()
    return (*entries(drafts), upload.tally)


def content(session, blobs, file):
    return b"".join(
        session.blobs[blobs[extent.blob].digest][extent.start : extent.start + extent.length] for extent in file.extents
    )


def check(session, sources_bytes, files, blobs):
    for file in files:
        raw = sources_bytes[str(file.path)]
        assert content(session, blobs, file) == raw
        assert file.sha256 == hashlib.sha256(raw).digest()
    for digest, raw in session.blobs.items():
        assert Digest.of(raw) == digest
    assert all(len(session.blobs[blob.digest]) == blob.size <= 64 * MIB for blob in blobs)


def random_bytes(seed, size):
    return np.random.default_rng(seed).bytes(size)


def memory_file(path, raw, regions=(), pieces=1):
    edges = sorted({0, len(raw), *(len(raw) * n // pieces for n in range(pieces))})
    parts = [raw[begin:end] for begin, end in pairwise(edges)]
    return MemoryFile(
        SafePath(path),
        FileInfo("other", regions=tuple(regions)),
        tuple(map(len, parts)),
        [lambda part=part: memoryview(part) for part in parts],
    )


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_regions_of_any_file_come_back(data):
    sizes = data.draw(st.lists(st.sampled_from([1, 63, 64, 65, 1000, 5 * MIB]), min_size=1, max_size=12))
    gaps = data.draw(st.lists(st.sampled_from([0, 0, 1, 64, 300]), min_size=len(sizes) + 1, max_size=len(sizes) + 1))
    regions, position = [], gaps[0]
    for number, (size, gap) in enumerate(zip(sizes, gaps[1:], strict=True)):
        regions.append(Region(f"t{number}", position, position + size))
        position += size + gap
    raw = random_bytes(len(sizes), position)
    session = MemorySession()
    pieces = data.draw(st.integers(1, 5))
    files, blobs, tally = take(session, [memory_file("a/x", raw, regions, pieces)])
    check(session, {"a/x": raw}, files, blobs)
    assert tally.read == len(raw)


def test_large_tensors_are_cut_every_64_mib_and_under_a_small_budget():
    raw = random_bytes(7, 150 * MIB)
    session = MemorySession()
    files, blobs, _ = take(session, [memory_file("x", raw, [Region("t", 100, len(raw))])], memory=1)
    check(session, {"x": raw}, files, blobs)
    assert sorted(blob.size for blob in blobs) == sorted([100, 64 * MIB, 64 * MIB, 22 * MIB - 100])


def test_a_file_without_structure_is_cut_by_content(tmp_path):
    raw = random_bytes(1, 40 * MIB)
    shifted = b"one more line\n" + raw
    for name, data in (("a.bin", raw), ("b.bin", shifted)):
        (tmp_path / name).write_bytes(data)
    session = MemorySession()
    files, blobs, tally = take(session, look([tmp_path]))
    check(session, {"a.bin": raw, "b.bin": shifted}, files, blobs)
    assert tally.written < len(raw) + 17 * MIB


def test_small_files_share_blobs_and_empty_ones_have_none(tmp_path):
    contents = {f"d/{n}.txt": random_bytes(n, n * 1000) for n in range(20)}
    for name, data in contents.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    session = MemorySession()
    files, blobs, _ = take(session, look([tmp_path]))
    check(session, contents, files, blobs)
    assert len(blobs) < 5
    assert next(file for file in files if file.path == "d/0.txt").extents == ()


def test_gathered_tensors_start_at_multiples_of_64_with_zeros_between(tmp_path):
    save_file({f"t{n}": np.frombuffer(random_bytes(n, 100), np.uint8) for n in range(50)}, tmp_path / "m.safetensors")
    session = MemorySession()
    (file,), blobs, _ = take(session, look([tmp_path / "m.safetensors"]))
    gathered = file.extents[1:]
    assert all(extent.start % 64 == 0 and extent.length == 100 for extent in gathered)
    raw = session.blobs[blobs[gathered[0].blob].digest]
    assert raw[100:128] == bytes(28)


def test_the_same_bytes_twice_are_written_once(tmp_path):
    save_file({"w": np.frombuffer(random_bytes(3, 6 * MIB), np.uint8)}, tmp_path / "a.safetensors")
    session = MemorySession()
    _, _, first = take(session, look([tmp_path / "a.safetensors"]))
    _, _, second = take(session, look([tmp_path / "a.safetensors"]))
    assert first.written > 6 * MIB
    assert second.written == 0


def test_a_source_that_grows_while_it_is_read_is_refused(tmp_path):
    path = tmp_path / "log.bin"
    path.write_bytes(random_bytes(1, 5 * MIB))
    (source,) = look([path])
    with path.open("ab") as file:
        file.write(b"more")
    with pytest.raises(Invalid, match="changed while it was being read"):
        take(MemorySession(), [source])


def test_a_source_that_changes_between_its_first_and_last_byte_is_refused(tmp_path):
    path = tmp_path / "weights.bin"
    path.write_bytes(random_bytes(1, 20 * MIB))
    (source,) = look([path])
    touched = []

    def touch(event):
        if not touched:
            touched.append(event)
            os.utime(path)

    session = MemorySession()
    with (
        pytest.raises(Invalid, match="changed while it was being read"),
        Upload(session, memory=1, monitor=touch, phase="add", total=0) as upload,
    ):
        cut_sources(upload, [source])


def test_a_failed_write_ends_the_upload_with_its_error():
    session = MemorySession()
    session.fail_on_write = 1
    regions = [Region(str(n), n * 5 * MIB, (n + 1) * 5 * MIB) for n in range(30)]
    with pytest.raises(OSError, match="the disk broke"):
        take(session, [memory_file("x", random_bytes(1, 150 * MIB), regions)], memory=1)


def test_the_smallest_budget_is_enough_for_all_that_is_gathered_at_once(tmp_path):
    """A blob of small files, one of small tensors and one of what lies between stay open beside large tensors"""
    (tmp_path / "config.json").write_text("{}")
    large = {f"z{n}": np.frombuffer(random_bytes(n, 5 * MIB), np.uint8) for n in range(4)}
    save_file({"a.small": np.zeros(1000, np.uint8)} | large, tmp_path / "model.safetensors")
    session, taken = MemorySession(), []
    worker = threading.Thread(target=lambda: taken.append(take(session, look([tmp_path]), memory=1)), daemon=True)
    worker.start()
    worker.join(30)
    assert taken, "it waits for a buffer that it holds itself"
    files, blobs, _ = taken[0]
    check(session, {path.name: path.read_bytes() for path in tmp_path.iterdir()}, files, blobs)
