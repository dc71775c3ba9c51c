"""The state dict of one model of a version, however the version came to be"""

import pytest
import torch
import torch.distributed.checkpoint as dcp
from safetensors.torch import save_file
from torch import nn

from artifactstore import CheckpointManager, Settings, Store
from artifactstore.core.errors import Invalid, NotFound
from artifactstore.tensors.distributed import StoreWriter


class Tied(nn.Module):
    """Two names for one weight, and what a state dict keeps beside its tensors"""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, 4, bias=False)
        self.norm = nn.BatchNorm1d(4)
        self.outer = nn.Linear(4, 4, bias=False)
        self.outer.weight = self.inner.weight

    def forward(self, x):
        return self.outer(self.norm(self.inner(x)))


@pytest.fixture
def store(tmp_path):
    with Store.init(str(tmp_path / "store"), settings=Settings(attested=str(tmp_path / "attested"))) as store:
        yield store


def filled(model):
    torch.manual_seed(3)
    for parameter in model.parameters():
        parameter.data.normal_()
    return model


def same(found, wanted):
    return found.keys() == wanted.keys() and all(torch.equal(found[name], wanted[name]) for name in wanted)


def add(store, folder, files, name="plain"):
    for path, tensors in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, folder / path)
    store.add([folder], name=name)


def test_a_checkpoint_gives_the_names_of_its_model(store):
    model = filled(Tied())
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.randn(3, 4)).sum().backward()
    optimizer.step()
    state = {"model": model, "optimizer": optimizer, "ema": {name: w + 1 for name, w in model.state_dict().items()}}
    CheckpointManager(store=store, run="job").save_checkpoint({"state": state})
    found = store.state_dict("job@latest")
    assert same(found, model.state_dict())
    assert found["inner.weight"] is found["outer.weight"]
    # modules tell old layouts from new ones by it
    assert found._metadata == model.state_dict()._metadata
    other = Tied()
    other.load_state_dict(found)
    assert torch.equal(other.norm.running_mean, model.norm.running_mean)
    assert same(store.state_dict("job", part="ema", verify="always"), state["ema"])
    fresh = torch.optim.AdamW(other.parameters(), lr=7.0)
    fresh.load_state_dict(store.state_dict("job", part="optimizer"))
    assert fresh.param_groups[0]["lr"] == 1e-3
    moments = next(iter(optimizer.state.values()))["exp_avg"]
    assert torch.equal(next(iter(fresh.state.values()))["exp_avg"], moments)


def test_what_is_filled_belongs_to_the_caller(store):
    CheckpointManager(store=store).save_checkpoint({"state": {"model": {"w": torch.ones(2_000_000)}}})
    store.state_dict("checkpoints")["w"].zero_()
    assert store.state_dict("checkpoints", verify="always")["w"].all()


def test_a_state_that_is_the_model_needs_no_part(store):
    model = filled(nn.Linear(3, 3))
    manager = CheckpointManager(store=store)
    manager.save_checkpoint({"request_id": "module", "state": model})
    manager.save_checkpoint({"request_id": "one", "state": {"net": model, "step": 3}})
    for request_id in ("module", "one"):
        number = store.ls(where=f"request_id = {request_id}")[0].number
        assert same(store.state_dict(f"checkpoints:{number}"), model.state_dict())


def test_which_part_is_meant_is_asked(store):
    manager = CheckpointManager(store=store)
    manager.save_checkpoint({"state": {"net": nn.Linear(1, 1), "critic": nn.Linear(1, 1), "step": 1}})
    with pytest.raises(Invalid, match=r"Which part of it is meant.*: net, critic"):
        store.state_dict("checkpoints")
    with pytest.raises(Invalid, match=r"no part 'step'.*: net, critic"):
        store.state_dict("checkpoints", part="step")
    manager.save_checkpoint({"note": "no state"})
    with pytest.raises(Invalid, match="are: none"):
        store.state_dict("checkpoints:2")
    with pytest.raises(NotFound):
        store.state_dict("nothing@latest")


def test_files_are_parts_whatever_their_shards(store, tmp_path):
    one, two = {"a": torch.ones(3)}, {"b": torch.zeros(2)}
    shards = {"model-00001-of-00002.safetensors": one, "model-00002-of-00002.safetensors": two}
    add(store, tmp_path / "llm", {**shards, "extra.safetensors": {"a": torch.ones(1)}})
    assert same(store.state_dict("plain"), one | two)
    assert same(store.state_dict("plain", part="extra"), {"a": torch.ones(1)})
    add(store, tmp_path / "adapter", {"adapter_model.safetensors": one, "head.safetensors": two}, "adapter")
    assert same(store.state_dict("adapter"), one | two)


def test_folders_are_parts(store, tmp_path):
    unet, vae = {"w": torch.ones(3)}, {"w": torch.zeros(2)}
    weights = "diffusion_pytorch_model.safetensors"
    add(store, tmp_path / "pipe", {f"unet/{weights}": unet, f"vae/{weights}": vae, "vae/other.safetensors": vae})
    assert same(store.state_dict("plain", part="unet"), unet)
    assert same(store.state_dict("plain", part="vae/other"), vae)
    with pytest.raises(Invalid, match=r"Which part.*unet/diffusion_pytorch_model, vae/diffusion"):
        store.state_dict("plain")
    with pytest.raises(Invalid, match="no part 'vae'"):
        store.state_dict("plain", part="vae")


def test_what_ranks_wrote_is_read_like_the_rest(store):
    model = filled(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)))
    state = {"model": model.state_dict(), "ema": {name: w * 2 for name, w in model.state_dict().items()}}
    dcp.save(state, storage_writer=StoreWriter(store, "ranks", step=1))
    dcp.save(model.state_dict(), storage_writer=StoreWriter(store, "bare", step=1))
    assert same(store.state_dict("ranks"), model.state_dict())
    assert same(store.state_dict("ranks", part="ema"), state["ema"])
    assert same(store.state_dict("bare"), model.state_dict())
    with pytest.raises(Invalid, match=r"no part 'critic'.*: model, ema"):
        store.state_dict("ranks", part="critic")
