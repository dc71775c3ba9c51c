"""accelerate: what users of save_state and load_state see of a store"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from artifactstore import Best, Latest, Store
from artifactstore.core.errors import Corrupt, Invalid, NotFound
from tests.house.tree import ROOT

accelerate = pytest.importorskip("accelerate")

from artifactstore.integrations.accelerate import StoreHooks  # noqa: E402


class Counter:
    """What a user registers for checkpointing"""

    def __init__(self):
        self.batches = 0

    def state_dict(self):
        return {"batches": self.batches}

    def load_state_dict(self, state):
        self.batches = state["batches"]


class Run:
    """A script of accelerate's users, with dropout, so that random states matter"""

    def __init__(self, manager=None, hidden=8, **options):
        accelerate.utils.set_seed(0)
        self.manager = manager
        self.accelerator = accelerate.Accelerator(cpu=True)
        dropping = torch.nn.Dropout(0.3)
        model = torch.nn.Sequential(torch.nn.Linear(4, hidden), dropping, torch.nn.Linear(hidden, 1))
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)
        x = torch.randn(32, 4)
        batches = DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=8)
        self.model, self.optimizer, self.scheduler, self.batches = self.accelerator.prepare(
            model, optimizer, scheduler, batches
        )
        self.counter = Counter()
        self.accelerator.register_for_checkpointing(self.counter)
        self.hooks = StoreHooks(self.accelerator, manager, **options) if manager else None

    def epoch(self):
        for x, y in self.batches:
            loss = ((self.model(x) - y) ** 2).mean()
            self.accelerator.backward(loss)
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.counter.batches += 1
        self.scheduler.step()
        return loss.item()

    def save(self, folder):
        loss = self.epoch()
        self.hooks.note(step=self.counter.batches, metrics={"loss": loss})
        self.accelerator.save_state(str(folder))

    def state(self):
        return [*self.model.state_dict().values(), *self.optimizer.state_dict()["state"][0].values()]


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state(), other.state(), strict=True))


@pytest.mark.parametrize("wait", [True, False])
def test_a_resumed_run_ends_as_one_that_was_never_stopped(managed, versions, tmp_path, wait):
    whole = Run()
    for _ in range(4):
        whole.epoch()
    with managed(best="loss", background="process") as manager:
        stopped = Run(manager, wait=wait)
        for number in range(3):
            stopped.save(tmp_path / f"{number}")
    assert len(stopped.optimizer.state_dict()["state"]) == 4
    by_folder = Run(managed())
    by_folder.accelerator.load_state(str(tmp_path / "2"))
    shutil.rmtree(tmp_path / "2")
    by_name = Run(managed())
    by_name.hooks.load("job@latest")
    for run in (by_folder, by_name):
        assert (run.counter.batches, run.scheduler.get_last_lr()) == (12, [0.005])
        # each with the random state of its load
        run.hooks.load("job@latest")
        run.epoch()
        assert same(run, whole)
        assert run.counter.batches == 16
    by_name.hooks.note(step=16)
    by_name.accelerator.save_state(str(tmp_path / "3"))
    by_name.manager.flush()
    assert [(step, metrics.keys(), parents) for _, step, metrics, _, parents in versions()] == [
        (4, {"loss"}, []),
        (8, {"loss"}, [("resume", "job:1")]),
        (12, {"loss"}, [("resume", "job:2")]),
        (16, set(), [("resume", "job:3")]),
    ]


def test_nothing_large_is_written_to_the_folder(managed, tmp_path):
    run = Run(managed(), hidden=20_000)
    run.save(tmp_path / "out")
    assert sum(path.stat().st_size for path in (tmp_path / "out").iterdir()) < 50_000
    assert not list((tmp_path / "out").glob("*.safetensors"))
    assert sum(weight.nbytes for weight in run.model.state_dict().values()) > 400_000


def test_the_policy_says_what_stays(managed, versions, tmp_path):
    run = Run(managed(best="loss:max", policy=Latest(2) | Best(1, "loss", "max")))
    for number in range(5):
        run.hooks.note(step=number, metrics={"loss": -number})
        run.accelerator.save_state(str(tmp_path / f"{number}"))
    run.manager.flush()
    assert [(step, aliases) for _, step, _, aliases, _ in versions()] == [(0, ["best"]), (3, []), (4, ["latest"])]
    with pytest.raises(NotFound):
        run.accelerator.load_state(str(tmp_path / "2"))


def test_several_models_and_optimizers_are_kept(managed, tmp_path, place):
    def pair():
        run = Run(managed(), wait=True)
        critic = torch.nn.Linear(3, 3)
        run.critic, run.other = run.accelerator.prepare(critic, torch.optim.SGD(critic.parameters(), 0.1, momentum=0.9))
        return run

    run = pair()
    run.critic(torch.ones(3)).sum().backward()
    run.other.step()
    run.save(tmp_path / "out")
    again = pair()
    torch.nn.init.zeros_(again.critic.weight)
    again.accelerator.load_state(str(tmp_path / "out"))
    assert torch.equal(again.critic.weight, run.critic.weight)
    moments = [one.other.state_dict()["state"][0]["momentum_buffer"] for one in (run, again)]
    assert torch.equal(*moments)
    run.manager.flush()
    with Store.open(place) as store:
        assert store.state_dict("job").keys() == run.model.state_dict().keys()
        assert torch.equal(store.state_dict("job", part="model_1")["weight"], run.critic.weight)
    Run(managed(), wait=True).save(tmp_path / "one")
    again = pair()
    with pytest.raises(Invalid, match="has no optimizer_1"):
        again.accelerator.load_state(str(tmp_path / "one"))


def test_what_does_not_fit_changes_nothing(managed, tmp_path):
    Run(managed(), wait=True).save(tmp_path / "out")
    wider = Run(managed(), hidden=9)
    before = [weight.clone() for weight in wider.model.state_dict().values()]
    with pytest.raises(Invalid, match=r"0\.weight has shape \[9, 4\], saved was \[8, 4\]"):
        wider.accelerator.load_state(str(tmp_path / "out"))
    assert all(torch.equal(a, b) for a, b in zip(before, wider.model.state_dict().values(), strict=True))


def test_wrong_references_are_told(managed, place):
    manager = managed()
    manager.save_checkpoint({"state": {"model": torch.nn.Linear(1, 1)}})
    run = Run(manager)
    with pytest.raises(NotFound):
        run.hooks.load("job@none")
    with pytest.raises(Invalid, match="job:1 was saved by something else; accelerate resumes its own"):
        run.hooks.load("job@latest")
    with pytest.raises(Invalid, match="CheckpointManager, found a str"):
        Run(place)


def test_folders_of_before_are_read_as_ever(managed, tmp_path):
    plain = Run()
    plain.epoch()
    plain.accelerator.save_state(str(tmp_path / "plain"))
    run = Run(managed())
    run.accelerator.load_state(str(tmp_path / "plain"))
    assert same(run, plain)


def test_a_sharded_model_is_refused(managed, tmp_path):
    run = Run(managed())
    # accelerate hands no weights over where it writes them by itself
    with pytest.raises(Invalid, match="The model is sharded"):
        next(iter(run.accelerator._save_model_state_pre_hook.values()))([run.model], [], str(tmp_path))


def test_a_damaged_checkpoint_is_told(managed, tmp_path, place):
    run = Run(managed(), wait=True)
    run.save(tmp_path / "out")
    for blob in (ROOT / place / "blobs").rglob("*"):
        if blob.is_file():
            blob.chmod(0o644)
            blob.write_bytes(blob.read_bytes()[:-1] + b"\0\1"[blob.read_bytes()[-1] == 0 :][:1])
    with pytest.raises(Corrupt):
        Run(managed()).accelerator.load_state(str(tmp_path / "out"))


KILLED = """
import os, signal, sys
from artifactstore import CheckpointManager
from tests.integrations.test_accelerate import Run
run = Run(CheckpointManager(store=sys.argv[1], run="job"), wait=True)
for number in range(2):
    run.save(f"{sys.argv[1]}-{number}")
run.epoch()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_run_goes_on(managed, place):
    killed = subprocess.run([sys.executable, "-c", KILLED, place], cwd=ROOT, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    whole, resumed = Run(), Run(managed())
    for _ in range(3):
        whole.epoch()
    resumed.hooks.load("job@latest")
    resumed.epoch()
    assert same(resumed, whole)


RANK = """
import sys, torch
from artifactstore import CheckpointManager
from tests.integrations.test_accelerate import Run
run = Run(CheckpointManager(store=sys.argv[1], run="job"), wait=True)
assert run.accelerator.num_processes == 2
run.epoch()
torch.manual_seed(run.accelerator.process_index + 5)
run.accelerator.save_state(sys.argv[2])
wanted = torch.rand(3)
torch.nn.init.zeros_(run.accelerator.unwrap_model(run.model)[0].weight)
run.hooks.load("job@latest")
assert torch.equal(torch.rand(3), wanted)
print("weight", run.accelerator.unwrap_model(run.model)[0].weight.abs().sum().item())
run.accelerator.end_training()
"""


def free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return str(listening.getsockname()[1])


@pytest.mark.slow
def test_several_processes_save_one_checkpoint_and_each_its_random_state(place, tmp_path, versions):
    world = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), "ACCELERATE_USE_CPU": "true"}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, place, str(tmp_path / "out")],
            env={**os.environ, **world, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    said = [rank.communicate() for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], said
    weights = {line for out, _ in said for line in out.splitlines() if line.startswith("weight")}
    assert len(weights) == 1
    assert weights != {"weight 0.0"}
    assert [number for number, *_ in versions()] == [1]


def test_the_page_is_true(tmp_path, monkeypatch):
    page = (ROOT / "docs/integrations.md").read_text()
    (snippet,) = re.findall(r"## accelerate\n.*?```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    run = Run()
    names = {"accelerator": run.accelerator, "loss": 0.5}
    exec(snippet, names)
    with Store.open("./models/checkpoints") as store:
        (version,) = store.ls("job")
        assert (version.step, dict(version.metrics)) == (100, {"loss": 0.5})


def test_an_old_release_is_told(told_too_old):
    files = ("accelerate/checkpointing.py", "accelerate/utils.py")
    said = told_too_old("artifactstore.integrations.accelerate", "accelerate", files)
    assert said.endswith("accelerate 0.9 is too old; run: pip install 'accelerate>=1.7'")
