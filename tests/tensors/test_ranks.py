"""Several ranks write one version, and any number of them reads it"""

import os

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint import CheckpointException
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Replicate, Shard, distribute_tensor

from artifactstore import Settings, Store
from artifactstore.tensors.dcp.writer import StoreWriter as Writer
from artifactstore.tensors.distributed import StoreReader, StoreWriter
from tests.tensors.ranks import in_ranks
from tests.tensors.states import is_same, random_tensor

ROWS, COLUMNS = 10, 12


def whole():
    return {
        "rows": random_tensor(torch.float32, (ROWS, COLUMNS), 1),
        "columns": random_tensor(torch.bfloat16, (ROWS, COLUMNS), 2),
        "both": random_tensor(torch.float32, (8, 8), 3),
        "everywhere": random_tensor(torch.int64, (5,), 4),
        "few": random_tensor(torch.float32, (3, 2), 5),
    }


def sharded(count, mesh):
    placements = {"rows": Shard(0), "columns": Shard(1), "both": Shard(0), "everywhere": Replicate(), "few": Shard(0)}
    return {name: distribute_tensor(tensor, mesh, [placements[name]]) for name, tensor in whole().items()}


@pytest.fixture
def folder(tmp_path):
    Store.init(str(tmp_path / "store")).close()
    return str(tmp_path / "store")


@pytest.fixture
def store(folder, tmp_path):
    with Store.open(folder, settings=Settings(attested=str(tmp_path / "attested"))) as store:
        yield store


def write(rank, folder, count):
    state = {"model": sharded(count, init_device_mesh("cpu", (count,))), "step": 7, "words": {"a": [1, "two"]}}
    dcp.save(state, storage_writer=StoreWriter(folder, "run", step=7, metrics={"loss": 0.5}))


def read(rank, folder, count):
    mesh = init_device_mesh("cpu", (count,))
    state = {
        "model": {name: distribute_tensor(torch.zeros_like(each), mesh, [Shard(0)]) for name, each in whole().items()},
        "step": 0,
        "words": {"a": [0, ""]},
    }
    dcp.load(state, storage_reader=StoreReader(folder, "run@latest"))
    assert (state["step"], state["words"]) == (7, {"a": [1, "two"]})
    for name, each in whole().items():
        assert is_same(state["model"][name].full_tensor(), each), name


@pytest.mark.parametrize(("writers", "readers"), [(1, 2), (2, 4), (4, 1)])
def test_what_ranks_write_any_number_reads(folder, store, tmp_path, writers, readers):
    assert in_ranks(write, writers, tmp_path, folder, writers) == [0] * writers
    [version] = store.depot.catalog.versions.list()
    assert (version.step, version.metrics["loss"], version.ref) == (7, 0.5, "run:1")
    assert in_ranks(read, readers, tmp_path, folder, readers) == [0] * readers
    loaded = store.load("run")
    assert is_same({f"model.{name}": each for name, each in sorted(whole().items())}, dict(sorted(loaded.items())))
    assert not store.verify().damaged


def save_fsdp(rank, folder):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(8, 6), torch.nn.ReLU(), torch.nn.Linear(6, 3))
    for part in (model[0], model[2], model):
        fully_shard(part, mesh=init_device_mesh("cpu", (2,)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(torch.ones(4, 8)).sum().backward()
    optimizer.step()
    weights, moments = get_state_dict(model, optimizer)
    dcp.save({"model": weights, "optimizer": moments}, storage_writer=StoreWriter(folder, "fsdp"))
    before = {name: each.full_tensor() for name, each in weights.items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    weights, moments = get_state_dict(model, optimizer)
    dcp.load({"model": weights, "optimizer": moments}, storage_reader=StoreReader(folder, "fsdp"))
    set_state_dict(model, optimizer, model_state_dict=weights, optim_state_dict=moments)
    assert all(torch.equal(each.full_tensor(), before[name]) for name, each in model.state_dict().items())
    if rank == 0:
        torch.save(before, os.path.join(folder, "..", "before.pt"))


def test_a_model_that_fsdp_trained_is_loaded_without_it(folder, store, tmp_path):
    assert in_ranks(save_fsdp, 2, tmp_path, folder) == [0, 0]
    model = torch.nn.Sequential(torch.nn.Linear(8, 6), torch.nn.ReLU(), torch.nn.Linear(6, 3))
    report = store.load_into(model, "fsdp", strict=False, names={name: f"model.{name}" for name in model.state_dict()})
    before = torch.load(tmp_path / "before.pt")
    assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items())
    assert report.tensors == 4


def die(rank, folder, when):
    if rank == 1:
        target = Writer.write_data

        def write_data(self, plan, planner):
            if when == "after":
                target(self, plan, planner)
            os._exit(9)

        Writer.write_data = write_data
    with pytest.raises((CheckpointException, RuntimeError)):
        write(rank, folder, 2)
    os._exit(3)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_rank_that_is_killed_leaves_nothing_visible(folder, store, tmp_path, when):
    assert in_ranks(die, 2, tmp_path, folder, when) == [3, 9]
    assert list(store.depot.catalog.versions.list()) == []
    assert in_ranks(write, 2, tmp_path, folder, 2) == [0, 0]
    assert len(store.depot.catalog.versions.list()) == 1
    assert not store.verify().damaged


def save_async(rank, folder):
    state = {"model": sharded(2, init_device_mesh("cpu", (2,)))}
    future = dcp.async_save(state, storage_writer=StoreWriter(folder, "run"))
    future.result()


def test_async_save(folder, store, tmp_path):
    assert in_ranks(save_async, 2, tmp_path, folder) == [0, 0]
    loaded = store.load("run")
    assert is_same(loaded["model.columns"], whole()["columns"])
