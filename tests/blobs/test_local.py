"""A local disk keeps the contract, also when it is full, read-only or failing"""

import contextlib
import errno
import os
import resource
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from artifactstore.blobs.layout import JOURNAL, SETTINGS_KEY, TMP, journal_key
from artifactstore.blobs.local import LocalBlobs
from artifactstore.core.errors import (
    Corrupt,
    Denied,
    Exists,
    Invalid,
    LeaseLost,
    NoSpace,
    NoStore,
    NotFound,
    StoreError,
    Unavailable,
)
from tests.contract.blobs import DATA, key_of, put


@pytest.fixture
def store(tmp_path):
    blobs = LocalBlobs(tmp_path / "store")
    blobs.prepare()
    return blobs


def files(store):
    return [path for path in store.root.rglob("*") if not path.is_dir()]


def in_child(act):
    """What `act` returns or the code of the error that it raises, in a forked child"""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            said = str(act())
        except StoreError as e:
            said = e.code
        except BaseException as e:
            said = repr(e)
        os.write(write_end, said.encode())
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


@pytest.fixture
def calls(monkeypatch):
    """The calls that decide what survives a power cut, in order, with paths instead of descriptors"""
    made = []

    def record(name, path_of):
        real = getattr(os, name)

        def called(*args, **kwargs):
            made.append((name, *path_of(*args)))
            return real(*args, **kwargs)

        monkeypatch.setattr(os, name, called)

    record("write", lambda fd, data: (os.readlink(f"/proc/self/fd/{fd}"),))
    record("fchmod", lambda fd, mode: (os.readlink(f"/proc/self/fd/{fd}"),))
    record("fsync", lambda fd: (os.readlink(f"/proc/self/fd/{fd}"),))
    record("rename", lambda source, target: (str(source), str(target)))
    record("replace", lambda source, target: (str(source), str(target)))
    return made


@pytest.mark.skipif(sys.platform != "linux", reason="descriptors are named through /proc")
class TestDurability:
    def test_each_file_is_synced_then_named_then_its_folder_synced_once(self, store, calls):
        contents = [bytes([n]) for n in range(6)]
        keys = [key_of(contents[0]), key_of(contents[0]), *map(key_of, contents[1:])]
        batch = store.batch("me")
        for key, data in zip(keys, [contents[0], *contents], strict=True):
            batch.write(key, data)
        written = len(calls)
        batch.publish()
        for n, key in enumerate(keys):
            aside = str(store.root / TMP / "me" / key.replace("/", "+"))
            assert calls[3 * n : 3 * n + 3] == [("write", aside), ("fchmod", aside), ("fsync", aside)]
        assert written == 3 * len(keys)
        renamed = calls[written : written + len(keys)]
        assert [call[0] for call in renamed] == ["rename"] * len(keys)
        assert {call[2] for call in renamed} == {str(store.root / key) for key in keys}
        folders = {str((store.root / key).parent) for key in keys}
        assert sorted(calls[written + len(keys) :]) == sorted(("fsync", folder) for folder in folders)

    def test_a_new_folder_is_durable_up_to_the_root(self, store, calls):
        batch = store.batch("me")
        batch.write(journal_key("catalog", 1, "aa"), b"{}")
        del calls[:]
        batch.publish()
        assert {call[1] for call in calls if call[0] == "fsync"} == {
            str(store.root / folder) for folder in ("", "journal", "journal/catalog")
        }

    def test_a_new_store_is_durable_up_to_the_folder_it_was_made_in(self, tmp_path, calls):
        LocalBlobs(tmp_path / "a" / "b").prepare()
        assert [call[1] for call in calls] == [
            str(tmp_path / path) for path in ("a/b/blobs", "a/b/manifests", "a/b", "a", "")
        ]

    def test_what_takes_the_place_of_another_is_synced_before_and_its_folder_after(self, store, calls):
        store.replace(SETTINGS_KEY, b"first")
        del calls[:]
        store.replace(SETTINGS_KEY, b"second")
        names = [name for name, *_ in calls]
        assert names[:4] == ["write", "fchmod", "fsync", "replace"]
        assert calls[3][2] == str(store.root / SETTINGS_KEY)
        assert ("fsync", str(store.root)) in calls[4:]
        assert store.read(SETTINGS_KEY) == b"second"

    def test_quarantine_is_durable(self, store, calls):
        [key] = put(store, DATA)
        del calls[:]
        store.quarantine(key)
        assert calls[0][0] == "rename"
        synced = {call[1] for call in calls[1:]}
        assert {
            str((store.root / key).parent),
            str((store.root / "quarantine" / key).parent),
            str(store.root),
        } <= synced


def test_files_are_read_only_and_folders_are_shards(store):
    [key] = put(store, DATA)
    assert stat.S_IMODE((store.root / key).stat().st_mode) == 0o444
    assert list((store.root / TMP).iterdir()) == []
    assert len(list((store.root / "blobs").iterdir())) == len(list((store.root / "manifests").iterdir())) == 256


def test_short_writes_are_continued(store, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:1000]))
    [key] = put(store, DATA)
    assert store.read(key) == DATA


def test_a_write_that_reports_more_than_it_did_is_caught_by_the_size(store, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:-1]) + 1)
    with pytest.raises(Unavailable) as error:
        store.batch("me").write(key_of(DATA), DATA)
    assert error.value.code == "unavailable.io"
    assert files(store) == []


class TestFailedSync:
    @pytest.fixture
    def syncs(self, monkeypatch):
        """Fail the syncs whose number is in the set"""
        real, failing, made = os.fsync, set(), []

        def fsync(fd):
            made.append(fd)
            if len(made) in failing:
                raise OSError(errno.EIO, "lost")
            real(fd)

        monkeypatch.setattr(os, "fsync", fsync)
        return failing, made

    def test_of_a_file_throws_it_away_and_is_not_repeated(self, store, syncs):
        failing, made = syncs
        failing.add(1)
        batch = store.batch("me")
        key = key_of(DATA)
        with pytest.raises(Unavailable) as error:
            batch.write(key, DATA)
        assert error.value.code == "unavailable.io"
        assert error.value.facts["retryable"] is False
        assert files(store) == []
        assert len(made) == 1
        batch.write(key, DATA)
        batch.publish()
        assert store.read(key) == DATA

    def test_of_a_folder_fails_the_batch_for_good(self, store, syncs):
        failing, made = syncs
        batch = store.batch("me")
        batch.write(key_of(DATA), DATA)
        failing.add(len(made) + 1)
        for _ in range(3):
            with pytest.raises(Unavailable):
                batch.publish()
        assert len(made) == 2
        batch.discard()


def test_a_passing_failure_of_publish_may_be_tried_again(store, monkeypatch):
    batch = store.batch("me")
    key = key_of(DATA)
    batch.write(key, DATA)
    real, failures = os.open, [errno.EMFILE]

    def fail_once(*args, **kwargs):
        if failures:
            raise OSError(failures.pop(), "too many")
        return real(*args, **kwargs)

    monkeypatch.setattr(os, "open", fail_once)
    with pytest.raises(Unavailable) as error:
        batch.publish()
    assert error.value.facts["retryable"]
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    batch.publish()
    assert len(synced) == 1
    assert store.read(key) == DATA


class TestLimits:
    def test_a_file_size_limit(self, store):
        def act():
            resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
            put(store, DATA)

        assert in_child(act) == "unavailable.space.limit"
        assert files(store) == []

    def test_open_files(self, store):
        [key] = put(store, DATA)

        def act(verb):
            resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
            held = []
            with contextlib.suppress(OSError):
                while True:
                    held.append(os.open("/dev/null", os.O_RDONLY))
            return verb()

        verbs = [lambda: store.read(key), lambda: put(store, b"more"), lambda: list(store.keys("")), store.owners]
        assert [in_child(lambda verb=verb: act(verb)) for verb in verbs] == ["unavailable.files"] * 4

    def test_no_right_to_write(self):
        if os.geteuid() != 0:
            pytest.skip("needs root to become somebody else")
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o755)
            store = LocalBlobs(Path(folder) / "store")
            store.prepare()
            [key] = put(store, DATA)

            def act(verb):
                os.setgid(65534)
                os.setuid(65534)
                return verb()

            verbs = [
                lambda: put(store, b"more"),
                lambda: store.delete(key),
                lambda: store.quarantine(key),
                LocalBlobs(store.root / "in").prepare,
            ]
            assert [in_child(lambda verb=verb: act(verb)) for verb in verbs] == ["unavailable.denied"] * 4
            assert store.read(key) == DATA


class TestFullDisk:
    def test_no_space_left(self, mounted):
        store = LocalBlobs(mounted("size=1m") / "store")
        store.prepare()
        [key] = put(store, bytes(300_000))
        batch = store.batch("me")
        batch.write(key_of(b"small"), b"small")
        with pytest.raises(NoSpace, match="no space left") as error:
            batch.write(key_of(DATA), bytes(1 << 20))
        assert error.value.code == "unavailable.space"
        batch.publish()
        assert len(files(store)) == 2
        assert store.read(key) == bytes(300_000)
        assert 0 < store.free() < 1 << 20

    def test_no_inodes_left(self, mounted):
        store = LocalBlobs(mounted("size=4m,nr_inodes=530") / "store")
        store.prepare()
        with pytest.raises(NoSpace, match="no free inodes") as error:
            put(store, *(bytes([n]) for n in range(30)))
        assert error.value.code == "unavailable.space.inodes"

    def test_a_store_that_does_not_fit_says_so(self, mounted):
        with pytest.raises(NoSpace):
            LocalBlobs(mounted("size=1m,nr_inodes=100") / "store").prepare()

    def test_a_read_only_mount(self, mounted):
        point = mounted("size=2m")
        store = LocalBlobs(point / "store")
        store.prepare()
        [key] = put(store, DATA)
        subprocess.run(["mount", "-o", "remount,ro", point], check=True)
        for verb in (
            lambda: put(store, b"more"),
            lambda: store.delete(key),
            lambda: store.quarantine(key),
            LocalBlobs(point / "new").prepare,
        ):
            with pytest.raises(Denied) as error:
                verb()
            assert error.value.facts["errno"] == "EROFS"
        assert store.read(key) == DATA
        assert list(store.keys("")) == [key]


class TestStrangeFiles:
    """Nothing but regular files is read, whatever lies under a key"""

    @pytest.mark.parametrize("make", ["link", "dangling", "fifo", "folder", "device", "socket"])
    def test_is_refused_without_waiting(self, store, tmp_path, monkeypatch, make):
        [good] = put(store, DATA)
        key = key_of(b"strange")
        path = store.root / key
        if make == "link":
            path.symlink_to(store.root / good)
        elif make == "dangling":
            path.symlink_to(tmp_path / "nowhere")
        elif make == "fifo":
            os.mkfifo(path)
        elif make == "folder":
            path.mkdir()
        elif make == "socket":
            monkeypatch.chdir(tmp_path)  # the address of a socket has at most 107 bytes
            with socket.socket(socket.AF_UNIX) as unix:
                unix.bind("socket")
            os.rename("socket", path)
        else:
            try:
                os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))
            except PermissionError:
                pytest.skip("device files need root")
        for ask in (
            lambda: store.read(key),
            lambda: store.size(key),
            lambda: store.read_into(key, memoryview(bytearray(2))),
        ):
            with pytest.raises(Corrupt) as error:
                ask()
            assert error.value.code == "corrupt.special"
        assert list(store.keys("")) == [good]

    def test_a_link_in_the_way_is_not_written_through(self, store, tmp_path):
        key = key_of(DATA)
        outside = tmp_path / "outside"
        outside.write_bytes(b"precious")
        (store.root / key).symlink_to(outside)
        batch = store.batch("me")
        batch.write(key, DATA)
        with pytest.raises(Exists):
            batch.publish()
        aside = store.root / TMP / "you" / key.replace("/", "+")
        aside.parent.mkdir()
        aside.symlink_to(outside)
        with pytest.raises(Exists):
            store.batch("you").write(key, DATA)
        assert outside.read_bytes() == b"precious"


def test_an_unplugged_disk_is_no_store_and_nothing_is_made_in_its_place(store):
    batch = store.batch("me")
    batch.write(key_of(DATA), DATA)
    shutil.rmtree(store.root)
    with pytest.raises(NoStore):
        store.batch("you").write(key_of(DATA), DATA)
    with pytest.raises((NotFound, LeaseLost)):
        batch.publish()
    assert not store.root.exists()
    assert list(store.keys("")) == store.owners() == []
    with pytest.raises(NotFound):
        store.free()


def test_a_shard_folder_that_was_lost_is_made_again(store):
    shutil.rmtree(store.root / "blobs")
    [key] = put(store, DATA)
    assert store.read(key) == DATA


def test_a_file_is_no_place_for_a_store(tmp_path):
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(Invalid, match="not a folder"):
        LocalBlobs(tmp_path / "file").prepare()
    with pytest.raises(NotFound):
        LocalBlobs(tmp_path / "file").size("blobs/00/x")
    with pytest.raises(StoreError):
        LocalBlobs(tmp_path / "file" / "below").prepare()
    assert (tmp_path / "file").read_bytes() == b"mine"


def test_quarantine_overwrites_nothing(store):
    [key] = put(store, DATA)
    evidence = store.root / "quarantine" / key
    evidence.parent.mkdir(parents=True)
    evidence.write_bytes(b"evidence")
    with pytest.raises(Exists):
        store.quarantine(key)
    assert evidence.read_bytes() == b"evidence"
    assert store.read(key) == DATA


def test_a_file_that_shrinks_while_it_is_read_is_corrupt(store, monkeypatch):
    [key] = put(store, DATA)
    real = os.fstat

    class Longer:
        def __init__(self, facts):
            self.st_mode, self.st_size = facts.st_mode, facts.st_size + 5

    monkeypatch.setattr("artifactstore.blobs.local.os.fstat", lambda fd: Longer(real(fd)))
    with pytest.raises(Corrupt) as error:
        store.read(key)
    assert error.value.code == "corrupt.truncated"
    with pytest.raises(Corrupt):
        store.read_into(key, memoryview(bytearray(len(DATA) + 5)))


def test_a_batch_left_by_a_killed_process_is_found_by_its_owner(store):
    [key] = put(store, DATA)

    def act():
        store.batch("killed").write(key_of(b"half"), b"half")
        return "written"

    assert in_child(act) == "written"
    (store.root / TMP / "stray-file").write_bytes(b"")
    assert store.owners() == ["killed"]
    store.drop("killed")
    assert store.owners() == []
    assert list(store.keys("")) == [key]


@pytest.mark.parametrize("times", [2, 3])
def test_what_is_cleared_before_it_takes_its_place_is_written_again(store, monkeypatch, times):
    left = [None] * times
    real = os.replace

    def cleared(source, target):
        if left:
            left.pop()
            for owner in store.owners():
                store.drop(owner)
        real(source, target)

    monkeypatch.setattr(os, "replace", cleared)
    if times < 3:
        store.replace(SETTINGS_KEY, b"{}")
        assert store.read(SETTINGS_KEY) == b"{}"
    else:
        with pytest.raises(LeaseLost):
            store.replace(SETTINGS_KEY, b"{}")
    assert store.owners() == []


def test_a_folder_below_an_owner_is_reported_not_removed(store):
    (store.root / TMP / "odd" / "folder").mkdir(parents=True)
    with pytest.raises(StoreError):
        store.drop("odd")
    assert store.owners() == ["odd"]


def test_listing_gives_no_folders_links_or_leftovers(store):
    [key] = put(store, DATA)
    (store.root / "blobs" / "ff" / "link").symlink_to("/etc/passwd")
    (store.root / "blobs" / "stray").write_bytes(b"")
    (store.root / "trash").mkdir()
    (store.root / "trash" / "old").write_bytes(b"")
    assert list(store.keys("")) == sorted([key, "blobs/stray"])
    assert list(store.keys("trash/")) == []
    assert list(store.keys(JOURNAL)) == []
