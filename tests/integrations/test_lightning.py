"""Lightning: what its users see of checkpoints in a store"""

import re
import signal
import subprocess
import sys
import warnings

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from artifactstore import Best, CheckpointManager, EverySteps, Latest, Store
from artifactstore.core.errors import Invalid, NotFound
from tests.house.tree import ROOT

pl = pytest.importorskip("lightning.pytorch")

from artifactstore.integrations.lightning import StoreCheckpoint  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")


class Net(pl.LightningModule):
    def __init__(self, hidden=8, extra=None):
        super().__init__()
        self.save_hyperparameters()
        self.net = torch.nn.Sequential(torch.nn.Linear(4, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, 1))
        self.losses = []

    def loss(self, batch):
        x, y = batch
        return ((self.net(x) - y) ** 2).mean()

    def training_step(self, batch, _):
        loss = self.loss(batch)
        self.losses.append(loss.item())
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, _):
        self.log("val_loss", self.loss(batch))

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=1e-2)
        return {"optimizer": optimizer, "lr_scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.7)}


def data():
    x = torch.randn(32, 4, generator=torch.Generator().manual_seed(0))
    return DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=8)


def net(**options):
    torch.manual_seed(0)
    return Net(**options)


def trainer(*callbacks, **options):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return pl.Trainer(accelerator="cpu", callbacks=list(callbacks), **quiet, **options)


def same(one, other):
    states = one.state_dict(), other.state_dict()
    return states[0].keys() == states[1].keys() and all(
        torch.equal(states[0][name], states[1][name]) for name in states[0]
    )


@pytest.mark.parametrize("wait", [True, False])
def test_a_resumed_run_ends_as_one_that_was_never_stopped(managed, versions, wait):
    whole = net()
    trainer(max_epochs=5, enable_checkpointing=False).fit(whole, data(), data())
    trainer(StoreCheckpoint(managed(best="val_loss", background="process"), wait=wait), max_epochs=3).fit(
        net(), data(), data()
    )
    resumed, again = (
        net(),
        trainer(StoreCheckpoint(managed(best="val_loss", background="process"), wait=wait), max_epochs=5),
    )
    with torch.no_grad():
        resumed.net[0].weight.zero_()
    again.fit(resumed, data(), data(), ckpt_path="artstore://job@latest")
    assert (again.current_epoch, again.global_step) == (5, 20)
    assert same(resumed, whole)
    assert resumed.losses == whole.losses[12:]
    assert again.lr_scheduler_configs[0].scheduler.get_last_lr()[0] == pytest.approx(1e-2 * 0.7**5)
    rows = versions()
    assert [(number, step) for number, step, *_ in rows] == [(1, 4), (2, 8), (3, 12), (4, 16), (5, 20)]
    assert [parents for *_, parents in rows] == [[], *([("resume", f"job:{number}")] for number in (1, 2, 3, 4))]
    assert all(row[2].keys() == {"train_loss", "val_loss"} for row in rows)
    assert rows[-1][3] == ["best", "latest"]


def test_the_policy_says_what_stays(managed, versions):
    manager = managed(policy=Latest(2) | EverySteps(6))
    trainer(StoreCheckpoint(manager, every_n_train_steps=3), max_epochs=5).fit(net(), data(), data())
    assert [step for _, step, *_ in versions()] == [6, 12, 15, 18]


def test_the_best_stays_and_is_what_best_means(managed, versions):
    manager = managed(best="val_loss:max", policy=Latest(1) | Best(1, "val_loss", "max"))
    checkpoint, model = StoreCheckpoint(manager), net()
    running = trainer(checkpoint, max_epochs=4)
    assert checkpoint.best_model_path == ""
    running.fit(model, data(), data())
    rows = versions()
    assert [(step, aliases) for _, step, _, aliases, _ in rows] == [(4, ["best"]), (16, ["latest"])]
    (measured,) = running.validate(dataloaders=data(), ckpt_path="best", verbose=False)
    assert round(measured["val_loss"], 4) == rows[0][2]["val_loss"]
    assert len(versions()) == 2


def test_a_metric_is_of_the_step_at_which_it_was_measured(managed, versions):
    options = {"max_epochs": 4, "check_val_every_n_epoch": 2}
    trainer(StoreCheckpoint(managed(), every_n_train_steps=4, every_n_epochs=1), **options).fit(net(), data(), data())
    assert [(step, "val_loss" in metrics) for _, step, metrics, *_ in versions()] == [
        (4, False),
        (8, True),
        (12, False),
        (16, True),
    ]


@pytest.mark.parametrize(
    ("options", "measured"),
    [
        ({"val_check_interval": 2}, [2, 4, 6, 8]),
        ({"val_check_interval": 3, "check_val_every_n_epoch": None}, [3, 6]),
        ({}, [4, 8]),
        ({"limit_val_batches": 0}, []),
    ],
)
def test_a_save_waits_for_the_validation_of_its_step(managed, versions, options, measured):
    trainer(StoreCheckpoint(managed(), every_n_train_steps=1), max_epochs=2, **options).fit(net(), data(), data())
    rows = versions()
    assert [step for _, step, *_ in rows] == list(range(1, 9))
    assert [step for _, step, metrics, *_ in rows if "val_loss" in metrics] == measured


def test_a_run_goes_on_from_the_middle_of_an_epoch(managed):
    whole, resumed = net(), net()
    same_batch = data().dataset[:8]
    batches = DataLoader(TensorDataset(*(part.repeat(6, 1) for part in same_batch)), batch_size=8)
    trainer(max_epochs=2, enable_checkpointing=False).fit(whole, batches, data())
    stopped = trainer(StoreCheckpoint(managed(), every_n_train_steps=4), max_steps=9)
    stopped.fit(net(), batches, data())
    again = trainer(StoreCheckpoint(managed(), every_n_train_steps=4), max_epochs=2)
    again.fit(resumed, batches, data(), ckpt_path="artstore://job@latest")
    assert again.global_step == 12
    assert same(resumed, whole)


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({}, [4, 8]),
        ({"val_check_interval": 0.5}, [2, 4, 6, 8]),
        ({"check_val_every_n_epoch": 2}, [8]),
        ({"limit_val_batches": 0, "check_val_every_n_epoch": 2}, [4, 8]),
        ({"fast_dev_run": True}, None),
    ],
)
def test_epochs_are_saved_when_their_validation_is_over(managed, versions, options, steps):
    trainer(StoreCheckpoint(managed()), max_epochs=2, **options).fit(net(), data(), data())
    if steps is None:
        with pytest.raises(NotFound):
            versions()
        return
    rows = versions()
    assert [step for _, step, *_ in rows] == steps
    assert all(("val_loss" in metrics) == bool(options.get("limit_val_batches", 1)) for _, _, metrics, *_ in rows)


def test_only_what_is_asked_for_is_saved(managed, versions):
    model = net()
    options = {"max_epochs": 3, "accumulate_grad_batches": 2}
    trainer(StoreCheckpoint(managed(), every_n_epochs=2), **options).fit(model, data(), data())
    assert [step for _, step, *_ in versions()] == [4]
    trainer(StoreCheckpoint(managed(), every_n_train_steps=5), **options).fit(model, data(), data())
    assert [step for _, step, *_ in versions()] == [4, 5]


def test_what_is_said_of_the_run_is_in_its_checkpoints(managed, place):
    managed().save_checkpoint({"run": "base", "state": net()})
    fields = {"phase": "sft", "license": "apache-2.0", "parent": "base"}
    trainer(StoreCheckpoint(managed(), fields=fields), max_epochs=2).fit(net(extra=[1, {"a": None}]), data())
    with Store.open(place) as store:
        assert {(one.phase, one.license, one.epoch) for one in store.ls("job")} == {
            ("sft", "apache-2.0", 0.0),
            ("sft", "apache-2.0", 1.0),
        }
        parents = [
            [link.ref for link in store.depot.catalog.versions.parents(store.resolve(f"job:{n}").id)] for n in (1, 2)
        ]
        assert parents == [["base:1"], ["job:1"]]
        model = net()
        model.load_state_dict(store.state_dict("job:2"))
    again = trainer(StoreCheckpoint(managed(), fields=fields), max_epochs=3)
    again.fit(net(extra=[1, {"a": None}]), data(), ckpt_path="artstore://job:2")
    with Store.open(place) as store:
        assert [link.ref for link in store.depot.catalog.versions.parents(store.resolve("job:3").id)] == ["job:2"]
    context = managed().restore_checkpoint("job:2")
    assert context["state"]["hyper_parameters"] == {"hidden": 8, "extra": [1, {"a": None}]}


def test_other_paths_are_as_ever(managed, versions, tmp_path):
    plain = pl.callbacks.ModelCheckpoint(dirpath=tmp_path / "plain", save_last=True)
    trainer(plain, StoreCheckpoint(managed()), max_epochs=2).fit(net(), data(), data())
    model = net()
    checkpoint = StoreCheckpoint(managed())
    again = trainer(checkpoint, max_epochs=3)
    again.fit(model, data(), data(), ckpt_path=tmp_path / "plain" / "last.ckpt")
    assert again.global_step == 12
    assert [step for _, step, *_ in versions()] == [4, 8, 12]


def test_two_callbacks_save_each_by_its_policy(managed, versions):
    often = StoreCheckpoint(managed(policy=Latest(1)), every_n_train_steps=1)
    seldom = StoreCheckpoint(CheckpointManager(store=managed()._open(create=True), run="kept"), every_n_epochs=1)
    trainer(often, seldom, max_epochs=2).fit(net(), data(), data())
    assert [step for _, step, *_ in versions()] == [8]
    assert [saved.step for saved in seldom._saves._manager.list()] == [8, 4]


def test_wrong_references_are_told(managed, place):
    manager = managed()
    manager.save_checkpoint({"state": {"model": net()}})
    fitting = trainer(StoreCheckpoint(manager), max_epochs=1)
    with pytest.raises(NotFound):
        fitting.fit(net(), data(), ckpt_path="artstore://job@none")
    with pytest.raises(Invalid, match=r"job:1 was saved by something else; Lightning resumes its own"):
        fitting.fit(net(), data(), ckpt_path="artstore://job@latest")
    with pytest.raises(Invalid, match="CheckpointManager, found a str"):
        StoreCheckpoint(place)


def test_what_cannot_be_stored_is_named(managed):
    with pytest.raises(Invalid, match=r"state\['hyper_parameters'\]\['extra'\] is a class"):
        trainer(StoreCheckpoint(managed()), max_epochs=1).fit(net(extra=dict), data())


def test_a_strategy_that_writes_by_itself_is_refused(managed):
    class Writing(pl.strategies.SingleDeviceStrategy):
        def save_checkpoint(self, checkpoint, filepath, storage_options=None):
            raise AssertionError

    with pytest.raises(Invalid, match="Writing writes by itself"):
        trainer(StoreCheckpoint(managed()), max_epochs=1, strategy=Writing(device=torch.device("cpu"))).fit(
            net(), data()
        )


def test_a_failure_in_the_background_ends_the_training(managed, place):
    class Spoil(pl.Callback):
        def on_train_epoch_start(self, running, module):
            if running.current_epoch == 1:
                (ROOT / place / "artstore.json").write_text("{")

    with pytest.raises(Exception, match=r"was not stored|artstore\.json"):
        trainer(Spoil(), StoreCheckpoint(managed()), max_epochs=3).fit(net(), data())


def test_accumulated_steps_wait_for_their_validation_only(managed, versions):
    options = {"max_epochs": 2, "accumulate_grad_batches": 2, "val_check_interval": 1}
    trainer(StoreCheckpoint(managed(), every_n_train_steps=2), **options).fit(net(), data(), data())
    assert [step for _, step, *_ in versions()] == [2, 4]


KILLED = """
import os, signal, sys
from tests.integrations.test_lightning import *
class Kill(pl.Callback):
    def on_train_epoch_start(self, running, module):
        if running.current_epoch == 3:
            os.kill(os.getpid(), signal.SIGKILL)
manager = CheckpointManager(store=sys.argv[1], run="job")
trainer(StoreCheckpoint(manager, wait=True), Kill(), max_epochs=5).fit(net(), data(), data())
"""


@pytest.mark.slow
def test_a_killed_run_goes_on(managed, place):
    killed = subprocess.run([sys.executable, "-c", KILLED, place], cwd=ROOT, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    whole, resumed = net(), net()
    trainer(max_epochs=4, enable_checkpointing=False).fit(whole, data(), data())
    trainer(StoreCheckpoint(managed()), max_epochs=4).fit(resumed, data(), data(), ckpt_path="artstore://job@latest")
    assert same(resumed, whole)
    assert len(resumed.losses) == 4


def test_the_page_is_true(tmp_path, monkeypatch):
    (snippet,) = re.findall(
        r"## Lightning\n.*?```python\n(.*?)```", (ROOT / "docs/integrations.md").read_text(), re.DOTALL
    )
    monkeypatch.chdir(tmp_path)
    names = {"pl": pl, "module": net(), "data": data(), "validation": data()}
    with warnings.catch_warnings():
        exec(snippet, names)
    with Store.open("./models/checkpoints") as store:
        assert store.ls("job")[0].step == names["trainer"].global_step


def test_an_old_release_is_told(told_too_old):
    files = ("lightning/pytorch/__init__.py", "lightning/fabric/__init__.py", "lightning/fabric/plugins/__init__.py")
    said = told_too_old("artifactstore.integrations.lightning", "lightning", files)
    assert said.endswith("lightning 0.9 is too old; run: pip install 'lightning>=2.4'")
