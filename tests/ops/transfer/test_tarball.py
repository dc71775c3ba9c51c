"""A stream on its way into files: never taken for the whole, and gone on with"""

import os

import pytest

from artifactstore.core.errors import Busy, Refused
from artifactstore.ops.transfer.tarball import Tarball

DATA = bytes(range(256)) * 10


def begun(path, part=None, **options):
    out = Tarball(path, part, **options)
    out.hold()
    return out


def write(path, data, part=None, **options):
    with begun(path, part, **options) as out:
        out.start(0)
        for start in range(0, len(data), 100):
            out.write(data[start : start + 100])
        out.finish()
        return out.paths


@pytest.mark.parametrize("part", [None, 1000, 256, 2560, 5000])
def test_it_is_written_in_files_of_at_most_the_size_asked_for(tmp_path, part):
    paths = write(tmp_path / "x", DATA, part)
    assert b"".join(path.read_bytes() for path in paths) == DATA
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    assert len(paths) == (1 if part is None else -(-len(DATA) // part))


@pytest.mark.parametrize("flush", [1, 500])
def test_the_disk_is_made_to_begin_early(tmp_path, flush):
    assert write(tmp_path / "x", DATA, 1000, flush=flush)[0].stat().st_size == 1000


def test_what_is_unfinished_has_a_name_of_its_own(tmp_path):
    with begun(tmp_path / "x", 1000) as out:
        out.start(0)
        out.write(DATA[:1500])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.001", "x.002.part"]
    with begun(tmp_path / "x", 1000) as out:
        assert (out.finished, out.existing().size) == (1000, 1500)
        out.start(1200)
        out.write(DATA[1200:])
        out.finish()
        assert b"".join(path.read_bytes() for path in out.paths) == DATA


def test_a_full_part_is_compared_and_not_written(tmp_path):
    with begun(tmp_path / "x", 1000) as out:
        out.start(0)
        out.write(DATA[:1500])
    stamp = (tmp_path / "x.001").stat().st_mtime_ns
    with begun(tmp_path / "x", 1000) as out:
        out.start(300)
        out.write(DATA[300:])
        out.finish()
    assert (tmp_path / "x.001").stat().st_mtime_ns == stamp
    assert (tmp_path / "x.002").read_bytes() == DATA[1000:2000]


def test_a_full_part_with_other_bytes_is_refused(tmp_path):
    write(tmp_path / "x", DATA[:2000], 1000)
    with begun(tmp_path / "x", 1000) as out:
        out.start(500)
        out.write(DATA[500:1500])
        with pytest.raises(Refused, match=r"x\.002 is there"):
            out.write(b"other")
        with pytest.raises(Refused, match=r"x\.002 is there"):
            out.finish()


def test_full_parts_are_taken_back_and_what_is_left_over_goes(tmp_path):
    write(tmp_path / "x", DATA[:3000], 1000)
    with begun(tmp_path / "x", 1000) as out:
        out.take_back(1500)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["x.001", "x.002.part", "x.003.part"]
        out.start(1500)
        out.write(b"new")
        out.finish()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.001", "x.002"]
    assert (tmp_path / "x.002").read_bytes() == DATA[1000:1500] + b"new"
    with begun(tmp_path / "y") as out:
        out.take_back(0)


def test_a_whole_file_is_gone_on_with_by_nobody(tmp_path):
    (tmp_path / "x").write_bytes(DATA)
    with begun(tmp_path / "x") as out, pytest.raises(Refused, match="--force"):
        out.start(100)
    with begun(tmp_path / "x") as out:
        out.discard()
        out.start(0)
        out.write(b"new")
        out.finish()
    assert (tmp_path / "x").read_bytes() == b"new"


def test_another_process_is_waited_for(tmp_path):
    late = Tarball(tmp_path / "x", 1000)
    with begun(tmp_path / "x", 1000) as out:
        with pytest.raises(Busy, match="Another process writes"), Tarball(tmp_path / "x", 1000) as other:
            other.hold()
        out.start(0)
        out.write(DATA)
        out.finish()
    with late, pytest.raises(Busy, match=r"wrote .* meanwhile"):
        late.hold()


def test_an_empty_file_that_was_begun_is_nothing(tmp_path):
    (tmp_path / "x.part").write_bytes(b"")
    with begun(tmp_path / "x") as out:
        assert out.existing() is None
    assert os.listdir(tmp_path) == ["x.part"]
