"""What a user sees of checkpoints: contexts, names, metrics, lineage, places"""

import pickle
from copy import deepcopy
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from artifactstore import CheckpointContext, CheckpointManager, Store
from artifactstore.core.errors import Invalid, NoStore, NotFound, Unavailable
from artifactstore.core.events import Warn
from tests.tensors.states import is_same

MIB = 1 << 20


@pytest.fixture
def manager(tmp_path):
    with CheckpointManager({"storage_path": tmp_path / "store"}) as manager:
        yield manager


@pytest.fixture
def warned(tmp_path):
    """A manager, and what it warned of"""
    warnings = []

    def monitor(event):
        if isinstance(event, Warn):
            warnings.append(event.message)

    with CheckpointManager({"storage_path": tmp_path / "store"}, monitor=monitor) as manager:
        yield manager, warnings


def weights(seed=0, n=1000):
    return {"w": torch.from_numpy(np.random.default_rng(seed).random(n, np.float32))}


def parents(manager, saved):
    depot = manager._open(create=False)
    version = depot.catalog.versions.by_request(saved.request_id)
    return [(link.relation, link.ref, link.weight) for link in depot.catalog.versions.parents(version.id)]


# what goes in comes out


def test_every_field_comes_back_with_its_type(manager):
    context = {
        "request_id": "abc-1",
        "phase": "warmup",
        "step": 7,
        "epoch": 0.5,
        "metrics": {"loss": 0.25},
        "license": "apache-2.0",
        "state": {"model": torch.nn.Linear(2, 2).state_dict(), 3: (1, [2]), (1, "x"): None},
        "note": "ä\0",
        "history": ({"t": torch.ones(2)},),
        "run": "team/run-1",
    }
    saved = manager.save_checkpoint(context)
    back = manager.restore_checkpoint("abc-1")
    assert is_same(dict(back), context)
    assert back.step == back["step"] == 7
    assert str(saved) == saved.id == str(back.version.id)
    assert (saved.ref, saved.number, saved.request_id) == ("team/run-1:1", 1, "abc-1")
    assert set(saved.aliases) == {"latest"}
    version = back.version
    assert (version.phase, version.step, version.epoch, version.license) == ("warmup", 7, 0.5, "apache-2.0")
    assert dict(version.metrics) == {"loss": 0.25}
    assert version.nbytes == saved.nbytes


@dataclass
class Plain:
    request_id: str = "r"
    step: int = 3
    state: Any = field(default_factory=weights)
    _private: int = 1


class Slotted:
    __slots__ = ("request_id", "state", "step", "unset")

    def __init__(self):
        self.request_id, self.step, self.state = "r", 3, weights()


class Classy:
    request_id = "r"
    step = 3
    other = "of the class, not of the context"

    @property
    def state(self):
        return weights()


class Named(NamedTuple):
    request_id: str
    step: int
    state: dict


@pytest.mark.parametrize(
    "context",
    [
        {"request_id": "r", "step": 3, "state": weights()},
        SimpleNamespace(request_id="r", step=3, state=weights()),
        Plain(),
        Slotted(),
        Classy(),
        Named("r", 3, weights()),
    ],
    ids=lambda context: type(context).__name__,
)
def test_a_context_is_any_object_or_mapping(manager, context):
    manager.save_checkpoint(context)
    back = manager.restore_checkpoint("r")
    assert is_same(dict(sorted(back.items())), {"request_id": "r", "state": weights(), "step": 3})


def test_models_of_pydantic_and_attrs_are_contexts(manager):
    for module in ("pydantic", "attrs"):
        pytest.importorskip(module)
    import attrs
    import pydantic

    class Model(pydantic.BaseModel, extra="allow"):
        request_id: str
        step: int

    @attrs.define
    class Attrs:
        request_id: str
        step: int

    for context in (Model(request_id="p", step=1, note="x"), Attrs("a", 1)):
        manager.save_checkpoint(context)
    assert dict(manager.restore_checkpoint("p")) == {"request_id": "p", "step": 1, "note": "x"}
    assert dict(manager.restore_checkpoint("a")) == {"request_id": "a", "step": 1}


@pytest.mark.parametrize("context", [None, "x", 3, [1], Plain, {1: 2}, b""])
def test_what_is_no_context_is_refused(manager, context):
    with pytest.raises(Invalid, match=r"context"):
        manager.save_checkpoint(context)


def test_a_refused_state_makes_no_store(tmp_path):
    manager = CheckpointManager({"storage_path": tmp_path / "store"})
    with pytest.raises(Invalid, match=r"^state\['optimizer'\]\['f'\] is a function"):
        manager.save_checkpoint({"state": {"optimizer": {"f": print and (lambda: 0)}}})
    assert not (tmp_path / "store").exists()


def test_files_are_standard_and_read_by_others(manager, tmp_path):
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4)).bfloat16()
    model.register_buffer("mask", torch.arange(5) % 2 == 0)
    optimizer = torch.optim.AdamW(model.parameters())
    model[0].weight.grad = torch.ones_like(model[0].weight)
    optimizer.step()
    saved = manager.save_checkpoint({"state": {"model": model, "optimizer": optimizer, "rng": torch.get_rng_state()}})
    Store(manager._open(create=False)).checkout(saved.id, tmp_path / "out")
    files = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert files == ["model.safetensors", "optimizer.safetensors", "state.json", "state.safetensors"]
    assert is_same(
        dict(sorted(load_file(tmp_path / "out/model.safetensors").items())), dict(sorted(model.state_dict().items()))
    )
    assert set(load_file(tmp_path / "out/optimizer.safetensors")) == {
        "state.0.step",
        "state.0.exp_avg",
        "state.0.exp_avg_sq",
    }


def test_a_context_reads_and_changes_as_mapping_and_object(manager):
    manager.save_checkpoint({"request_id": "r", "step": 3, "version": "mine", "keys": 1})
    back = manager.restore_checkpoint("r")
    assert isinstance(back, CheckpointContext)
    assert back["version"] == "mine"
    assert back.version.ref == "checkpoints:1"
    assert list(back.keys()) == ["request_id", "step", "version", "keys"]
    back.step = 4
    back["extra"] = [1]
    assert (back["step"], back.extra, len(back)) == (4, [1], 5)
    del back.extra, back["step"]
    with pytest.raises(AttributeError, match="no field 'step'"):
        back.step  # noqa: B018
    with pytest.raises(AttributeError):
        del back.step
    with pytest.raises(AttributeError):
        back.version = 3
    assert repr(back).startswith("CheckpointContext(checkpoints:1, ")
    assert dict(deepcopy(back)) == dict(pickle.loads(pickle.dumps(back))) == dict(back)


# names


def test_references_of_every_kind(manager):
    first = manager.save_checkpoint({"request_id": "a", "run": "run-1", "step": 1})
    second = manager.save_checkpoint({"request_id": "b", "name": "run-1", "step": 2})
    for ref in ("a", first.id, first.id[:12], "run-1:1", first):
        assert manager.restore_checkpoint(ref)["step"] == 1
    for ref in ("b", "run-1", "run-1@latest", "run-1:2", second, manager.latest(), manager.latest().id):
        assert manager.restore_checkpoint(ref)["step"] == 2
    for ref in ("run-1@best", "c", "run-1:3", "0" * 64):
        with pytest.raises(NotFound):
            manager.restore_checkpoint(ref)
    for ref in (None, 3, "", ["a"]):
        with pytest.raises(Invalid):
            manager.restore_checkpoint(ref)


def test_a_request_id_goes_before_other_meanings(manager):
    manager.save_checkpoint({"request_id": "x", "run": "train", "step": 1})
    manager.save_checkpoint({"request_id": "train", "run": "other", "step": 2})
    assert manager.restore_checkpoint("train")["step"] == 2


def test_of_a_repeated_request_id_the_newest_wins(manager):
    ids = [manager.save_checkpoint({"request_id": "r", "step": 1}).id for _ in range(3)]
    assert len(set(ids)) == 3
    assert str(manager.restore_checkpoint("r").version.id) == ids[-1]


def test_without_a_request_id_one_is_made(manager):
    saved = manager.save_checkpoint({"step": 1})
    back = manager.restore_checkpoint(saved.request_id)
    assert dict(back) == {"step": 1}
    assert back.version.request_id == saved.request_id


def test_the_artifact_is_the_contexts_run_or_name_or_the_managers(tmp_path):
    with CheckpointManager({"storage_path": tmp_path / "s", "run": "mine"}) as manager:
        assert manager.save_checkpoint({"run": "a", "name": "b"}).ref == "a:1"
        assert manager.save_checkpoint({"run": None, "name": "b"}).ref == "b:1"
        assert manager.save_checkpoint({}).ref == "mine:1"
        assert [version.ref for version in manager.list()] == ["mine:1"]
        assert manager.latest("b").ref == "b:1"
    with CheckpointManager(store=tmp_path / "s") as manager:
        assert manager.save_checkpoint({}).ref == "checkpoints:1"
        assert [version.ref for version in manager.list()] == ["checkpoints:1", "mine:1", "b:1", "a:1"]
        assert manager.latest("nothing") is None


@pytest.mark.parametrize(
    ("context", "message"),
    [
        ({"run": "a b"}, "Not an artifact name"),
        ({"run": 5}, "Not an artifact name"),
        ({"request_id": ""}, "Not a request id"),
        ({"request_id": "a\nb"}, "Not a request id"),
        ({"request_id": ["a"]}, "Not a request id"),
        ({"phase": "x" * 300}, "Not a phase"),
        ({"step": 1.5}, "step should be an integer"),
        ({"step": "7"}, "step should be an integer"),
        ({"step": True}, "step should be an integer"),
        ({"step": torch.ones(3)}, "step should be an integer"),
        ({"step": 2**60}, "step should be an integer below"),
        ({"epoch": "x"}, "epoch should be a number"),
        ({"epoch": float("nan")}, "Epoch should be a finite number"),
        ({"metrics": [1]}, "metrics should map names to numbers"),
        ({"parent": 3}, "A parent is a reference"),
        ({"parent": {"ref": "a", "wight": 1}}, "A parent is a reference"),
        ({"parent": {"ref": "a", "relation": "cousin"}}, "Unknown relation"),
        ({"parent": {"ref": "a", "weight": "x"}}, "Weight of parent"),
    ],
)
def test_labels_that_cannot_be_are_refused(manager, context, message):
    with pytest.raises(Invalid, match=message):
        manager.save_checkpoint(context)
    with pytest.raises((NoStore, NotFound)):
        manager.restore_checkpoint("checkpoints")


def test_numbers_may_be_tensors_and_numpy_scalars(manager):
    context = {"request_id": 17, "phase": 0, "step": torch.tensor(5), "epoch": np.float32(0.5)}
    version = manager.restore_checkpoint(manager.save_checkpoint(context)).version
    assert (version.request_id, version.phase, version.step, version.epoch) == ("17", "0", 5, 0.5)


# metrics and aliases


def test_metrics_that_are_no_finite_numbers_stay_in_the_context(warned):
    manager, warnings = warned
    metrics = {
        "loss": torch.tensor(0.5),
        "np": np.float64(2),
        "one": torch.ones(1),
        "nan": float("nan"),
        "inf": torch.tensor(float("inf")),
        "text": "x",
        "flag": True,
        "many": torch.ones(2),
        "huge": 10**400,
        "": 1.0,
        "a\nb": 1.0,
    }
    back = manager.restore_checkpoint(manager.save_checkpoint({"metrics": metrics}))
    assert dict(back.version.metrics) == {"loss": 0.5, "np": 2.0, "one": 1.0}
    assert is_same(back.metrics, metrics)
    assert len(warnings) == 8
    assert "Metric nan is no finite number; it is kept in the checkpoint only" in warnings


@pytest.mark.parametrize(("best", "expected"), [("val_loss", 2), ("val_loss:min", 2), ("val_loss:max", 1)])
def test_best_follows_the_metric_and_latest_the_time(tmp_path, best, expected):
    with CheckpointManager({"storage_path": str(tmp_path / "s"), "best": best}) as manager:
        for step, loss in enumerate([3.0, 1.0, 2.0], start=1):
            manager.save_checkpoint({"step": step, "metrics": {"val_loss": loss}})
        manager.save_checkpoint({"step": 4})
        assert manager.restore_checkpoint("checkpoints@best").step == expected
        assert manager.restore_checkpoint("checkpoints@latest").step == 4


# what came from what


def test_a_resumed_run_is_linked_once(manager):
    manager.save_checkpoint({"request_id": "a", "run": "one", "step": 1})
    manager.save_checkpoint({"request_id": "b", "run": "one", "step": 2})
    manager.restore_checkpoint("a")
    other = manager.save_checkpoint({"request_id": "c", "run": "two"})
    third = manager.save_checkpoint({"request_id": "d", "run": "one"})
    fourth = manager.save_checkpoint({"request_id": "e", "run": "one"})
    assert parents(manager, other) == []
    assert parents(manager, third) == [("resume", "one:1", None)]
    assert parents(manager, fourth) == []


def test_a_restored_context_that_is_saved_again_descends_from_itself(tmp_path):
    with CheckpointManager(store=tmp_path / "s") as manager:
        manager.save_checkpoint({"request_id": "base", "run": "base"})
        manager.save_checkpoint({"request_id": "a", "run": "one", "parent": "base"})
    with CheckpointManager(store=tmp_path / "s") as manager:
        context = manager.restore_checkpoint("a")
        manager.save_checkpoint({"request_id": "x", "run": "one"})
        context.request_id = "b"
        second = manager.save_checkpoint(context)
        context.request_id = "c"
        third = manager.save_checkpoint(context)
        context.request_id, context.parent = "d", ["base", {"ref": "b", "relation": "ema"}]
        fourth = manager.save_checkpoint(context)
        assert parents(manager, second) == [("resume", "one:1", None)]
        assert parents(manager, third) == []
        assert parents(manager, fourth) == [("finetune", "base:1", None), ("ema", "one:3", None)]
        context = manager.restore_checkpoint("b")
        context.run, context.request_id = "two", "f"
        assert parents(manager, manager.save_checkpoint(context)) == [("finetune", "one:3", None)]


def test_parents_are_named_in_every_way(warned):
    manager, warnings = warned
    base = manager.save_checkpoint({"request_id": "base", "run": "base"})
    first = manager.save_checkpoint({"request_id": "a", "run": "one"})
    restored = CheckpointContext({}, manager.latest("base"))
    cases = {
        "base": ("finetune", "base:1"),
        "base:1": ("finetune", "base:1"),
        base.id: ("finetune", "base:1"),
        "a": ("resume", "one:1"),
        base: ("finetune", "base:1"),
        first: ("resume", "one:1"),
        "hf://org/model": ("finetune", "hf://org/model"),
        "gone@prod": ("finetune", "gone@prod"),
    }
    for number, (parent, expected) in enumerate(cases.items()):
        saved = manager.save_checkpoint({"request_id": f"x{number}", "run": "one", "parent": parent})
        assert parents(manager, saved) == [(*expected, None)]
    assert warnings == ["Parent 'gone@prod' is not in this store; the link keeps its name"]
    several = ({"ref": restored, "relation": "merge", "weight": 0.25}, {"ref": first, "weight": 0.75})
    saved = manager.save_checkpoint({"request_id": "m", "run": "two", "parent": several})
    assert parents(manager, saved) == [("merge", "base:1", 0.25), ("finetune", "one:1", 0.75)]
    kept = ({"ref": base.id, "relation": "merge", "weight": 0.25}, {"ref": first.id, "weight": 0.75})
    assert manager.restore_checkpoint("m").parent == kept


# places


def test_foreign_files_stay_untouched(tmp_path):
    (tmp_path / "phase_0").mkdir()
    (tmp_path / "phase_0/model.pt").write_bytes(b"x")
    (tmp_path / "latest.pt").write_bytes(b"y")
    with CheckpointManager({"storage_path": str(tmp_path)}) as manager:
        manager.save_checkpoint({"request_id": "r"})
    assert sorted(path.name for path in tmp_path.iterdir()) == [".artstore", "latest.pt", "phase_0"]
    assert (tmp_path / "phase_0/model.pt").read_bytes() == b"x"
    with CheckpointManager({"storage_path": str(tmp_path)}) as manager:
        assert manager.restore_checkpoint("r").version.number == 1


def test_an_opened_store_is_used_and_left_open(tmp_path):
    with Store.init(str(tmp_path / "s")) as store:
        for place in (store, store.depot):
            with CheckpointManager(store=place) as manager:
                manager.save_checkpoint({"request_id": "r"})
        assert [version.request_id for version in store.depot.catalog.versions.list()] == ["r", "r"]


def test_a_closed_manager_opens_again(manager):
    manager.save_checkpoint({"request_id": "r"})
    manager.close()
    manager.close()
    assert manager.restore_checkpoint("r").version.number == 1


def test_nothing_is_made_to_restore_from(tmp_path):
    manager = CheckpointManager({"storage_path": tmp_path / "none"})
    for read in (lambda: manager.restore_checkpoint("r"), manager.list, manager.latest):
        with pytest.raises(NoStore):
            read()
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("config", "options"),
    [
        (None, {}),
        ({}, {}),
        ("./folder", {}),
        ({"storage_path": 3}, {}),
        ({"storage_path": ""}, {}),
        ({"storage_path": b"x"}, {}),
        ({"storge_path": "x"}, {}),
        ({"storage_path": "x"}, {"store": "y"}),
        ({"storage_path": "x", "best": "loss:worst"}, {}),
        ({"storage_path": "x", "best": ""}, {"best": ":min"}),
        ({"storage_path": "x", "run": "a b"}, {}),
    ],
)
def test_a_config_that_cannot_be_is_refused(config, options):
    with pytest.raises(Invalid):
        CheckpointManager(config, **options)


def test_a_file_is_no_place(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises((Invalid, Unavailable)):
        CheckpointManager({"storage_path": tmp_path / "file"}).save_checkpoint({})


def test_a_version_that_is_no_checkpoint_is_for_checkout(manager, tmp_path):
    (tmp_path / "a.txt").write_text("x")
    manager.save_checkpoint({})
    Store(manager._open(create=False)).add([tmp_path / "a.txt"], name="text")
    with pytest.raises(Invalid, match=r"no checkpoint.*use checkout"):
        manager.restore_checkpoint("text")
    assert [version.ref for version in manager.list()] == ["checkpoints:1"]


def test_a_restore_is_noted_and_holds_nothing_afterwards(manager):
    saved = manager.save_checkpoint({"state": weights()})
    assert manager.latest().last_load is None
    manager.restore_checkpoint(saved)
    assert manager.latest().last_load > 0
    assert manager._open(create=False).catalog.leases.active() == []


def test_a_store_opened_read_only_restores(manager, tmp_path):
    saved = manager.save_checkpoint({"state": weights()})
    with Store.open(str(tmp_path / "store"), read_only=True) as store:
        reader = CheckpointManager(store=store)
        assert is_same(reader.restore_checkpoint(saved)["state"], weights())
        with pytest.raises(Invalid, match="read-only"):
            reader.save_checkpoint({})
