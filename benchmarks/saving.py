"""Saving: how long a trainer with 2 GB of state stands still, until it is durable, and what steps cost meanwhile

As a child, `saving.py CONTENDER FOLDER` saves three times, everything changed each time, and prints what it measured.
Its units come from the same process: one copy of the state into memory that exists and was touched, and one write of
the same bytes with fsync.
"""

import json
import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

SAVES = 3
MEASURED = ("first", "later", "durable", "steps")


def run(folder: Path, rounds: int) -> dict[str, object]:
    """By contender: times stood still at the first save and later ones, until durable, and of a step meanwhile"""
    from benchmarks import measure

    taken: dict[str, list[dict[str, float]]] = {}
    for number in range(rounds):
        for what in CONTENDERS:
            place = folder / "work"
            place.mkdir()
            told = measure.told("saving", what, place)
            shutil.rmtree(place)
            taken.setdefault(what, []).append(told)
            print(f"  round {number + 1}: {what:<44} {told}", flush=True)
    return {what: {key: statistics.median(one[key] for one in of) for key in of[0]} for what, of in taken.items()}


def _state() -> dict[str, Any]:
    import torch

    from benchmarks.models import shapes

    random = torch.Generator().manual_seed(0)
    return {
        name: torch.empty(shape, dtype=torch.int16).random_(generator=random).view(torch.bfloat16)
        for name, shape in shapes()
    }


def _train_on(state: dict[str, Any]) -> None:
    import torch

    for tensor in state.values():
        tensor.view(torch.int16).add_(1)


def _copy_seconds(state: dict[str, Any]) -> float:
    import torch

    into = {name: torch.zeros_like(tensor) for name, tensor in state.items()}
    times = []
    for _ in range(3):
        began = time.perf_counter()
        for name, tensor in state.items():
            into[name].copy_(tensor)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def _write_seconds(state: dict[str, Any], path: Path) -> float:
    from artifactstore.tensors.dtypes import view_bytes

    began = time.perf_counter()
    with path.open("wb", buffering=0) as file:
        for tensor in state.values():
            view = view_bytes(tensor)
            while view:
                view = view[file.write(view) :]
        os.fsync(file.fileno())
    seconds = time.perf_counter() - began
    path.unlink()
    return seconds


def _step() -> float:
    """Seconds of some work that needs a core, as a training step on a CPU does"""
    import torch

    one = torch.ones(512, 512)
    began = time.perf_counter()
    for _ in range(4):
        one = (one @ one).clamp_(-1, 1)
    return time.perf_counter() - began


def _measured(what: str, folder: Path) -> dict[str, float]:
    import torch

    from benchmarks import memory

    torch.set_num_threads(1)
    quiet = statistics.mean(_step() for _ in range(100))
    torch.set_num_threads(os.cpu_count() or 1)
    state = _state()
    units = {"copy": _copy_seconds(state), "write": _write_seconds(state, folder / "raw")}
    memory.forget_peak()
    blocked, durable, steps = [], [], []
    with CONTENDERS[what](folder, state) as save:
        for number in range(SAVES):
            _train_on(state)
            began = time.perf_counter()
            done = save(state, number)
            blocked.append(time.perf_counter() - began)
            torch.set_num_threads(1)
            while not done():
                steps.append(_step())
            torch.set_num_threads(os.cpu_count() or 1)
            durable.append(time.perf_counter() - began)
    return units | {
        "first": blocked[0] / units["copy"],
        "later": statistics.median(blocked[1:]) / units["copy"],
        "durable": statistics.median(durable) / units["write"],
        "steps": statistics.mean(steps) / quiet if steps else 1.0,
        "peak_rss": memory.peak(),
    }


Done = Callable[[], bool]
Save = Callable[[dict[str, Any], int], Done]


def _at_once() -> bool:
    return True


@contextmanager
def _manager(folder: Path, state: dict[str, Any], **options: Any) -> Iterator[Save]:
    from artifactstore import CheckpointManager

    background = options.get("background")
    with CheckpointManager({"storage_path": folder / "store"}, staging=state if background else None, **options) as to:

        def save(state: dict[str, Any], number: int) -> Done:
            context = {"request_id": f"step-{number}", "step": number, "state": {"model": state}}
            if not background:
                to.save_checkpoint(context)
                return _at_once
            return to.save_checkpoint(context, wait=False).durable.done

        yield save


@contextmanager
def _one_file(folder: Path, write: Callable[[dict[str, Any], Path], object]) -> Iterator[Save]:
    def save(state: dict[str, Any], number: int) -> Done:
        path = folder / f"{number}.model"
        write(state, path)
        _sync(path)
        return _at_once

    yield save


def _safetensors(folder: Path, _state: dict[str, Any]) -> Any:
    from safetensors.torch import save_file

    return _one_file(folder, save_file)


def _torch_save(folder: Path, _state: dict[str, Any]) -> Any:
    import torch

    return _one_file(folder, torch.save)


@contextmanager
def _clone(_folder: Path, _state: dict[str, Any]) -> Iterator[Save]:
    def save(state: dict[str, Any], _number: int) -> Done:
        {name: tensor.clone() for name, tensor in state.items()}
        return _at_once

    yield save


@contextmanager
def _dcp(folder: Path, _state: dict[str, Any]) -> Iterator[Save]:
    import torch.distributed.checkpoint as dcp

    def save(state: dict[str, Any], number: int) -> Done:
        dcp.save(state, checkpoint_id=folder / str(number))
        return _at_once

    yield save


@contextmanager
def _dcp_async(folder: Path, _state: dict[str, Any], kind: str) -> Iterator[Save]:
    import torch.distributed as dist
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.state_dict_saver import AsyncCheckpointerType

    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=0, world_size=1)

    def save(state: dict[str, Any], number: int) -> Done:
        kinds = {"thread": AsyncCheckpointerType.THREAD, "process": AsyncCheckpointerType.PROCESS}
        future = dcp.async_save(state, checkpoint_id=folder / str(number), async_checkpointer_type=kinds[kind])
        return future.done

    yield save
    dist.destroy_process_group()


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


CONTENDERS: dict[str, Callable[..., Any]] = {
    "CheckpointManager, process": lambda folder, state: _manager(folder, state, background="process"),
    "CheckpointManager, thread": lambda folder, state: _manager(folder, state, background="thread"),
    "CheckpointManager, waits": _manager,
    "safetensors save_file + fsync": _safetensors,
    "torch.save + fsync": _torch_save,
    "DCP save": _dcp,
    "DCP async_save, thread": lambda folder, state: _dcp_async(folder, state, "thread"),
    "DCP async_save, process": lambda folder, state: _dcp_async(folder, state, "process"),
    "clone, nothing written": _clone,
}


if __name__ == "__main__":
    print(json.dumps(_measured(sys.argv[1], Path(sys.argv[2]))))
