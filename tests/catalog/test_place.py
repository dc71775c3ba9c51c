"""File systems a SQLite catalog may lie on"""

import os
import socket

import pytest

from artifactstore.catalog import place
from artifactstore.catalog.place import check_file, file_system
from artifactstore.core.errors import Denied, Invalid, NotFound, Unavailable

MOUNTS = r"""
21 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
30 21 0:40 / /data rw,relatime shared:5 - nfs4 server:/export rw,vers=4.2
31 30 8:2 / /data/local rw - xfs /dev/sdb1 rw
32 21 0:41 / /with\040space rw - cifs //server/share rw
33 21 8:3 / /twice rw - ext4 /dev/sdc1 rw
34 21 0:42 / /twice rw - fuse.sshfs host: rw
broken line
"""


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ("/home/c.sqlite", "ext4"),
        ("/data/c.sqlite", "nfs4"),
        ("/database/c.sqlite", "ext4"),
        ("/data/local/c.sqlite", "xfs"),
        ("/with space/c.sqlite", "cifs"),
        ("/twice/c.sqlite", "fuse.sshfs"),
    ],
)
def test_the_deepest_and_last_mount_counts(file, kind):
    assert file_system(place.Path(file), MOUNTS) == kind


def test_without_a_table_of_mounts_nothing_is_known(tmp_path, monkeypatch):
    assert file_system(tmp_path, "") is None
    monkeypatch.setattr(place, "_MOUNTS", tmp_path / "missing")
    check_file(tmp_path / "c", network=False, create=True)


@pytest.fixture
def on_nfs(tmp_path, monkeypatch):
    table = tmp_path / "mountinfo"
    table.write_text(f"30 21 0:40 / {tmp_path.resolve()} rw - nfs4 server:/export rw\n")
    monkeypatch.setattr(place, "_MOUNTS", table)
    return tmp_path / "catalog.sqlite"


def test_a_network_file_system_is_refused(on_nfs):
    with pytest.raises(Invalid, match="nfs4") as caught:
        check_file(on_nfs, network=False, create=True)
    assert caught.value.code == "invalid.network-file-system"
    assert caught.value.facts["file_system"] == "nfs4"


def test_unless_told_otherwise(on_nfs):
    check_file(on_nfs, network=True, create=True)


def test_a_catalog_to_open_must_be_there(tmp_path):
    with pytest.raises(NotFound):
        check_file(tmp_path / "none", network=False, create=False)
    with pytest.raises(NotFound):
        check_file(tmp_path / "no" / "folder", network=False, create=False)


def test_the_folder_of_a_new_catalog_must_be_there(tmp_path):
    with pytest.raises(Invalid, match="make it first"):
        check_file(tmp_path / "no" / "folder", network=False, create=True)
    (tmp_path / "file").touch()
    with pytest.raises(Invalid, match="make it first"):
        check_file(tmp_path / "file" / "c", network=False, create=True)


def test_only_regular_files_hold_a_catalog(tmp_path, monkeypatch):
    with pytest.raises(Invalid, match="is a folder"):
        check_file(tmp_path, network=False, create=False)
    os.mkfifo(tmp_path / "fifo")
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(tmp_path)
        listener.bind("socket")
        for name in ("fifo", "socket"):
            with pytest.raises(Invalid, match="no regular file"):
                check_file(tmp_path / name, network=False, create=True)


def test_a_loop_of_links_is_told(tmp_path):
    (tmp_path / "a").symlink_to("a")
    with pytest.raises(Unavailable, match="cannot be looked at"):
        check_file(tmp_path / "a", network=False, create=False)


def test_a_closed_folder_is_told(closed_folder):
    with pytest.raises(Denied, match="may not be looked at"):
        check_file(closed_folder / "catalog.sqlite", network=False, create=False)
