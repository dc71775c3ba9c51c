"""The disk in the store's words: folders, syncs, and what went wrong"""

import errno
import os
import sys
from pathlib import Path

import pytest

from artifactstore.blobs.disk import make_folder, sync_folder, translate
from artifactstore.core.errors import Corrupt, Denied, NoSpace, NotFound, StoreError, Unavailable


@pytest.mark.parametrize(
    ("number", "kind", "code", "retryable"),
    [
        (errno.ENOENT, NotFound, "not-found", None),
        (errno.ENOTDIR, NotFound, "not-found", None),
        (errno.EACCES, Denied, "unavailable.denied", None),
        (errno.EPERM, Denied, "unavailable.denied", None),
        (errno.EROFS, Denied, "unavailable.denied", None),
        (errno.ENOSPC, NoSpace, "unavailable.space", None),
        (errno.EDQUOT, NoSpace, "unavailable.space.quota", None),
        (errno.EFBIG, NoSpace, "unavailable.space.limit", None),
        (errno.EMFILE, Unavailable, "unavailable.files", True),
        (errno.ENFILE, Unavailable, "unavailable.files", True),
        (errno.EIO, Unavailable, "unavailable.io", False),
        (errno.ESTALE, Unavailable, "unavailable.os", True),
        (errno.EBUSY, Unavailable, "unavailable.os", False),
        (errno.ELOOP, Corrupt, "corrupt.special", None),
        (errno.EISDIR, Corrupt, "corrupt.special", None),
        (errno.ENXIO, Corrupt, "corrupt.special", None),
    ],
)
def test_what_an_operating_system_error_means(tmp_path, number, kind, code, retryable):
    error = translate(OSError(number, os.strerror(number)), "Cannot read blobs/00/x", tmp_path, key="blobs/00/x")
    assert type(error) is kind
    assert error.code == code
    assert error.facts.get("retryable") is retryable
    assert error.facts["errno"] == errno.errorcode[number]
    assert error.facts["key"] == "blobs/00/x"
    assert str(error).startswith("Cannot read blobs/00/x: ")


def test_an_error_without_a_number_and_a_place_that_is_gone(tmp_path):
    assert isinstance(translate(OSError("odd"), "Cannot read x", tmp_path), Unavailable)
    gone = translate(OSError(errno.ENOSPC, "full"), "Cannot write x", tmp_path / "gone")
    assert gone.code == "unavailable.space"
    assert isinstance(gone, StoreError)


def test_folders_are_made_only_below_the_base(tmp_path):
    with pytest.raises(FileNotFoundError):
        make_folder(tmp_path / "unplugged", tmp_path / "unplugged" / "blobs")
    assert list(tmp_path.iterdir()) == []
    assert make_folder(tmp_path, tmp_path / "a" / "b") == [tmp_path, tmp_path / "a"]
    assert make_folder(tmp_path, tmp_path / "a" / "b") == []


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is a Linux file system that syncs no folders")
def test_a_file_system_that_syncs_no_folders_is_taken_as_it_is():
    sync_folder(Path("/proc/self"))


def test_a_folder_sync_that_fails_is_raised(tmp_path, monkeypatch):
    def fail(fd):
        raise OSError(errno.EIO, "lost")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="lost"):
        sync_folder(tmp_path)


def test_systems_that_open_no_folders_sync_none(tmp_path, monkeypatch):
    monkeypatch.setattr("artifactstore.blobs.disk._DIRECTORY", 0)
    sync_folder(tmp_path / "not even there")
