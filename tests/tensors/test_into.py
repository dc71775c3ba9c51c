"""States put into what exists, or nothing changed"""

from types import MappingProxyType

import numpy as np
import pytest
import torch

from artifactstore.core.errors import Invalid
from artifactstore.tensors.into import load_into


def trained():
    model = torch.nn.Linear(2, 3)
    optimizer = torch.optim.Adam(model.parameters())
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    model(torch.ones(2)).sum().backward()
    optimizer.step()
    scheduler.step()
    return {"model": model, "optimizer": optimizer, "scheduler": scheduler}


def saved(parts):
    return {name: part.state_dict() for name, part in parts.items()}


def test_modules_optimizers_and_schedulers_are_loaded():
    source, target = trained(), trained()
    load_into(target, saved(source))
    assert torch.equal(target["model"].weight, source["model"].weight)
    assert target["optimizer"].state_dict()["state"][0]["step"] == 1
    assert target["scheduler"].last_epoch == 1


def test_one_module_takes_the_whole_state():
    source, target = torch.nn.Linear(2, 3), torch.nn.Linear(2, 3)
    load_into(target, source.state_dict())
    assert torch.equal(target.bias, source.bias)


def test_tensors_and_arrays_are_filled_in_place_and_values_replaced():
    tensor, array = torch.zeros(2, requires_grad=True), np.zeros(2)
    into = {"a": [tensor, (array,)], "step": 0, "deep": {"seen": None}}
    load_into(into, {"a": [torch.ones(2), (np.ones(2),)], "step": 7, "deep": {"seen": ["x"]}, "unasked": 1})
    assert tensor.tolist() == [1, 1]
    assert array.tolist() == [1, 1]
    assert into["a"][0] is tensor
    assert (into["step"], into["deep"]["seen"], "unasked" in into) == (7, ["x"], False)


def test_everything_that_does_not_fit_is_told_at_once_and_nothing_is_loaded():
    source, target = trained(), trained()
    state = saved(source) | {"ema": {"a": torch.ones(2), "c": 1}, "list": [1, 2]}
    state["model"] = {"weight": torch.ones(4, 2), "extra": torch.ones(1)}
    state["optimizer"]["param_groups"][0]["params"] = [0]
    into = target | {"ema": {"a": torch.zeros(3), "b": 1}, "gone": 1, "list": [1]}
    before = target["scheduler"].state_dict()
    state["scheduler"]["last_epoch"] = 99
    with pytest.raises(Invalid, match="does not fit") as caught:
        load_into(into, state)
    faults = "\n".join(caught.value.facts["faults"])
    for part in (
        "state['model']: bias is missing in the checkpoint",
        "state['model']: extra of the checkpoint is unexpected",
        "state['model']: weight has shape [3, 2], saved was [4, 2]",
        "state['optimizer'] has parameter groups of [2] tensors, saved were [1]",
        "state['ema']['a'] has shape [3], saved was [2]",
        "state['ema']['b'] is missing in the checkpoint",
        "state['ema']['c'] of the checkpoint is unexpected",
        "state['gone'] is missing in the checkpoint",
        "state['list'] has 1 values, saved was 2 values",
    ):
        assert part in faults
    assert target["scheduler"].state_dict() == before


@pytest.mark.parametrize(
    ("into", "state", "message"),
    [
        ({"x": torch.nn.Linear(1, 1)}, {"x": [1]}, "saved was a list, not a state dict"),
        ({"x": torch.optim.SGD([torch.ones(1)])}, {"x": {}}, "no optimizer's state dict"),
        ({"x": torch.ones(1)}, {"x": np.ones(1)}, "is a Tensor, saved was a ndarray"),
        ({"x": {}}, {"x": 1}, "is a mapping, saved was a int"),
        ({"x": []}, {"x": {}}, "has 0 values, saved was a dict"),
        ({"x": (1,)}, {"x": (2,)}, "is a int, which cannot be changed in place"),
        ({"x": object()}, {"x": 2}, "is a object, which cannot be changed in place"),
        (MappingProxyType({"x": 1}), {"x": 2}, "is a int, which cannot be changed in place"),
        ({"x": 1}, [1], "is a mapping, saved was a list"),
        (3, {}, "into should be a mapping"),
        (torch.nn.Linear, {}, "into should be a mapping"),
    ],
)
def test_what_cannot_be_loaded_is_told(into, state, message):
    with pytest.raises(Invalid, match=message):
        load_into(into, state)


def test_many_faults_are_counted():
    with pytest.raises(Invalid, match="and 10 more") as caught:
        load_into({f"x{n}": 1 for n in range(30)}, {})
    assert len(caught.value.facts["faults"]) == 30


def test_what_a_loader_raises_is_told_by_its_place():
    class Picky:
        def load_state_dict(self, state):
            raise ValueError("not mine")

    with pytest.raises(Invalid, match=r"state\['x'\] could not be loaded: not mine"):
        load_into({"x": Picky()}, {"x": {}})


def test_lazy_modules_take_their_shape_from_the_checkpoint():
    source, target = torch.nn.Linear(2, 3), torch.nn.LazyLinear(3)
    load_into({"model": target}, {"model": source.state_dict()})
    assert torch.equal(target.weight, source.weight)
