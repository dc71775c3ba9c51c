"""What is on a device already is shared, not brought there again; a switch moves what differs"""

import gc
import os

import pytest
import torch
from safetensors.torch import save_file

from artifactstore.core.digest import Digest
from artifactstore.core.errors import Corrupt, Invalid
from artifactstore.tensors.opening import loading_of, source_of
from artifactstore.tensors.resident import Resident
from artifactstore.tensors.shelf import SHELF, Key, Shelf
from tests.tensors.tuned import device, same, shared, states, store

__all__ = ["device", "states", "store"]  # fixtures


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

    def test_equal_tensors_of_one_version_are_one(self, store, device, tmp_path):
        tied = torch.arange(5 << 20).to(torch.float32)
        save_file({"one": tied, "other": tied.clone(), "third": tied + 1}, tmp_path / "m.safetensors")
        store.add([tmp_path / "m.safetensors"], name="tied")
        found = store.resident(device).load("tied")
        assert found["one"] is found["other"]
        assert same(found, {name: tied + (name == "third") for name in found})

    def test_with_always_what_should_be_there_is_looked_at(self, store, states, device):
        resident = store.resident(device, verify="always")
        first = resident.load("base")
        # torch is not told
        first["large.0"].data[5] = 3
        again = resident.load("base")
        assert shared(first, again) >= {"large.1", "large.2"}
        assert "large.0" not in shared(first, again)
        assert same(again, {name: states[0][name] for name in again})

    def test_what_another_gives_is_taken_on_the_right_device_only(self, store, states):
        def elsewhere(keys):
            return {key: torch.empty(key.content[1], device="meta") for key in keys}

        def opening(ref):
            return source_of(store.depot, store.resolve(ref).id)

        found = Resident(opening, loading_of(store.depot.settings), elsewhere).load("base")
        assert same(found, {name: states[0][name] for name in found})

    def test_inference_mode_shares_nothing_but_loads(self, store, states, device):
        with torch.inference_mode():
            found = [store.resident(device).load("base") for _ in range(2)]
        assert all(same(one, {name: states[0][name] for name in one}) for one in found)


class TestShelf:
    def test_what_is_gone_leaves_nothing(self):
        shelf = Shelf()
        tensors = [torch.ones(number) for number in range(3)]
        for number, tensor in enumerate(tensors):
            shelf.note(Key(("F32", (number,), ()), "None", "cpu"), tensor)
        assert [tensor.shape for _, tensor in shelf.all()] == [(0,), (1,), (2,)]
        del tensor, tensors[1:]
        gc.collect()
        assert len(shelf) == 1

    def test_another_place_is_another(self):
        shelf, tensor, key = Shelf(), torch.ones(1), Key(("F32", (1,), ()), "None", "cuda:0 one")
        shelf.note(key, tensor)
        assert shelf.find(key) is tensor
        assert shelf.find(key._replace(place="cuda:0 other")) is None

    def test_a_forked_child_has_none(self):
        tensor = torch.ones(1)
        SHELF.note(Key(("F32", (1,), ()), "None", "cpu"), tensor)
        child = os.fork()
        if not child:
            os._exit(len(SHELF))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert len(SHELF)


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
