"""Modules and state dicts are filled in place, and all that does not fit is told at once"""

import pytest
import torch
from safetensors.torch import save_file

from artifactstore.core.errors import Invalid
from artifactstore.tensors.opening import open_plain
from tests.tensors.states import is_same


def same(one, two):
    """The same tensors, bit by bit, in any order"""
    return is_same(dict(sorted(one.items())), dict(sorted(two.items())))


class TestInto:
    @pytest.fixture
    def linear(self, tmp_path):
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(30, 20), torch.nn.Linear(20, 30, bias=False))
        model[1].weight = torch.nn.Parameter(model[0].weight.detach().t())  # not contiguous
        save_file(
            {name: tensor.contiguous() for name, tensor in model.state_dict().items()}, tmp_path / "m.safetensors"
        )
        return model, open_plain(tmp_path)

    def test_a_module_is_filled_in_place(self, linear):
        model, handle = linear
        wanted = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        parameters = dict(model.named_parameters())
        (
            torch.nn.init.zeros_(model[0].bias),
            torch.nn.init.zeros_(model[1].weight),
            torch.nn.init.zeros_(model[0].weight),
        )
        handle.load_into(model)
        assert same(model.state_dict(), wanted)
        assert all(parameters[name] is parameter for name, parameter in model.named_parameters())

    def test_a_module_without_memory_gets_some(self, linear):
        model, handle = linear
        with torch.device("meta"):
            bare = torch.nn.Sequential(torch.nn.Linear(30, 20), torch.nn.Linear(20, 30, bias=False))
        report = handle.load_into(bare)
        assert same(bare.state_dict(), {name: t.contiguous() for name, t in model.state_dict().items()})
        assert report.tensors == 3

    def test_tied_weights_are_stored_once(self, tmp_path):
        model = torch.nn.ModuleDict({"embed": torch.nn.Embedding(5, 4), "head": torch.nn.Linear(4, 5, bias=False)})
        model["head"].weight = model["embed"].weight
        save_file({"embed.weight": torch.ones(5, 4)}, tmp_path / "m.safetensors")
        open_plain(tmp_path).load_into(model)
        assert torch.equal(model["head"].weight, torch.ones(5, 4))

    def test_names_may_differ(self, linear):
        model, handle = linear
        into = {f"m.{name}": torch.empty(tensor.shape) for name, tensor in model.state_dict().items()}
        handle.load_into(into, names={name: name.removeprefix("m.") for name in into})
        assert torch.equal(into["m.0.bias"], model[0].bias)

    def test_all_that_does_not_fit_is_told_at_once_and_nothing_is_filled(self, linear):
        _, handle = linear
        into = {"0.weight": torch.zeros(3, 3), "0.bias": torch.zeros(20, dtype=torch.float16), "more": torch.zeros(1)}
        with pytest.raises(Invalid) as failed:
            handle.load_into(into)
        assert failed.value.facts["faults"] == [
            "0.weight has shape [3, 3], stored is [20, 30]",
            "0.bias is float16, stored is F32",
            "more is missing in the store",
            "1.weight of the store is unexpected",
        ]
        assert not any(tensor.any() for tensor in into.values())

    def test_what_is_missing_is_left_when_that_is_right(self, linear):
        _, handle = linear
        into = {"0.bias": torch.zeros(20), "more": torch.zeros(1)}
        assert handle.load_into(into, strict=False).tensors == 1
        assert into["0.bias"].any()
        assert not into["more"].any()

    def test_only_tensors_can_be_filled(self, linear):
        with pytest.raises(Invalid, match="not a list"):
            linear[1].load_into([1])
