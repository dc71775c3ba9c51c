"""One stream in several files: found by any name of theirs, and what is missing, cut or swapped is named"""

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from artifactstore.blobs.parts import Parts, find_parts
from artifactstore.blobs.tar import TarBlobs
from artifactstore.core.errors import Corrupt, Denied, Invalid, NotFound
from tests.tars import blob, tar

STREAM = bytes(range(256)) * 4


@pytest.fixture
def split(tmp_path):
    def split(size, raw=STREAM, name="x.tar"):
        for number, start in enumerate(range(0, len(raw), size), 1):
            (tmp_path / f"{name}.{number:03d}").write_bytes(raw[start : start + size])
        return tmp_path / name

    return split


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(size=st.integers(50, 1100), start=st.integers(0, 1100), length=st.integers(0, 1100))
def test_any_run_is_read_across_files(tmp_path, split, size, start, length):
    for path in tmp_path.iterdir():
        path.unlink()
    with Parts(find_parts(split(size))) as parts:
        assert parts.read(start, length) == STREAM[start : start + length]
        assert parts.size == len(STREAM)


def test_a_bundle_is_found_by_its_name_any_part_or_its_folder(tmp_path, split):
    path = split(300)
    wanted = [tmp_path / f"x.tar.{number:03d}" for number in range(1, 5)]
    for name in (path, wanted[0], wanted[2], tmp_path):
        assert find_parts(name) == wanted


def test_one_file_is_found_by_its_name_whatever_it_is(tmp_path):
    (tmp_path / "x.2024").write_bytes(b"x")
    assert find_parts(tmp_path / "x.2024") == [tmp_path / "x.2024"]


def test_a_bundle_may_be_named_as_a_part_would_be(tmp_path):
    (tmp_path / "x.002").write_bytes(tar())
    TarBlobs(tmp_path / "x.002").close()


def test_other_files_are_no_parts(tmp_path, split):
    path = split(600)
    for name in ("x.tar.3", "x.tar.0003", "x.tar.abc", "y.tar.001", "x.tar.00１"):
        (tmp_path / name).write_bytes(b"x")
    assert [one.name for one in find_parts(path)] == ["x.tar.001", "x.tar.002"]


def test_where_a_byte_lies_is_told(split):
    with Parts(find_parts(split(300))) as parts:
        assert [(parts.locate(at).path.name[-1], parts.locate(at).offset) for at in (0, 299, 300, 1023, 1024)] == [
            ("1", 0), ("1", 299), ("2", 0), ("4", 123), ("4", 124),
        ]  # fmt: skip


@pytest.mark.parametrize("gone", ["001", "002"])
def test_a_part_that_is_missing_is_named(split, gone):
    path = split(300)
    path.with_name(f"x.tar.{gone}").unlink()
    with pytest.raises(NotFound, match=rf"x\.tar\.{gone} of the bundle is missing"):
        find_parts(path.with_name("x.tar.003"))


@pytest.mark.parametrize(("number", "size"), [(1, 299), (2, 1), (2, 0), (3, 400), (4, 301), (4, 0)])
def test_a_part_of_another_size_is_named(split, number, size):
    path = split(300)
    part = path.with_name(f"x.tar.{number:03d}")
    os.truncate(part, size)
    with pytest.raises(Corrupt, match=r"The part .*x\.tar\.00\d has") as caught:
        Parts(find_parts(path))
    assert caught.value.facts["path"] == str(part) or number in (1, 4)


def test_a_first_part_that_is_cut_is_named_where_there_are_two(split):
    path = split(600)
    os.truncate(path.with_name("x.tar.001"), 400)
    with pytest.raises(Corrupt, match=r"x\.tar\.001 has 400 bytes where the others have 424"):
        Parts(find_parts(path))


def test_swapped_parts_are_named(split):
    path = split(1024, tar(*(blob(b"%d" % n * 700) for n in range(6))))
    one, other = path.with_name("x.tar.002"), path.with_name("x.tar.003")
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    with pytest.raises(Corrupt, match=r"\(x\.tar\.00[23], byte \d+\)"):
        TarBlobs(path)


def test_the_last_part_missing_is_told_as_a_cut(split):
    path = split(1024, tar(*(blob(b"%d" % n * 700) for n in range(6))))
    last = max(path.parent.iterdir())
    last.unlink()
    with pytest.raises(Corrupt, match=rf"was cut off.*bring {max(path.parent.iterdir()).name} again, and what follows"):
        TarBlobs(path)


@pytest.mark.parametrize("name", ["x.tar", "x.tar.001"])
def test_nothing_there_is_said(tmp_path, name):
    with pytest.raises(NotFound, match="No bundle at"):
        find_parts(tmp_path / name)


def test_a_later_part_alone_misses_the_first(tmp_path):
    with pytest.raises(NotFound, match=r"x\.tar\.001 of the bundle is missing"):
        find_parts(tmp_path / "x.tar.002")


@pytest.mark.parametrize("name", ["x.tar.part", "x.tar.001.part", "x.tar.003.part"])
def test_an_unfinished_bundle_is_no_bundle(tmp_path, split, name):
    path = tmp_path / "x.tar"
    if name == "x.tar.003.part":
        split(600)
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(NotFound, match="unfinished"):
        find_parts(path)


def test_a_folder_with_several_or_none_asks_for_a_name(tmp_path, split):
    with pytest.raises(Invalid, match="0 bundles"):
        find_parts(tmp_path)
    split(300)
    split(300, name="y.tar")
    with pytest.raises(Invalid, match="2 bundles"):
        find_parts(tmp_path)


def test_too_many_parts_are_refused(tmp_path, split):
    path = split(600)
    (tmp_path / "x.tar.501").write_bytes(b"x")
    with pytest.raises(Invalid, match="more than 500"):
        find_parts(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_denied(tmp_path, split):
    path = split(600)
    path.with_name("x.tar.001").chmod(0)
    with pytest.raises(Denied):
        Parts(find_parts(path))
