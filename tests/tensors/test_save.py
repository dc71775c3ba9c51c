"""Tensors of every dtype and layout become files"""

import dataclasses

import numpy as np
import pytest
import torch

from artifactstore.core.errors import Invalid
from artifactstore.core.events import Step
from artifactstore.core.names import ArtifactName
from artifactstore.ops import ingest
from artifactstore.store import Store
from artifactstore.tensors.dtypes import TORCH, stored_shape
from artifactstore.tensors.save import Unchanged, _copied, sources
from artifactstore.tensors.tree import take_apart
from tests.tensors.states import files_of, is_same, put_together, random_tensor


@pytest.mark.parametrize("name", TORCH)
@pytest.mark.parametrize("shape", [(3, 4), (), (0, 2), (1,)])
def test_every_dtype_comes_back_bit_by_bit(name, shape):
    if name == "F4" and not shape:
        pytest.skip("a lone F4 fills half a byte")
    tensor = random_tensor(TORCH[name], shape)
    assert is_same(put_together(files_of({"x": tensor})), {"x": tensor})


@pytest.mark.parametrize(
    "tensor",
    [
        torch.arange(12).reshape(3, 4).t(),
        torch.arange(12)[::3],
        torch.ones(1).expand(5),
        torch.arange(12).reshape(3, 4)[:, 1:3],
        torch.tensor([1 + 2j, 3 - 1j]).conj(),
        torch.tensor([1 + 2j, 3 - 1j]).conj().imag,
        torch.ones(2, requires_grad=True) * 2,
        torch.nn.Parameter(torch.ones(2)),
        torch.ones(2, 3, 4, 5).to(memory_format=torch.channels_last),
        torch.zeros(2, 3).t()[:, :0],
    ],
    ids=str,
)
def test_strided_conjugate_and_grad_tensors_are_stored_by_value(tensor):
    back = put_together(files_of({"x": tensor}))["x"]
    assert torch.equal(back, tensor.detach().resolve_conj().resolve_neg())
    assert not back.requires_grad


def test_inference_tensors_are_stored():
    with torch.inference_mode():
        tensor = torch.arange(3.0)
    assert is_same(put_together(files_of({"x": tensor})), {"x": tensor})


@pytest.mark.parametrize(
    "array", [np.arange(6).reshape(2, 3).T, np.array(3.0), np.zeros((0, 2)), np.arange(9)[::2]], ids=str
)
def test_arrays_of_any_stride_come_back(array):
    assert is_same(put_together(files_of({"x": array})), {"x": array})


def test_a_read_only_array_comes_back(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(4))
    array = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert is_same(put_together(files_of({"x": array})), {"x": np.asarray(array)})


def test_contiguous_tensors_are_copied_only_when_they_are_read():
    tensor = torch.zeros(1000, dtype=torch.bfloat16)
    (file, _) = sources(take_apart({"state": {"model": {"w": tensor}}}))
    info = file.info.tensors[0]
    reading, half, one = file.open(), bytearray(1000), torch.ones(1, dtype=torch.bfloat16)
    reading.fill(info.begin, memoryview(half))
    assert half == bytes(1000)
    tensor.fill_(1)
    reading.fill(info.begin + 1000, memoryview(half))
    assert half == bytes(one.view(torch.uint8).numpy()) * 500


@pytest.mark.parametrize("kind", ["array", "inference"])
def test_what_is_changed_between_hash_and_write_is_stored_as_it_was_hashed(tmp_path, kind):
    """Nothing tells that these changed, and what is wrong under its digest would be wrong for everybody after"""
    size = 5 << 20
    with torch.inference_mode():
        tensor = torch.zeros(size, dtype=torch.uint8)
    given = np.zeros(size, np.uint8) if kind == "array" else tensor

    def change(event):
        if event == Step("save.write.before"):
            with torch.inference_mode():
                given[:] = 7

    with Store.init(str(tmp_path / "store")) as store:
        depot = dataclasses.replace(store.depot, monitor=change)
        files = tuple(sources(take_apart({"state": {"w": given}})))
        plan = ingest.IngestPlan(ArtifactName("m"), files, ingest.Labels(created=1))
        assert ingest.run(depot, plan).new_bytes > size
        assert store.verify().damaged == ()
        store.checkout("m", tmp_path / "out")
        (raw,) = (path.read_bytes() for path in (tmp_path / "out").iterdir() if path.stat().st_size > size)
        assert raw.endswith(bytes(size))


def test_wide_dtypes_come_first_so_that_all_are_aligned():
    mixed = {"a": torch.ones(3, dtype=torch.uint8), "b": torch.ones(3), "c": torch.ones(1).double(), "d": torch.ones(2)}
    (file, _) = sources(take_apart({"state": mixed}))
    assert [tensor.name for tensor in file.info.tensors] == ["c", "b", "d", "a"]
    for tensor in file.info.tensors:
        assert tensor.begin % TORCH[tensor.dtype].itemsize == 0


def test_pairs_of_f4_are_counted_one_by_one():
    assert stored_shape("F4", (2, 3)) == (2, 6)
    assert stored_shape("F32", (2, 3)) == (2, 3)


def test_a_tensor_changed_meanwhile_is_told():
    model = torch.nn.Linear(2, 2)
    unchanged = Unchanged(take_apart({"state": model, "array": np.zeros(2)}))
    unchanged.check()
    with torch.no_grad():
        model.weight.add_(1)
    with pytest.raises(Invalid, match=r"Tensor 'weight' of model\.safetensors changed while"):
        unchanged.check()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_tensors_on_a_gpu_come_back_as_on_the_host():
    for dtype in TORCH.values():
        tensor = random_tensor(dtype, (8, 6))
        there = tensor.cuda()
        state = {"plain": there, "turned": there.t() if dtype.itemsize > 1 else there[::2]}
        back = put_together(files_of({"state": state}))["state"]
        assert is_same(back["plain"], tensor)
        assert is_same(back["turned"], state["turned"].cpu())
    big = torch.arange(40 << 20, dtype=torch.float32, device="cuda")
    assert torch.equal(put_together(files_of({"x": big}))["x"], big.cpu())


def test_a_copy_for_another_device_is_made_by_ranges():
    tensor = torch.arange(10.0)
    assert bytes(_copied(tensor, 8, 24)) == tensor[2:6].numpy().tobytes()
