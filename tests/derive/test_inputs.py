"""Inputs: tensors read part by part, and checked"""

import json

import pytest
import torch
from safetensors.torch import save_file

from artifactstore.core.errors import Corrupt, Invalid
from artifactstore.derive.inputs import Inputs
from artifactstore.ops.transfer.attested import Attestations
from artifactstore.tensors.opening import source_of
from artifactstore.tensors.pieces import of_folder


@pytest.fixture
def tensors():
    generator = torch.Generator().manual_seed(0)
    return {
        "large": torch.randn(1500, 2048, generator=generator).bfloat16(),
        "small": torch.randn(7, 3, generator=generator),
        "counts": torch.arange(5),
        "none": torch.empty(0, 4),
    }


@pytest.fixture
def folder(tmp_path, tensors):
    (tmp_path / "model").mkdir()
    save_file(tensors, tmp_path / "model" / "model.safetensors")
    return tmp_path / "model"


@pytest.fixture(params=["version", "folder", "nothing attested"])
def inputs(request, store, folder):
    if request.param == "folder":
        return Inputs(of_folder(folder))
    store.add([folder], name="m")
    attested = None if request.param == "nothing attested" else Attestations.of(store.depot.settings)
    return Inputs(source_of(store.depot, store.resolve("m").id), attested)


def test_whole_tensors(inputs, tensors):
    assert set(inputs.tensors) == set(tensors)
    for name, tensor in tensors.items():
        assert torch.equal(inputs.read(name), tensor.reshape(-1))


@pytest.mark.parametrize(("begin", "end"), [(0, 1), (5, 9), (1_000_001, 3_000_000), (3_071_999, 3_072_000), (8, 8)])
def test_parts(inputs, tensors, begin, end):
    assert torch.equal(inputs.read("large", begin, end), tensors["large"].reshape(-1)[begin:end])


def test_bytes(inputs, tensors):
    raw = b"".join(map(bytes, inputs.parts("large", 1_000_000)))
    assert raw == tensors["large"].view(torch.uint8).numpy().tobytes()


def test_the_key_tells_content_apart(inputs):
    keys = {json.dumps(inputs.key(name)) for name in inputs.tensors}
    assert len(keys) == len(inputs.tensors)
    assert inputs.key("large") == inputs.key("large")


def test_a_name_that_is_not_there(inputs):
    with pytest.raises(Invalid, match="nowhere"):
        inputs.read("nowhere")


def test_damage_is_found_before_it_is_used(store, folder):
    store.add([folder], name="m")
    source = source_of(store.depot, store.resolve("m").id)
    path = next(piece.path for piece in source.pieces if piece.size > 1 << 20)
    path.chmod(0o644)
    raw = bytearray(path.read_bytes())
    raw[1_000_000] ^= 1
    path.write_bytes(raw)
    with pytest.raises(Corrupt):
        Inputs(source, Attestations.of(store.depot.settings)).read("large", 0, 10)


def test_the_key_of_a_folder_changes_with_the_file(folder, tensors):
    before = Inputs(of_folder(folder)).key("large")
    save_file(tensors, folder / "model.safetensors")
    assert Inputs(of_folder(folder)).key("large") != before
