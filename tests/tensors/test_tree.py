"""Trees taken apart and put together; anything else refused by its path"""

import functools
import io
import pickle
import random
from collections import defaultdict, deque
from enum import Enum
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from artifactstore.core.errors import Invalid
from artifactstore.tensors import tree
from artifactstore.tensors.tree import take_apart
from tests.tensors.states import contexts, files_of, is_same, put_together, states


class Point(NamedTuple):
    x: int
    y: int


class Colour(Enum):
    RED = 1


class Subclass(torch.Tensor):
    pass


class Broken:
    def state_dict(self):
        raise RuntimeError("not now")


class Odd:
    def state_dict(self):
        return [1]


def round_trip(context):
    return put_together(files_of(context))


def names(context):
    return {path: [tensor.name for tensor in tensors] for path, tensors in take_apart(context).files.items()}


@settings(max_examples=150, deadline=None)
@given(contexts, states)
def test_any_tree_comes_back(context, state):
    context["state"] = state
    back = round_trip(context)
    assert is_same(context, back)


def test_what_training_keeps_comes_back():
    random.seed(1)
    state = {
        "python": random.getstate(),
        "numpy": np.random.get_state(),  # noqa: NPY002  # what many trainers keep
        "generator": np.random.default_rng(3).bit_generator.state,
        "torch": torch.get_rng_state(),
        "floats": [0.0, -0.0, float("inf"), float("-inf"), float("nan"), 5e-324, 0.1],
        "integers": [0, -1, 2**53 - 1, 2**53, -(2**53), 10**5000],
        "text": ["", "\0", "ä\u2028😀", '"\\'],
        "complex": [complex("nan+infj"), -0j],
    }
    assert is_same(state, round_trip({"state": state})["state"])


def test_modules_optimizers_and_schedulers_are_taken_by_their_state_dict():
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    optimizer = torch.optim.Adam(model.parameters())
    schedulers = [
        torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 3, 5]),
        torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=10),
        torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step),
        torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 3),
        torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer),
        torch.optim.lr_scheduler.CyclicLR(optimizer, 0.1, 0.2, cycle_momentum=False),
    ]
    model(torch.ones(4, 2)).sum().backward()
    optimizer.step()
    scaler = torch.amp.GradScaler("cpu")
    back = round_trip({"state": {"model": model, "optimizer": optimizer, "schedulers": schedulers, "scaler": scaler}})
    assert is_same(dict(back["state"]["model"]), dict(model.state_dict()))
    assert back["state"]["model"]._metadata == model.state_dict()._metadata
    assert is_same(back["state"]["optimizer"], optimizer.state_dict())
    assert is_same(back["state"]["schedulers"], [scheduler.state_dict() for scheduler in schedulers])
    assert is_same(back["state"]["scaler"], scaler.state_dict())


def test_each_part_has_its_file_and_the_state_dicts_own_names():
    model = torch.nn.Linear(2, 3)
    optimizer = torch.optim.SGD(model.parameters(), momentum=0.9)
    model(torch.ones(2)).sum().backward()
    optimizer.step()
    context = {"extra": torch.ones(1), "state": {"ema": [torch.ones(2)], "optimizer": optimizer, "model": model}}
    assert names(context) == {
        "model.safetensors": ["weight", "bias"],
        "optimizer.safetensors": ["state.0.momentum_buffer", "state.1.momentum_buffer"],
        "state.safetensors": ["ema.0", "extra"],
    }


@pytest.mark.parametrize("state", [torch.nn.Linear(2, 3), {"weight": torch.ones(3, 2), "bias": torch.ones(3)}])
def test_a_module_or_flat_mapping_alone_is_the_model(state):
    assert names({"state": state}) == {"model.safetensors": ["weight", "bias"]}


def test_only_files_with_tensors_are_there():
    assert set(files_of({"state": {"step": 3}})) == {"state.json"}
    assert set(files_of({})) == {"state.json"}


def test_names_that_no_reader_takes_or_that_collide_are_replaced():
    state = {"": torch.ones(1), "a\nb": torch.ones(2), "__metadata__": torch.ones(3), "a.b": torch.ones(4), "a": [0]}
    context = {"state": {"model": {**state, "a": {"b": torch.ones(5)}}}}
    assert names(context)["model.safetensors"] == ["tensor~0", "tensor~1", "tensor~2", "a.b", "a.b~2"]
    assert is_same(round_trip(context), context)


def test_tied_tensors_are_stored_once_and_come_back_as_one():
    shared = torch.ones(3, 2)
    state = {"ema": shared.detach(), "model": {"a": shared, "b": shared.view(3, 2)}, "list": [shared[:2], shared.t()]}
    assert names({"state": state}) == {"model.safetensors": ["a"], "state.safetensors": ["list.0", "list.1"]}
    back = round_trip({"state": state})["state"]
    assert back["model"]["a"] is back["model"]["b"] is back["ema"]
    assert is_same(back, state)


def test_one_array_met_twice_comes_back_as_one():
    array = np.arange(3)
    back = round_trip({"a": array, "b": [array, array.copy()]})
    assert back["a"] is back["b"][0]
    assert back["a"] is not back["b"][1]


def test_equal_memory_of_another_dtype_is_not_tied():
    one = torch.ones(4)
    back = round_trip({"a": one, "b": one.view(torch.int32)})
    assert (back["a"].dtype, back["b"].dtype) == (torch.float32, torch.int32)


def cycle():
    inner = []
    inner.append({"x": inner})
    return inner


def deep(levels):
    node = 0
    for _ in range(levels):
        node = [node]
    return node


def crowd():
    node = [0]
    for _ in range(60):
        node = [node, node]
    return node


REFUSED = [
    (
        {"state": {"optimizer": {"param_groups": [{"f": lambda step: step}]}}},
        r"state\['optimizer'\]\['param_groups'\]\[0\]\['f'\] is a function",
    ),
    ({"state": {"model": {"layer": (1, {2})}}}, r"state\['model'\]\['layer'\]\[1\] is a set; use a list"),
    ({"extra": [frozenset()]}, r"extra\[0\] is a frozenset; use a tuple"),
    ({"extra": {3: bytearray(b"")}}, r"extra\[3\] is a bytearray; use bytes"),
    ({"odd name": {(1, "x"): object()}}, r"'odd name'\[\(1, 'x'\)\] is a object"),
    ({"x": torch.nn.Linear}, r"x is a class Linear"),
    ({"x": functools.partial(print)}, r"x is a functools.partial"),
    ({"x": SimpleNamespace(a=1)}, r"x is a types.SimpleNamespace"),
    ({"x": Point(1, 2)}, r"x is a .*Point"),
    ({"x": Colour.RED}, r"x is a .*Colour"),
    ({"x": defaultdict(int)}, r"x is a collections.defaultdict"),
    ({"x": deque()}, r"x is a collections.deque"),
    ({"x": io.BytesIO()}, r"x is a _io.BytesIO"),
    ({"x": torch.float32}, r"x is a torch.dtype"),
    ({"x": torch.Generator()}, r"x is a .*Generator; store its get_state\(\)"),
    ({"x": np.random.default_rng()}, r"x is a .*Generator; store its bit_generator.state"),
    ({"x": Broken()}, r"x has a state_dict\(\) that fails: RuntimeError: not now"),
    ({"x": Odd()}, r"x has a state_dict\(\) that gives a list"),
    ({"x": torch.ones(2).to_sparse()}, r"x is a tensor of layout torch.sparse_coo"),
    ({"x": torch.ones(2, 2).to_sparse_csr()}, r"x is a tensor of layout torch.sparse_csr"),
    ({"x": torch.nested.nested_tensor([torch.ones(1)])}, r"x is a tensor of layout nested"),
    ({"x": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)}, r"x is a quantized tensor"),
    ({"x": torch.ones(2, device="meta")}, r"x is a tensor on the meta device"),
    ({"x": torch.ones(2, dtype=torch.complex128)}, r"x is a tensor of dtype torch.complex128"),
    ({"x": torch.ones(2).as_subclass(Subclass)}, r"x is a .*Subclass; convert it"),
    ({"x": torch.nn.parameter.UninitializedParameter()}, r"x is a .*UninitializedParameter"),
    ({"x": np.array(["a"])}, r"x is an array of dtype <U1"),
    ({"x": np.array([object()])}, r"x is an array of dtype object"),
    ({"x": np.zeros(2, ">f4")}, r"x is an array of dtype >f4"),
    ({"x": np.zeros(2, np.complex128)}, r"x is an array of dtype complex128"),
    ({"x": np.ma.zeros(2)}, r"x is a .*MaskedArray"),
    ({"x": np.str_("a")}, r"x is a NumPy scalar of dtype <U1"),
    ({"x": np.datetime64(1, "s")}, r"x is a NumPy scalar of dtype datetime64"),
    ({"x": ["\ud800"]}, r"x\[0\] is or has as key a string with a lone surrogate"),
    ({"x": {"\ud800": 1}}, r"x\['\\ud800'\] is or has as key a string with a lone surrogate"),
    ({"x": {("a", np.float32(1)): 1}}, r"x has the key"),
    ({"x": {10**5000: lambda: 0}}, r"x\[int\] is a function"),
    ({"x": cycle()}, r"x\[0\]\['x'\] holds itself"),
    ({"x": deep(200)}, r"x\[0\].* is nested deeper than 100 levels"),
]


@pytest.mark.parametrize(("context", "message"), REFUSED, ids=[message[:40] for _, message in REFUSED])
def test_anything_else_is_refused_by_its_path(context, message):
    with pytest.raises(Invalid, match=f"^{message}") as caught:
        take_apart(context)
    assert caught.value.facts["path"]
    assert pickle.loads(pickle.dumps(caught.value)).message == caught.value.message


def test_a_list_that_holds_itself_many_times_over_ends(monkeypatch):
    monkeypatch.setattr(tree, "MAX_NODES", 10_000)
    with pytest.raises(Invalid, match="more than 10000 values"):
        take_apart({"x": crowd()})


def test_a_list_met_twice_is_no_cycle():
    one = [1]
    assert round_trip({"x": [one, one]}) == {"x": [[1], [1]]}
