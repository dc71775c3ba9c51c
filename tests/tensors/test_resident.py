"""What is on a device already is shared, not brought there again; a switch moves what differs"""

import gc
import multiprocessing

import pytest
import torch
from safetensors.torch import save_file

from artifactstore import Settings, Store
from artifactstore.core.digest import Digest
from artifactstore.core.errors import Corrupt, Denied, Invalid
from tests.tensors.states import is_same, random_tensor

LARGE = (5 << 20,)
DEVICES = [
    "cpu",
    pytest.param(
        "cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]
    ),
]


@pytest.fixture(params=DEVICES)
def device(request):
    return request.param


@pytest.fixture
def states():
    """A base, and a fine-tune in which one large and one small tensor are others"""
    base = {f"large.{n}": random_tensor(torch.bfloat16, LARGE, n) for n in range(3)}
    base |= {f"small.{n}": random_tensor(torch.float32, (5, n + 1), n) for n in range(3)}
    tuned = base | {
        "large.1": random_tensor(torch.bfloat16, LARGE, 7),
        "small.0": random_tensor(torch.float32, (5, 1), 7),
    }
    return base, tuned


@pytest.fixture
def store(tmp_path, states):
    settings = Settings(attested=str(tmp_path / "attested.sqlite"))
    with Store.init(str(tmp_path / "store"), settings=settings) as store:
        for name, state in zip(("base", "tuned"), states, strict=True):
            save_file(state, tmp_path / "m.safetensors")
            store.add([tmp_path / "m.safetensors"], name=name)
        yield store


def same(found, wanted):
    return is_same({name: tensor.cpu() for name, tensor in found.items()}, dict(wanted))


def shared(one, other):
    return {name for name in one if one[name].data_ptr() == other[name].data_ptr()}


class TestResident:
    def test_equal_tensors_of_two_versions_are_one(self, store, states, device):
        resident = store.resident(device)
        base, tuned = resident.load("base"), resident.load("tuned")
        assert same(base, {name: states[0][name] for name in base})
        assert same(tuned, {name: states[1][name] for name in tuned})
        assert shared(base, tuned) >= {"large.0", "large.2"}
        assert "large.1" not in shared(base, tuned)
        assert tuned.report.nbytes == sum(tensor.nbytes for tensor in states[1].values())
        assert shared(store.resident(device).load("base", ["large.0"]), base) == {"large.0"}

    def test_what_nobody_holds_is_forgotten(self, store, device):
        resident = store.resident(device, verify="always")
        first = resident.load("base", ["large.0"])
        assert resident.load("base", ["large.0"]).report.verified == {}
        del first
        gc.collect()
        assert set(resident.load("base", ["large.0"]).report.verified) == {"hashed"}

    def test_what_was_written_to_is_not_taken_for_what_it_was(self, store, states, device):
        resident = store.resident(device)
        first = resident.load("base")
        first["large.0"].zero_()
        first["large.2"].requires_grad_()
        again = resident.load("base")
        assert not shared(first, again) & {"large.0", "large.2"}
        assert same(again, {name: states[0][name] for name in again})

    def test_what_has_another_dtype_is_another(self, store, device):
        first = store.resident(device).load("base", ["large.0"])
        half = store.resident(device, dtype=torch.float16).load("base", ["large.0"])
        assert half["large.0"].dtype == torch.float16
        assert not shared(first, half)

    def test_inference_mode_shares_nothing_but_loads(self, store, states, device):
        with torch.inference_mode():
            found = [store.resident(device).load("base") for _ in range(2)]
        assert all(same(one, {name: states[0][name] for name in one}) for one in found)


def take(url, folder, device, connection):
    """Another process: loads with what the host has, writes into one tensor, and tells what it read"""
    with Store.open(url, settings=Settings(attested=f"{folder}.attested")) as store:
        loaded = store.resident(device, host=folder, verify="always").load("tuned")
        loaded["large.0"][:3] = 1
        if device == "cuda":
            torch.cuda.synchronize()
        connection.send((loaded.report.verified, {name: tensor.cpu().clone() for name, tensor in loaded.items()}))
        connection.recv()


class TestHost:
    def test_another_process_has_the_same_memory(self, store, states, device, tmp_path):
        base = store.resident(device).load("base")
        ours, theirs = multiprocessing.Pipe()
        with store.resident(device).serve(tmp_path / "host"):
            args = (str(tmp_path / "store"), str(tmp_path / "host"), device, theirs)
            process = multiprocessing.get_context("spawn").Process(target=take, args=args)
            process.start()
            verified, found = ours.recv()
            assert base["large.0"][:3].cpu().tolist() == [1, 1, 1]
            ours.send("thanks")
            process.join()
        assert verified["hashed"] < 2 * 5 * (2 << 20)
        found["large.0"][:3] = states[1]["large.0"][:3]
        assert same(found, {name: states[1][name] for name in found})

    def test_without_a_host_all_is_read(self, store, states, device, tmp_path):
        found = store.resident(device, host=tmp_path / "none").load("base")
        assert same(found, {name: states[0][name] for name in found})

    def test_a_folder_that_cannot_be_is_told(self, store, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(Denied, match="cannot be shared"):
            store.resident("cpu").serve(tmp_path / "file")


class TestSwitch:
    def test_only_what_differs_is_read(self, store, states, device):
        model = {name: torch.zeros_like(tensor, device=device) for name, tensor in states[0].items()}
        store.load_into(model, "base")
        addresses = {name: tensor.data_ptr() for name, tensor in model.items()}
        report = store.switch(model, "base", "tuned")
        assert same(model, states[1])
        assert {name: tensor.data_ptr() for name, tensor in model.items()} == addresses
        assert report.nbytes == sum(tensor.nbytes for tensor in states[1].values())
        assert 10 << 20 <= report.read_bytes < 11 << 20
        assert same(model, states[1])

    def test_with_always_what_should_be_there_is_looked_at(self, store, states, device):
        model = {name: tensor.to(device) for name, tensor in states[0].items()}
        model["large.2"][5] = 3
        store.switch(model, "base", "tuned", verify="always")
        assert same(model, states[1])

    def test_a_version_that_does_not_fit_fills_nothing(self, store, states, tmp_path):
        save_file(states[0] | {"small.0": torch.zeros(3), "more": torch.ones(1)}, tmp_path / "m.safetensors")
        store.add([tmp_path / "m.safetensors"], name="other")
        model = {name: tensor.clone() for name, tensor in states[0].items()}
        with pytest.raises(Invalid, match=r"small\.0 has shape .* more of the store is unexpected"):
            store.switch(model, "base", "other")
        assert same(model, states[0])

    def test_damage_is_told_and_the_switch_can_be_done_again(self, store, states, tmp_path):
        model = {name: tensor.clone() for name, tensor in states[0].items()}
        stored = {path.name: path for path in (tmp_path / "store" / "blobs").rglob("*.*")}
        digest = str(Digest.of(states[1]["large.1"].view(torch.uint8).numpy().tobytes()))
        [path] = [path for name, path in stored.items() if name.startswith(digest)]
        whole = path.read_bytes()
        path.chmod(0o644)
        path.write_bytes(bytes(len(whole)))
        with pytest.raises(Corrupt) as failed:
            store.switch(model, "base", "tuned")
        assert failed.value.facts["digest"] == digest
        save_file(states[1], tmp_path / "m.safetensors")
        store.add([tmp_path / "m.safetensors"], name="again")
        store.switch(model, "base", "tuned")
        assert same(model, states[1])
