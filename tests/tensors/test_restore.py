"""Versions become trees again, and plain torch files"""

import json
import os
from collections import Counter, OrderedDict

import numpy as np
import pytest
import torch

from artifactstore.core.errors import Corrupt, Invalid, StoreError, Unavailable
from artifactstore.core.formats.base import FileInfo
from artifactstore.core.manifest import Extent
from artifactstore.core.names import ArtifactName, SafePath
from artifactstore.core.reading import Stored
from artifactstore.ops import ingest
from artifactstore.ops.transfer.fetch import load_manifest
from artifactstore.ops.transfer.source import MemoryFile
from artifactstore.tensors import document
from artifactstore.tensors.restore import _Targets, export_pth, restore
from artifactstore.tensors.save import sources
from artifactstore.tensors.tree import take_apart
from tests.tensors.states import is_same, random_tensor


def stored(depot, files):
    plan = ingest.IngestPlan(ArtifactName("run"), tuple(files), ingest.Labels(created=depot.clock()))
    return load_manifest(depot, ingest.run(depot, plan).committed.version.id)


def save(depot, context):
    return stored(depot, sources(take_apart(context)))


def with_document(depot, context, node):
    """A version whose tensors are those of `context` and whose document says something else"""
    raw = json.dumps({"format": document.FORMAT, "version": document.VERSION, "context": node}).encode()
    forged = MemoryFile(SafePath(document.PATH), FileInfo("other"), (len(raw),), (lambda: memoryview(raw),))
    return stored(depot, (*sources(take_apart(context))[:-1], forged))


def test_tensors_of_every_size_come_back(depot):
    state = {
        "model": {f"w{n}": random_tensor(torch.float32, (n * 1000 + 1,), n) for n in range(20)},
        "large": random_tensor(torch.uint8, (70 << 20,)),
        "middle": random_tensor(torch.bfloat16, (5 << 20,)),
        "empty": torch.empty(0, 3),
        "turned": random_tensor(torch.float32, (3000, 700)).t(),
        "array": np.arange(100_000.0),
        "text": "x" * (5 << 20),
    }
    assert is_same(restore(depot, save(depot, {"state": state}))["state"], state)


def test_tied_tensors_come_back_tied(depot):
    shared = torch.ones(4)
    back = restore(depot, save(depot, {"state": {"a": shared, "b": shared}}))["state"]
    assert back["a"] is back["b"]


def test_a_version_without_state_is_for_checkout(depot):
    raw = b"text"
    manifest = stored(depot, [MemoryFile(SafePath("a.txt"), FileInfo("other"), (4,), (lambda: memoryview(raw),))])
    with pytest.raises(Invalid, match=r"is no checkpoint, it has no state\.json; use checkout"):
        restore(depot, manifest)


@pytest.mark.parametrize(
    ("name", "file"),
    [("other", "model.safetensors"), ("w", "state.safetensors"), ("w", "../model.safetensors"), ("w", "state.json")],
)
def test_a_document_may_only_name_tensors_that_are_there(depot, name, file):
    node = {"dict": {"x": {"tensor": name, "file": file}}}
    manifest = with_document(depot, {"state": {"w": torch.ones(2)}}, node)
    with pytest.raises(Corrupt, match="which is not there"):
        restore(depot, manifest)


def test_a_document_may_leave_tensors_out_and_name_others_twice(depot):
    context = {"state": {"a": torch.ones(2), "w": torch.arange(3)}}
    node = {"dict": {"x": [{kind: "w", "file": "model.safetensors"} for kind in ("tensor", "array", "tensor")]}}
    tensor, array, again = restore(depot, with_document(depot, context, node))["x"]
    assert tensor is again
    assert tensor.tolist() == array.tolist() == [0, 1, 2]


def test_a_damaged_blob_ends_the_restore(depot):
    manifest = save(depot, {"state": torch.nn.Linear(3, 3)})
    for place in depot.catalog.blobs.places([blob.digest for blob in manifest.blobs]).values():
        path = depot.blobs.root / place.key
        os.chmod(path, 0o644)
        path.write_bytes(bytes(place.size))
    with pytest.raises(Corrupt):
        restore(depot, manifest)


@pytest.mark.parametrize(
    ("device", "error"),
    [("nowhere", Invalid), ("meta", Invalid), ({"cuda:0": "cpu"}, Invalid), ("cuda:99", Unavailable), (3, StoreError)],
)
def test_a_device_that_cannot_be_used_is_refused(depot, device, error):
    manifest = save(depot, {"state": {"w": torch.ones(2)}})
    with pytest.raises(error, match=r"device|There is no"):
        restore(depot, manifest, device)


def test_a_tensor_larger_than_memory_is_told():
    stored = Stored("w", "U8", (1 << 26, 1 << 20), (Extent(0, 0, 1 << 46),))
    with pytest.raises(Unavailable, match="No memory for tensor 'w'"):
        _Targets({("model.safetensors", "w"): stored}, torch.device("cpu")).lookup("tensor", "model.safetensors", "w")


def test_a_torch_file_holds_the_state_as_plain_tree(depot, tmp_path):
    shared = torch.ones(2, 2)
    state = {
        "model": OrderedDict(a=shared, b=shared, c=torch.ones(3, dtype=torch.bfloat16)),
        "milestones": Counter({3: 1}),
        "rng": torch.get_rng_state(),
        "numbers": (1, 2.5, None, "x", {1: True}),
    }
    target = tmp_path / "out" / "model.pth"
    nbytes = export_pth(depot, save(depot, {"step": 3, "state": state}), target)
    assert nbytes == target.stat().st_size
    back = torch.load(target, weights_only=True)
    assert is_same(back, state)
    assert back["model"]["a"].data_ptr() == back["model"]["b"].data_ptr()
    assert [path.name for path in target.parent.iterdir()] == ["model.pth"]


def test_a_context_without_state_is_written_whole(depot, tmp_path):
    export_pth(depot, save(depot, {"ema": torch.ones(2)}), tmp_path / "x.pth")
    assert torch.load(tmp_path / "x.pth", weights_only=True)["ema"].tolist() == [1, 1]


def test_a_torch_file_that_cannot_be_written_leaves_nothing(depot, tmp_path):
    manifest = save(depot, {"state": {"w": torch.ones(2)}})
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.pth").mkdir()
    for target in (tmp_path / "file" / "x.pth", tmp_path / "folder.pth"):
        with pytest.raises(Unavailable, match="Cannot write"):
            export_pth(depot, manifest, target)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.pth", "store"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_tensors_are_restored_to_a_gpu(depot):
    state = {"w": random_tensor(torch.float32, (40 << 20,)).cuda(), "small": torch.arange(5), "array": np.ones(3)}
    back = restore(depot, save(depot, {"state": state}), "cuda")["state"]
    assert back["w"].is_cuda
    assert back["small"].is_cuda
    assert is_same({**back, "w": back["w"].cpu(), "small": back["small"].cpu()}, {**state, "w": state["w"].cpu()})
