"""Leases: who is at work, who is dead, and what the dead leave behind"""

import os
import subprocess
import sys
from datetime import timedelta

import pytest

from artifactstore.core.errors import Unavailable
from artifactstore.core.events import Warn
from artifactstore.core.settings import Settings
from artifactstore.lease import Lease, clear_dead, host
from artifactstore.store import Store


@pytest.fixture
def store(tmp_path):
    with Store.init(str(tmp_path / "store")) as store:
        yield store


def dead_pid():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


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

        class Failing:
            def __getattr__(self, name):
                return getattr(leases, name)

            def extend(self, lease_id):
                raise Unavailable("the database is away")

        depot = type(store.depot)(**{**vars(store.depot), "catalog": Away(store.depot.catalog, Failing())})
        with Lease(depot, "test") as lease:
            for _ in range(200):
                if told:
                    break
                lease._over.wait(0.02)
            assert not lease.lost
    assert isinstance(told[0], Warn)
    assert "the database is away" in told[0].message


class Away:
    """A catalog with other leases"""

    def __init__(self, catalog, leases):
        self._catalog, self.leases = catalog, leases

    def __getattr__(self, name):
        return getattr(self._catalog, name)
