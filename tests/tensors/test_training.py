"""Checkpoints of real training: resumed bit by bit, deduplicated, by many at once, in little memory"""

import multiprocessing
import random
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from artifactstore import CheckpointManager
from artifactstore.core.errors import Corrupt, Invalid
from artifactstore.core.events import Step
from tests.tensors.states import is_same

MIB = 1 << 20


@pytest.fixture
def manager(tmp_path):
    with CheckpointManager({"storage_path": tmp_path / "store"}) as manager:
        yield manager


def weights(seed=0, n=1000):
    return {"w": torch.from_numpy(np.random.default_rng(seed).random(n, np.float32))}


# bytes


def test_what_did_not_change_costs_nothing(manager):
    frozen = {f"w{n}": torch.from_numpy(np.random.default_rng(n).random(2 * MIB, np.float32)) for n in range(4)}
    head = torch.zeros(10)
    first = manager.save_checkpoint({"state": {**frozen, "head": head}})
    second = manager.save_checkpoint({"state": {**frozen, "head": head + 1}})
    assert first.new_bytes >= first.nbytes > 32 * MIB
    assert second.new_bytes < 10_000


def test_a_state_that_changes_while_it_is_saved_is_not_stored(tmp_path):
    state = weights()

    def train_on(event):
        if event == Step("save.publish.before"):
            state["w"].add_(1)

    manager = CheckpointManager({"storage_path": tmp_path / "s"}, monitor=train_on)
    with pytest.raises(Invalid, match="changed while it was being saved"):
        manager.save_checkpoint({"request_id": "r", "state": state})
    with CheckpointManager({"storage_path": tmp_path / "s"}) as manager:
        assert manager.list() == []
        assert manager.save_checkpoint({"request_id": "r", "state": state}).number == 1


def test_a_damaged_checkpoint_is_told(manager):
    saved = manager.save_checkpoint({"state": weights()})
    depot = manager._open(create=False)
    for path in (depot.blobs.root / "blobs").rglob("*.*"):
        path.unlink()
    with pytest.raises(Corrupt, match="missing"):
        manager.restore_checkpoint(saved)


# training


def training(kind, steps, manager=None, resume=None, save_at=None):
    """A small real training run; the losses of its steps"""
    torch.manual_seed(0)
    random.seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(4, 16), torch.nn.BatchNorm1d(16), torch.nn.Dropout(0.3), torch.nn.Linear(16, 1)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    scheduler = {
        "MultiStepLR": lambda: torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 6, 6]),
        "OneCycleLR": lambda: torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=12),
        "LambdaLR": lambda: torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.9**step),
    }[kind]()
    parts = {"model": model, "optimizer": optimizer, "scheduler": scheduler}
    first = 0
    if resume is not None:
        context = manager.restore_checkpoint(resume, into=parts)
        torch.set_rng_state(context.state["rng"]["torch"])
        random.setstate(context.state["rng"]["python"])
        first = context.step
    losses = []
    for step in range(first, steps):
        batch = torch.randn(8, 4) * random.random()
        loss = (model(batch) - batch.sum(1, keepdim=True)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
        if step + 1 == save_at:
            rng = {"torch": torch.get_rng_state(), "python": random.getstate()}
            manager.save_checkpoint({"request_id": "half", "step": step + 1, "state": {**parts, "rng": rng}})
    return losses


@pytest.mark.parametrize("kind", ["MultiStepLR", "OneCycleLR", "LambdaLR"])
def test_a_resumed_training_goes_on_bit_by_bit(manager, kind):
    whole = training(kind, 12, manager, save_at=5)
    assert training(kind, 12) == whole
    torch.manual_seed(99)
    assert training(kind, 12, manager, resume="half") == whole[5:]


def test_one_module_is_restored_into_another(manager):
    source, target = torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)
    saved = manager.save_checkpoint({"state": source})
    manager.restore_checkpoint(saved, into=target)
    assert torch.equal(source.weight, target.weight)
    with pytest.raises(Invalid, match="does not fit"):
        manager.restore_checkpoint(saved, into=torch.nn.Linear(2, 3))
    with pytest.raises(Invalid, match="saved without a state"):
        manager.restore_checkpoint(manager.save_checkpoint({"step": 1}), into=target)


# many at once


def test_threads_save_and_restore_at_once(manager):
    saved, barrier = {}, threading.Barrier(6)

    def work(number):
        barrier.wait()
        saved[number] = manager.save_checkpoint({"request_id": f"r{number}", "state": weights(number)})
        assert is_same(manager.restore_checkpoint(f"r{number}")["state"], weights(number))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.number for one in saved.values()) == [1, 2, 3, 4, 5, 6]
    assert len(manager.list()) == 6


def save_one(place, number, barrier):
    manager = CheckpointManager({"storage_path": place})
    barrier.wait(60)
    manager.save_checkpoint({"request_id": f"p{number}", "state": weights(number)})


def test_processes_make_the_store_and_save_at_once(tmp_path):
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload([__name__])
    barrier = server.Barrier(3)
    work = [server.Process(target=save_one, args=(str(tmp_path), number, barrier)) for number in range(3)]
    for process in work:
        process.start()
    for process in work:
        process.join(60)
    assert [process.exitcode for process in work] == [0, 0, 0]
    with CheckpointManager({"storage_path": str(tmp_path)}) as manager:
        assert {version.request_id for version in manager.list()} == {"p0", "p1", "p2"}
        for number in range(3):
            assert is_same(manager.restore_checkpoint(f"p{number}")["state"], weights(number))


MEASURE = """
import resource, sys, threading, time
import torch
from artifactstore import CheckpointManager
from artifactstore.core.settings import Settings
import artifactstore.tensors.save

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()

state = {f"w{n}": torch.full((25 << 20,), n, dtype=torch.float32) for n in range(5)}
state["turned"] = torch.ones(5 << 20, 5, dtype=torch.float32).t()
before, most, over = resident(), [0], threading.Event()

def watch():
    while not over.wait(0.002):
        most[0] = max(most[0], resident())

watcher = threading.Thread(target=watch)
watcher.start()
manager = CheckpointManager({"storage_path": sys.argv[1]}, settings=Settings(memory=256 << 20))
manager.save_checkpoint({"state": {"model": state}})
over.set()
watcher.join()
print(most[0] - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
def test_saving_600_megabytes_takes_no_more_memory_than_its_budget(tmp_path):
    done = subprocess.run([sys.executable, "-c", MEASURE, tmp_path / "s"], capture_output=True, text=True, check=True)
    assert int(done.stdout) < (256 + 100 + 64) * MIB  # the budget, the one tensor that must be copied, the libraries
