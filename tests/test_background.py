"""Checkpoints written while training goes on: staged at once, durable later, and nothing lost in silence"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import torch

from artifactstore import CheckpointManager, Latest, Settings, Store
from artifactstore.core.errors import Invalid, NotFound, StoreError, Unavailable
from artifactstore.core.events import Step, Warn
from tests.tensors.states import is_same, random_tensor

KINDS = ["process", "thread"]


def weights(seed=0):
    return {"w": random_tensor(torch.float32, (300, 70), seed), "b": random_tensor(torch.bfloat16, (70,), seed)}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def told():
    return []


@pytest.fixture(params=KINDS)
def manager(request, folder, told):
    manager = CheckpointManager(
        {"storage_path": folder}, staging=weights(), background=request.param, monitor=told.append
    )
    yield manager
    with contextlib.suppress(StoreError):
        manager.close()


def warnings_in(told):
    return [event.message for event in told if isinstance(event, Warn)]


def test_a_state_may_change_as_soon_as_it_is_staged(manager):
    state = weights()
    ticket = manager.save_checkpoint({"request_id": "one", "step": 1, "state": state}, wait=False)
    assert ticket.staged.done()
    for tensor in state.values():
        tensor.zero_()
    saved = ticket.durable.result(60)
    assert (saved.id, saved.request_id, saved.number) == (ticket.id, "one", 1)
    assert is_same(manager.restore_checkpoint("one")["state"], weights())
    assert repr(ticket) == "Ticket(one, durable)"


def test_it_is_what_a_save_that_waits_would_store(manager):
    manager.save_checkpoint({"request_id": "late", "state": weights()}, wait=False)
    assert manager.save_checkpoint({"request_id": "now", "state": weights()}).new_bytes < 3000
    assert [version.request_id for version in manager.list()] == ["now", "late"]


def test_what_is_read_next_is_there(manager):
    for seed in range(3):
        manager.save_checkpoint({"request_id": f"r{seed}", "state": weights(seed)}, wait=False)
        assert manager.latest().request_id == f"r{seed}"
        assert is_same(manager.restore_checkpoint(f"r{seed}")["state"], weights(seed))


def test_lineage_goes_on_from_what_was_restored(manager):
    manager.save_checkpoint({"request_id": "first", "state": weights()}, wait=False)
    context = manager.restore_checkpoint("first")
    context["request_id"] = "second"
    first = manager.save_checkpoint(context, wait=False).durable.result().id and manager.latest()
    with Store.open(str(manager._url)) as store:
        [link] = store.depot.catalog.versions.parents(first.id)
    assert link.ref.endswith(":1")


def test_one_is_in_flight_and_who_waits_is_told(folder, told):
    gate, entered = threading.Event(), threading.Event()

    def monitor(event):
        told.append(event)
        if event == Step("save.commit.before"):
            entered.set()
            gate.wait(30)

    with CheckpointManager({"storage_path": folder}, background="thread", monitor=monitor) as manager:
        first = manager.save_checkpoint({"request_id": "one", "state": weights()}, wait=False)
        assert entered.wait(30)
        assert not first.durable.done()
        with pytest.raises(Unavailable, match="still being written after"):
            manager.flush(0.01)
        threading.Timer(0.3, gate.set).start()
        manager.save_checkpoint({"request_id": "two", "state": weights(1)}, wait=False)
        assert first.durable.done()
        manager.flush()
        assert any("for checkpoint one to be written" in text for text in warnings_in(told))
        assert [version.request_id for version in manager.list()] == ["two", "one"]


def test_memory_that_is_still_read_is_not_used_again_by_who_was_interrupted(folder, monkeypatch):
    gate = threading.Event()

    def monitor(event):
        if event == Step("save.lease.before"):
            gate.wait(30)

    with CheckpointManager({"storage_path": folder}, background="thread", monitor=monitor) as manager:
        first = manager.save_checkpoint({"request_id": "one", "state": weights()}, wait=False)
        with monkeypatch.context() as patch:
            patch.setattr(first.durable, "result", lambda timeout: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                manager.save_checkpoint({"request_id": "two", "state": weights(1)}, wait=False)
        threading.Timer(0.2, gate.set).start()
        manager.save_checkpoint({"request_id": "three", "state": weights(2)}, wait=False)
        assert is_same(manager.restore_checkpoint("one")["state"], weights())
        assert is_same(manager.restore_checkpoint("three")["state"], weights(2))


def kill(process):
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def save_next(manager):
    return manager.save_checkpoint({"request_id": "next", "state": weights(2)}, wait=False)


@pytest.mark.parametrize("ask", [save_next, CheckpointManager.flush, CheckpointManager.close])
def test_a_writer_that_dies_is_told_by_the_next_call(folder, ask):
    manager = CheckpointManager({"storage_path": folder}, staging=weights())
    manager.save_checkpoint({"request_id": "kept", "state": weights()}, wait=False)
    manager.flush()
    writer = manager._background._writer
    start, writer.start = writer.start, lambda: (start(), kill(writer._process))
    ticket = manager.save_checkpoint({"request_id": "lost", "state": weights(1)}, wait=False)
    with pytest.raises(Unavailable, match=r"Checkpoint lost was not stored: .* ended \(exit status -9\)"):
        ask(manager)
    with pytest.raises(Unavailable):
        _ = ticket.id
    if ask is not CheckpointManager.close:
        writer.start = start
        assert manager.save_checkpoint({"request_id": "again", "state": weights(1)}, wait=False).id
    manager.close()
    with CheckpointManager({"storage_path": folder}) as manager:
        assert "lost" not in {version.request_id for version in manager.list()}
        with Store.open(str(folder)) as store:
            assert not store.verify().damaged


def test_what_a_save_raises_in_its_process_is_raised_here(folder):
    with CheckpointManager({"storage_path": folder}, staging=weights(), settings=Settings(reserve=1 << 60)) as manager:
        ticket = manager.save_checkpoint({"request_id": "big", "state": weights()}, wait=False)
        with pytest.raises(StoreError, match=r"Checkpoint big was not stored: .*make room"):
            manager.flush()
        assert ticket.durable.exception().code == "unavailable.space"
        manager.flush()


def test_an_error_in_the_block_is_not_hidden_by_one_of_the_writer(folder, told):
    def train():
        settings = Settings(reserve=1 << 60)
        with CheckpointManager({"storage_path": folder}, settings=settings, monitor=told.append) as manager:
            manager.save_checkpoint({"request_id": "big", "state": weights()}, wait=False)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train()
    assert any("Checkpoint big was not stored" in text for text in warnings_in(told))


def test_a_context_that_cannot_be_stored_is_told_at_once(manager):
    with pytest.raises(Invalid, match="state"):
        manager.save_checkpoint({"state": {"f": print}}, wait=False)
    assert manager.save_checkpoint({"state": weights()}, wait=False).id


def test_a_state_that_outgrows_its_memory_gets_more(folder):
    with CheckpointManager({"storage_path": folder}, staging=1000) as manager:
        large = {"w": random_tensor(torch.uint8, (5 << 20,))}
        manager.save_checkpoint({"request_id": "small", "state": weights()}, wait=False)
        manager.save_checkpoint({"request_id": "large", "state": large}, wait=False)
        assert is_same(manager.restore_checkpoint("large")["state"], large)
        assert is_same(manager.restore_checkpoint("small")["state"], weights())


def test_policies_run_after_a_save_in_the_background(folder):
    with CheckpointManager({"storage_path": folder}, policy=Latest(2), staging=weights()) as manager:
        for step in range(5):
            manager.save_checkpoint({"request_id": f"r{step}", "step": step, "state": weights(step)}, wait=False)
        manager.flush()
        assert [version.request_id for version in manager.list()] == ["r4", "r3"]


def test_saves_that_wait_do_not_wait_for_each_other(folder):
    together = threading.Barrier(2)

    def monitor(event):
        if event == Step("save.lease.after"):
            together.wait(30)

    with CheckpointManager({"storage_path": folder}, monitor=monitor) as manager:
        threads = [
            threading.Thread(target=manager.save_checkpoint, args=({"request_id": f"r{n}", "state": weights(n)},))
            for n in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not together.broken
        assert {version.request_id for version in manager.list()} == {"r0", "r1"}


@pytest.mark.parametrize("place", ["store", "memory"])
def test_a_store_that_cannot_be_opened_elsewhere_is_written_by_a_thread(tmp_path, folder, place):
    if place == "store":
        with Store.init(str(folder)) as store, CheckpointManager(store=store) as manager:
            assert manager.save_checkpoint({"request_id": "r", "state": weights()}, wait=False).id
    else:
        with CheckpointManager({"storage_path": "memory://x"}, catalog=f"sqlite:///{tmp_path}/c.sqlite") as manager:
            assert manager.save_checkpoint({"request_id": "r", "state": weights()}, wait=False).id
            assert is_same(manager.restore_checkpoint("r")["state"], weights())


@pytest.mark.parametrize("wrong", [0, -1, True, "big"])
def test_staging_is_a_size_or_a_state(folder, wrong):
    with pytest.raises(Invalid):
        CheckpointManager({"storage_path": folder}, staging=wrong if wrong != "big" else print)


def test_nothing_is_staged_in_a_process_that_was_forked(folder):
    with CheckpointManager({"storage_path": folder}, staging=weights()) as manager:
        manager.save_checkpoint({"request_id": "here", "state": weights()}, wait=False)
        pid = os.fork()
        if pid == 0:
            try:
                manager.save_checkpoint({"request_id": "there", "state": weights(1)}, wait=False)
            except Invalid as e:
                os._exit(7 if e.code == "invalid.forked" else 8)
            os._exit(9)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        assert is_same(manager.restore_checkpoint("here")["state"], weights())
        with pytest.raises(NotFound):
            manager.restore_checkpoint("there")


LEAVE = """
import sys, torch
from artifactstore import CheckpointManager, Settings
kind, reserve = sys.argv[2], int(sys.argv[3])
manager = CheckpointManager({"storage_path": sys.argv[1]}, background=kind, settings=Settings(reserve=reserve))
ticket = manager.save_checkpoint({"request_id": "last", "state": {"w": torch.ones(5 << 20)}}, wait=False)
print("durable" if ticket.durable.done() else "staged", flush=True)
"""


HANDED_OVER = """
import threading
from multiprocessing.connection import Connection
handed, send = threading.Event(), Connection.send
def watched(self, what):
    send(self, what)
    if type(what).__name__ == "Job":
        handed.set()
Connection.send = watched
"""


def leave(folder, kind, reserve=0):
    command = [sys.executable, "-c", LEAVE, folder, kind, str(reserve)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("kind", KINDS)
def test_an_interpreter_that_exits_waits(folder, kind):
    done = leave(folder, kind)
    assert (done.stdout, done.stderr, done.returncode) == ("staged\n", "", 0)
    with CheckpointManager({"storage_path": folder}) as manager:
        assert torch.equal(manager.restore_checkpoint("last")["state"]["w"], torch.ones(5 << 20))


@pytest.mark.parametrize("kind", KINDS)
def test_an_interpreter_that_exits_says_what_was_lost(folder, kind):
    done = leave(folder, kind, reserve=1 << 60)
    assert "Checkpoint last was not stored" in done.stderr


def test_the_writer_outlives_a_trainer_that_is_killed(folder):
    script = HANDED_OVER + LEAVE + "import os, signal; handed.wait(60); os.kill(os.getpid(), signal.SIGKILL)"
    subprocess.run([sys.executable, "-c", script, folder, "process", "0"], capture_output=True, check=False)
    with CheckpointManager({"storage_path": folder}) as manager:
        deadline = time.monotonic() + 60
        while not manager.list() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert torch.equal(manager.restore_checkpoint("last")["state"]["w"], torch.ones(5 << 20))


def test_signals_for_the_trainer_do_not_end_its_writer(folder):
    with CheckpointManager({"storage_path": folder}, staging=weights()) as manager:
        manager.save_checkpoint({"request_id": "before", "state": weights()}, wait=False)
        manager.flush()
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(manager._background._writer._process.pid, number)
        pid = manager._background._writer._process.pid
        assert manager.save_checkpoint({"request_id": "after", "state": weights(1)}, wait=False).id
        assert manager._background._writer._process.pid == pid
