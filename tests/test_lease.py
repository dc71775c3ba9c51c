"""Leases: who is at work, who is dead, and what the dead leave behind"""

import dataclasses
import os
import shutil
import subprocess
import sys
from datetime import timedelta

import pytest

from artifactstore.core.errors import Corrupt, Unavailable
from artifactstore.core.events import Warn
from artifactstore.core.settings import Settings
from artifactstore.lease import Lease, clear_dead, host, reading
from artifactstore.store import Store
from tests.ops.trees import Changed


@pytest.fixture
def store(tmp_path):
    with Store.init(str(tmp_path / "store")) as store:
        yield store


def dead_pid():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def away(*_):
    raise Unavailable("the database is away")


def leave_behind(store, lease_id):
    store.depot.blobs.batch(lease_id).write("blobs/ab/" + "ab" * 32 + "." + "0" * 16, b"x")


def test_the_dead_of_this_boot_are_cleared_and_the_living_are_not(store):
    dead, alive, me, elsewhere, nobody = (digit * 32 for digit in "abcde")
    for lease_id, where, pid in (
        (dead, host(), dead_pid()),
        (alive, host(), os.getppid()),
        (me, host(), os.getpid()),
        (elsewhere, "other/boot/namespace", dead_pid()),
    ):
        store.depot.catalog.leases.open(lease_id, host=where, pid=pid, kind="save")
        leave_behind(store, lease_id)
    leave_behind(store, nobody)
    (store.depot.blobs.root / "tmp/my notes/deep").mkdir(parents=True)
    clear_dead(store.depot)
    assert {lease.id for lease in store.depot.catalog.leases.active()} == {alive, me, elsewhere}
    assert store.depot.blobs.owners() == sorted([alive, me, elsewhere, "my notes"])


def test_a_process_one_may_not_signal_is_alive(store, monkeypatch):
    def forbidden(pid, signal):
        raise PermissionError

    store.depot.catalog.leases.open("theirs", host=host(), pid=dead_pid(), kind="save")
    monkeypatch.setattr(os, "kill", forbidden)
    clear_dead(store.depot)
    assert [lease.id for lease in store.depot.catalog.leases.active()] == ["theirs"]


def test_a_heartbeat_that_fails_is_told_and_tried_again(tmp_path):
    told = []
    Store.init(str(tmp_path / "s")).close()
    with Store.open(str(tmp_path / "s"), settings=Settings(lease=timedelta(seconds=0.1)), monitor=told.append) as store:
        leases = store.depot.catalog.leases

        depot = dataclasses.replace(
            store.depot, catalog=Changed(store.depot.catalog, leases=Changed(leases, extend=away))
        )
        with Lease(depot, "test") as lease:
            for _ in range(200):
                if told:
                    break
                lease._over.wait(0.02)
            assert not lease.lost
    assert isinstance(told[0], Warn)
    assert "the database is away" in told[0].message


def test_processes_of_another_namespace_are_not_taken_for_ours():
    """In a container the same number is another process, and every process of the host looks gone"""
    assert str(os.stat("/proc/self/ns/pid").st_ino) == host().rsplit("/", 1)[1]
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare")
    script = "from artifactstore.lease import host; print(host())"
    done = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", script], capture_output=True, text=True
    )
    if done.returncode != 0:
        pytest.skip(f"namespaces are not permitted here: {done.stderr.strip()}")
    assert done.stdout.strip() != host()
    assert done.stdout.rsplit("/", 1)[0] == host().rsplit("/", 1)[0]


def test_a_save_goes_on_beside_foreign_folders_in_tmp(store, tmp_path):
    notes = store.depot.blobs.root / "tmp/notes"
    notes.mkdir()
    (notes / "precious").write_text("mine")
    (store.depot.blobs.root / "tmp/x/y").mkdir(parents=True)
    (store.depot.blobs.root / "tmp/my notes").mkdir()
    store.add([notes], name="m")
    assert (notes / "precious").read_text() == "mine"
    assert store.depot.blobs.owners() == ["my notes", "notes", "x"]


def test_a_reader_that_cannot_let_go_is_told_and_hides_nothing(store, tmp_path):
    (tmp_path / "x").write_text("x")
    version = store.add([tmp_path / "x"], name="m").committed.version
    leases, told = Changed(store.depot.catalog.leases, reap=away), []
    catalog = Changed(store.depot.catalog, leases=leases)
    depot = dataclasses.replace(store.depot, catalog=catalog, monitor=told.append)
    with reading(depot, version.id):
        pass
    assert [event for event in told if isinstance(event, Warn) and "ends by itself" in event.message]
    with pytest.raises(Corrupt, match="a blob"), reading(depot, version.id):
        raise Corrupt("a blob is damaged", code="corrupt")
