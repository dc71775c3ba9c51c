"""Misfits: what is tied stays tied, every name is filled, and what cannot be filled is told before anything is"""

from types import MappingProxyType

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, distribute_tensor

from artifactstore.core.errors import Invalid
from artifactstore.store import Store
from artifactstore.tensors.misfits import is_plain
from artifactstore.tensors.opening import open_plain

ONES, TWOS = torch.ones(5, 4), torch.full((5, 4), 2.0)


@pytest.fixture
def stored(tmp_path):
    """A handle on these tensors, at rest"""

    def stored(**tensors):
        save_file(
            {name.replace("_", "."): tensor.clone() for name, tensor in tensors.items()}, tmp_path / "m.safetensors"
        )
        return open_plain(tmp_path)

    return stored


def model(device="cpu", *, tied=True):
    with torch.device(device):
        parts = {"embed": torch.nn.Embedding(5, 4), "head": torch.nn.Linear(4, 5, bias=False)}
    made = torch.nn.ModuleDict(parts)
    if tied:
        made["head"].weight = made["embed"].weight
    return made


def weights(made):
    return made["embed"].weight, made["head"].weight


class TestTied:
    @pytest.mark.parametrize("device", ["cpu", "meta"])
    @pytest.mark.parametrize("strict", [True, False])
    @pytest.mark.parametrize("name", ["embed_weight", "head_weight"])
    def test_what_is_stored_once_fills_all(self, stored, device, strict, name):
        made = model(device)
        made["embed"].weight.requires_grad_(requires_grad=False)
        stored(**{name: ONES}).load_into(made, strict=strict)
        embed, head = weights(made)
        assert head is embed
        assert isinstance(embed, torch.nn.Parameter)
        assert not embed.requires_grad
        assert torch.equal(embed, ONES)

    @pytest.mark.parametrize("device", ["cpu", "meta"])
    def test_what_is_stored_under_each_name_is_what_load_state_dict_makes_it(self, stored, device):
        made, wanted = model(device), model()
        wanted.load_state_dict({"embed.weight": ONES, "head.weight": TWOS})
        stored(embed_weight=ONES, head_weight=TWOS).load_into(made)
        embed, head = weights(made)
        assert head is embed
        assert torch.equal(embed, wanted["embed"].weight)

    def test_of_a_mapping_too(self, stored):
        handle = stored(embed_weight=ONES)
        into = model().state_dict()
        handle.load_into(into)
        assert torch.equal(into["head.weight"], ONES)
        into = model("meta").state_dict(keep_vars=True)
        handle.load_into(into)
        assert into["head.weight"] is into["embed.weight"]
        assert torch.equal(into["embed.weight"], ONES)

    def test_buffers_too(self, stored):
        with torch.device("meta"):
            made = torch.nn.Module()
            made.register_buffer("a", torch.zeros(5, 4))
            made.register_buffer("b", made.a)
        stored(a=ONES).load_into(made)
        assert made.a is made.b
        assert torch.equal(made.a, ONES)

    def test_none_are_that_only_look_alike(self, stored):
        """Neither on meta nor empty ones have an address"""
        handle = stored(embed_weight=ONES)
        with pytest.raises(Invalid, match=r"head\.weight is missing"):
            handle.load_into(model("meta", tied=False))
        with pytest.raises(Invalid, match="b is missing"):
            stored(a=torch.zeros(0)).load_into({"a": torch.zeros(0), "b": torch.zeros(0)})
        square = torch.zeros(4, 4)
        with pytest.raises(Invalid, match="b is missing"):
            stored(a=torch.ones(4, 4)).load_into({"a": square, "b": square.t()})
        made = model("meta", tied=False)
        stored(embed_weight=ONES, head_weight=TWOS).load_into(made)
        assert [float(each.detach().sum()) for each in weights(made)] == [20, 40]

    def test_a_switch_keeps_them(self, tmp_path):
        with Store.init(str(tmp_path / "store")) as store:
            for head in (ONES, TWOS):
                save_file({"embed.weight": ONES.clone(), "head.weight": head.clone()}, tmp_path / "m.safetensors")
                store.add([tmp_path / "m.safetensors"], name="m")
            made = model()
            store.load_into(made, "m:1")
            store.switch(made, "m:1", "m:2")
            embed, head = weights(made)
            assert head is embed
            assert torch.equal(embed, TWOS)
            bare = model("meta")
            assert store.switch(bare, "m:1", "m:2").tensors == 1
            assert torch.equal(bare["embed"].weight, TWOS)


class TestNames:
    def test_two_of_one_stored_are_both_filled(self, stored):
        handle, names = stored(w=ONES), {"a": "w", "b": "w", "c": "w", "d": "w", "e": "w"}
        into = {"a": torch.zeros(5, 4), "b": torch.zeros(5, 4), "c": torch.zeros(4, 5).t()}
        into |= {name: torch.zeros(5, 4, device="meta") for name in ("d", "e")}
        handle.load_into(into, names=names)
        assert all(torch.equal(each, ONES) for each in into.values())
        assert len({each.data_ptr() for each in into.values()}) == 5

    def test_two_that_are_missing_are_told_once(self, stored):
        with pytest.raises(Invalid) as failed:
            stored(w=ONES).load_into({"a": torch.zeros(1), "b": torch.zeros(1)}, names={"a": "x", "b": "x"})
        assert failed.value.facts["faults"] == ["x is missing in the store", "w of the store is unexpected"]


class Versioned(torch.nn.Embedding):
    """Says more of itself than tensors"""

    def __init__(self, said):
        super().__init__(5, 4)
        self.said = said

    def get_extra_state(self):
        return self.said

    def set_extra_state(self, state):
        raise AssertionError(state)


@pytest.mark.parametrize("said", [{"version": 1}, torch.zeros(3)], ids=["object", "tensor"])
@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_the_extra_state_of_modules_is_left_as_it_is(stored, said, strict, device):
    handle = stored(embed_weight=ONES)
    with torch.device(device):
        made = torch.nn.ModuleDict({"embed": Versioned(said)})
    handle.load_into(made, strict=strict)
    assert torch.equal(made["embed"].weight, ONES)
    into = torch.nn.ModuleDict({"embed": Versioned(said)}).state_dict()
    handle.load_into(into, strict=strict)
    assert torch.equal(into["embed.weight"], ONES)


class Labelled(torch.Tensor):
    """Has memory of its own"""


class Wrapping(torch.Tensor):
    """Has another tensor"""

    @staticmethod
    def __new__(cls, inner):
        return torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype, device=inner.device)

    def __init__(self, inner):
        self.inner = inner

    @classmethod
    def __torch_dispatch__(cls, *_):
        raise AssertionError("nobody may work with it")


@pytest.fixture
def mesh():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    dist.destroy_process_group()


class TestWrappers:
    @pytest.mark.parametrize("strict", [True, False])
    @pytest.mark.parametrize("device", ["cpu", "meta"])
    def test_what_wraps_tensors_is_refused_before_anything_is_filled(self, stored, strict, mesh, device):
        handle, plain = stored(a=ONES, w=ONES), torch.zeros(5, 4)
        spread = distribute_tensor(torch.zeros(5, 4), mesh, [Replicate()])
        if device == "meta":
            spread = torch.empty_like(spread, device="meta")
        for wrapper in (spread, torch.nn.Parameter(spread), Wrapping(torch.zeros(5, 4))):
            assert not is_plain(wrapper)
            with pytest.raises(Invalid, match=r"w is a \w+, .*StoreReader.*to_local\(\)"):
                handle.load_into({"a": plain, "w": wrapper}, strict=strict)
            assert not plain.any()
            handle.load_into({"other": wrapper}, strict=False)
        if device == "cpu":
            handle.load_into({"w": spread.to_local()}, strict=False)
            assert spread.full_tensor().all()

    def test_those_with_memory_of_their_own_are_filled(self, stored):
        labelled = torch.zeros(5, 4).as_subclass(Labelled)
        assert not is_plain(labelled)
        assert is_plain(torch.nn.Parameter(torch.zeros(1)))
        stored(w=ONES).load_into({"w": labelled})
        assert labelled.all()


def test_what_cannot_be_assigned_is_refused(stored):
    into = MappingProxyType({"w": torch.zeros(5, 4, device="meta")})
    with pytest.raises(Invalid, match="w is on meta"):
        stored(w=ONES).load_into(into)


def test_what_has_no_shape_yet_is_refused(stored):
    handle = stored(weight=torch.ones(3, 4), bias=torch.ones(3))
    lazy = torch.nn.LazyLinear(3)
    with pytest.raises(Invalid, match=r"weight has no shape yet: call its module once; bias has no shape yet"):
        handle.load_into(lazy)
    lazy(torch.ones(4))
    handle.load_into(lazy)
    assert lazy.weight.all()
