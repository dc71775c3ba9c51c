"""A store with a base and a fine-tune that differs in a few tensors, on each device there is"""

import pytest
import torch
from safetensors.torch import save_file

from artifactstore import Settings, Store
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
