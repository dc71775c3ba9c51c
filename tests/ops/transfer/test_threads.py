"""Threads that cannot be started: told in one line, never waited for"""

import threading

import pytest

from artifactstore.core.errors import Unavailable
from artifactstore.ops.transfer.threads import start_pool

VERBS = {
    "artstore-heartbeat": "add",
    "artstore-hash": "add",
    "artstore-grant": "add",
    "artstore-write_1": "add",
    "artstore-sha256": "add",
    "artstore-sync_3": "checkout",
    "artstore-fetch_1": "checkout",
    "artstore-verify": "verify",
}


@pytest.fixture
def forbid(monkeypatch):
    """Let no thread of this name start any more"""

    def forbid(name):
        start = threading.Thread.start

        def refusing(thread):
            if thread.name.startswith(name):
                raise RuntimeError("can't start new thread")
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", refusing)

    yield forbid
    monkeypatch.undo()


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_tells_it_and_leaves_nothing_behind(store, model, tmp_path, monkeypatch, forbid, name):
    verbs = {
        "add": lambda: store.add([model], name="m"),
        "checkout": lambda: store.checkout("m", tmp_path / "out"),
        "verify": store.verify,
    }
    if VERBS[name] != "add":
        store.add([model], name="m")
    forbid(name)
    with pytest.raises(Unavailable, match="No more threads") as error:
        verbs[VERBS[name]]()
    assert error.value.code == "unavailable.threads"
    assert store.depot.catalog.leases.active() == []
    monkeypatch.undo()
    verbs[VERBS[name]]()
    assert store.verify().damaged == ()


def test_the_threads_run_before_any_work(forbid):
    with start_pool(3, "early") as pool:
        forbid("early")
        assert list(pool.map(len, ["a", "bc"])) == [1, 2]
