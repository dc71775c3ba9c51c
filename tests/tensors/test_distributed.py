"""Versions as checkpoints of torch.distributed"""

import pickle

import pytest
import torch
import torch.distributed.checkpoint as dcp
from safetensors.torch import save_file
from torch.distributed.checkpoint import CheckpointException
from torch.distributed.checkpoint.metadata import MetadataIndex
from torch.distributed.checkpoint.planner import LoadItemType, ReadItem

from artifactstore import Settings, Store
from artifactstore.core.errors import Invalid, NotFound
from artifactstore.core.formats.safetensors import write_header
from artifactstore.core.lineage import Link, Relation
from artifactstore.tensors.distributed import StoreReader, StoreWriter
from tests.tensors.states import is_same, random_tensor


@pytest.fixture
def state():
    model = {"w": random_tensor(torch.float32, (300, 70)), "b": random_tensor(torch.bfloat16, (70,), 1)}
    return {"model": model, "optimizer": {"m": random_tensor(torch.float32, (5 << 20,), 2)}}


@pytest.fixture
def store(tmp_path, state):
    flat = {f"{part}.{name}": tensor for part, tensors in state.items() for name, tensor in tensors.items()}
    save_file(flat, tmp_path / "m.safetensors")
    with Store.init(str(tmp_path / "store"), settings=Settings(attested=str(tmp_path / "attested"))) as store:
        store.add([tmp_path / "m.safetensors"], name="m")
        yield store


def empty(tensors):
    return {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}


def test_a_state_is_filled_in_place(store, state):
    found = {part: empty(tensors) for part, tensors in state.items()}
    addresses = {name: tensor.data_ptr() for name, tensor in found["model"].items()}
    dcp.load(found, storage_reader=StoreReader(store, "m"))
    assert is_same(found, state)
    assert {name: tensor.data_ptr() for name, tensor in found["model"].items()} == addresses


def test_a_model_comes_without_its_optimizer(store, state):
    reader = StoreReader(store, "m", verify="never")
    found = {"model": empty(state["model"])}
    dcp.load(found, storage_reader=reader)
    assert is_same(found["model"], state["model"])
    assert reader.report.read_bytes < 1 << 20


def test_what_is_not_contiguous_or_of_another_dtype_is_copied(store, state):
    found = {"model": {"w": torch.zeros(70, 300, dtype=torch.float64).t()}}
    dcp.load(found, storage_reader=StoreReader(store, "m"))
    assert torch.equal(found["model"]["w"].nan_to_num(), state["model"]["w"].double().nan_to_num())


def test_what_is_not_there_is_told(store):
    with pytest.raises(NotFound):
        StoreReader(store, "none")
    with pytest.raises(CheckpointException, match="none"):
        dcp.load({"none": torch.zeros(1)}, storage_reader=StoreReader(store, "m"))
    with pytest.raises(CheckpointException, match="step"):
        dcp.load({"step": 3}, storage_reader=StoreReader(store, "m"))


def test_two_values_in_a_byte_are_read_whole(tmp_path, store):
    data = bytes(range(64))
    (tmp_path / "packed.safetensors").write_bytes(write_header([("w", "F4", (8, 16), 64)], None) + data)
    store.add([tmp_path / "packed.safetensors"], name="packed")
    reader, found = StoreReader(store, "packed"), torch.zeros(8, 8, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)
    dcp.load({"w": found}, storage_reader=reader)
    assert bytes(found.view(torch.uint8).flatten().tolist()) == data
    item = ReadItem(LoadItemType.TENSOR, MetadataIndex("w"), torch.Size([0]), MetadataIndex("w"), [0, 0], [4, 8])
    with pytest.raises(Invalid, match="read it whole"):
        reader._part(item)


def test_a_writer_is_sent_to_another_process_by_its_folder(tmp_path, store, state):
    parent = Link(Relation.FINETUNE, "m:1", params={"layers": 3})
    writer = pickle.loads(pickle.dumps(StoreWriter(str(tmp_path / "store"), "sent", step=3, parents=[parent])))
    dcp.save({"w": state["model"]["w"]}, storage_writer=writer)
    assert (writer.version.step, writer.version.ref) == (3, "sent:1")
    [link] = store.depot.catalog.versions.parents(writer.version.id)
    assert (link.ref, link.params["layers"]) == ("m:1", 3)
    with pytest.raises(Invalid, match="give its folder or URL"):
        pickle.dumps(StoreWriter(store, "sent"))
