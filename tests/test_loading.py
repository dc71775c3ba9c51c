"""The verbs of a store that give tensors"""

import sys

import pytest
import torch
from safetensors.torch import save_file

from artifactstore import Settings, Store
from artifactstore.core.errors import NotFound, Unavailable


@pytest.fixture
def store(tmp_path):
    save_file({"w": torch.arange(12.0).view(4, 3), "b": torch.ones(4)}, tmp_path / "m.safetensors")
    with Store.init(str(tmp_path / "store"), settings=Settings(attested=str(tmp_path / "attested"))) as store:
        store.add([tmp_path / "m.safetensors"], name="m", aliases=["prod"])
        yield store


def test_every_verb_gives_the_same_tensors(store):
    loaded = store.load("m@prod")
    assert set(loaded) == {"w", "b"} == set(store.open("m").keys())
    assert str(loaded.report).startswith("m: 2 tensors, 64 B in ")
    state = {"w": torch.zeros(4, 3), "b": torch.zeros(4)}
    store.load_into(state, "m:1")
    with store.prefetch("m", {"w": slice(1, 3)}) as coming:
        part = coming.take("w")
    for found in (state, dict(store.stream("m")), {name: store.open("m").get_tensor(name) for name in ("w", "b")}):
        assert all(torch.equal(found[name], loaded[name]) for name in loaded)
    assert torch.equal(part, loaded["w"][1:3])
    assert list(store.load("m", names=["b"])) == ["b"]


def test_what_is_not_there_is_told(store, monkeypatch):
    with pytest.raises(NotFound):
        store.load("none")
    monkeypatch.setitem(sys.modules, "artifactstore.tensors.opening", None)
    with pytest.raises(Unavailable, match=r"artifactstore\[torch\]"):
        store.load("m")
