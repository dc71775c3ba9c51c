"""Device: one loader, saver or hash on a GPU, measured in a process of its own; `device.py WHAT JOB`

A job is JSON, see Job; what was measured is printed as JSON, on the last line. The limit that figures are held against,
pinned memory copied to the device in pieces of 64 MiB, is measured in the same process, after what is held against it.
"""

import json
import os
import platform
import shutil
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import memory, models, peers
from benchmarks.loading import NEW, OLD, open_store, stock

READERS = (4, 8, 16)
_BYTES = 2 << 30  # that the limits are measured with
_SAVES = {"all": 4, "tenth": 3, "nothing": 3}


@dataclass(frozen=True)
class Job:
    """place: the folder of a file set, whose name is `of`; piece: bytes; old, new: the sums of its versions"""

    place: str
    of: str = ""
    device: str = "cuda:0"
    repeats: int = 7
    piece: int = 64 << 20
    old: int = 0
    new: int = 0

    @property
    def folder(self) -> Path:
        return Path(self.place)

    @property
    def paths(self) -> list[Path]:
        return sorted((self.folder / "model").iterdir())

    @property
    def cuda(self) -> bool:
        return self.device.startswith("cuda")


def _wait(job: Job) -> None:
    """Until the device has done what it was asked"""
    if job.cuda:
        import torch

        torch.cuda.synchronize(job.device)


def _used(job: Job) -> int:
    import torch

    if not job.cuda:
        return 0
    free, total = torch.cuda.mem_get_info(job.device)
    return total - free


@contextmanager
def _watched(job: Job) -> Iterator[list[int]]:
    """A list whose only number is, after the block, how much more device memory was in use at most, whoever took it"""
    import torch

    if job.cuda:
        torch.cuda.empty_cache()
    before, most, over = _used(job), [0], threading.Event()

    def look() -> None:
        while not over.wait(0.002):
            most[0] = max(most[0], _used(job) - before)

    watching = threading.Thread(target=look, daemon=True)
    watching.start()
    try:
        yield most
        most[0] = max(most[0], _used(job) - before)
    finally:
        over.set()
        watching.join()


def _timed(job: Job, work: Callable[[], object]) -> float:
    _wait(job)
    began = time.perf_counter()
    work()
    _wait(job)
    return time.perf_counter() - began


def _limit(job: Job, *, up: bool) -> float:
    """Bytes a second between pinned memory and the device: the best of some runs"""
    import torch

    host = [torch.empty(job.piece, dtype=torch.uint8, pin_memory=job.cuda).fill_(1) for _ in range(2)]
    there = [torch.empty(job.piece, dtype=torch.uint8, device=job.device).fill_(2) for _ in range(2)]
    into, source = (there, host) if up else (host, there)
    count = max(_BYTES // job.piece, 1) if job.cuda else 4

    def copy() -> None:
        for number in range(count):
            into[number % 2].copy_(source[number % 2], non_blocking=True)

    return count * job.piece / min(_timed(job, copy) for _ in range(6))


def _sum(tensors: Mapping[str, Any]) -> int:
    """What `models.write` told, of tensors on whatever device"""
    import torch

    sums = [one.reshape(-1).view(torch.int16).sum(dtype=torch.int64) for one in tensors.values()]
    return int(torch.stack(sums).sum())


def _check(tensors: Mapping[str, Any], total: int) -> None:
    if _sum(tensors) != total:
        raise RuntimeError("What was loaded is not what was written")


def loads(job: Job, what: str) -> dict[str, Any]:
    """Seconds of the first load of a process and of later ones, and the memory that they took"""
    load, seconds, nbytes = LOADS[what](job), [], 0
    before = memory.resident()
    memory.forget_peak()
    for number in range(1 + job.repeats):
        loaded: list[peers.Tensors] = []
        seconds.append(_timed(job, lambda into=loaded: into.append(load())))
        if number == 0:
            _check(loaded[0], job.old)
            nbytes = sum(one.nbytes for one in loaded[0].values())
        loaded.clear()
    host = memory.peak() - before
    with _watched(job) as device:
        held = load()
        _wait(job)
    del held
    limit, later = _limit(job, up=True), statistics.median(seconds[1:])
    return {
        "first": seconds[0], "later": later, "best": min(seconds[1:]), "gbps": nbytes / later / 1e9,
        "limit_gbps": limit / 1e9, "of_limit": nbytes / later / limit, "host": host, "device": device[0],
    }  # fmt: skip


def _store(job: Job, verify: str, readers: int, *, on_cpu: bool = False) -> Callable[[], peers.Tensors]:
    store = open_store(job.folder, readers)
    if not on_cpu:
        return lambda: store.load(OLD, device=job.device, verify=verify)
    from artifactstore.core.names import Reference
    from artifactstore.tensors import opening

    loading = replace(opening.loading_of(store.depot.settings, verify, job.device), engine_of=_hashing_on_cpu)
    version = store.depot.catalog.versions.resolve(Reference.parse(OLD))
    return lambda: opening.open_version(store.depot, version.id, loading).load()


def _hashing_on_cpu(device: Any) -> Any:
    from artifactstore.tensors.engine import CudaEngine, engine_of

    engine = engine_of(device)
    if isinstance(engine, CudaEngine):
        engine.hash = None
    return engine


def _into(job: Job, readers: int) -> Callable[[], peers.Tensors]:
    store = open_store(job.folder, readers)
    into = dict(store.load(OLD, device=job.device))

    def load() -> peers.Tensors:
        store.load_into(into, OLD)
        return into

    return load


def _prefetch(job: Job) -> Callable[[], peers.Tensors]:
    store = open_store(job.folder)

    def load() -> peers.Tensors:
        with store.prefetch(OLD, device=job.device) as coming:
            return dict(coming)

    return load


def _plain(job: Job) -> Callable[[], peers.Tensors]:
    from artifactstore.tensors.opening import open_plain

    return lambda: open_plain(job.folder / "model", device=job.device).load()


def _load_file(job: Job) -> Callable[[], peers.Tensors]:
    from safetensors.torch import load_file

    return lambda: {name: one for path in job.paths for name, one in load_file(path, device=job.device).items()}


def _peer(load: Callable[..., peers.Tensors], job: Job) -> Callable[[], peers.Tensors]:
    return partial(load, job.paths, job.device)


def _stores(readers: int) -> dict[str, Callable[[Job], Callable[[], peers.Tensors]]]:
    return {
        f"store, never verified, {readers} readers": lambda job: _store(job, "never", readers),
        f"store, attested, {readers} readers": lambda job: _store(job, "once", readers),
        f"store, verified on the GPU, {readers} readers": lambda job: _store(job, "always", readers),
        f"store, verified on the CPU, {readers} readers": lambda job: _store(job, "always", readers, on_cpu=True),
        f"store into, attested, {readers} readers": lambda job: _into(job, readers),
    }


# of small tensors, the fewest and the most readers are enough
MORE = {what for readers in READERS[1:-1] for what in _stores(readers)}
LOADS: dict[str, Callable[[Job], Callable[[], peers.Tensors]]] = {
    **{what: load for readers in READERS for what, load in _stores(readers).items()},
    "store prefetch, attested": _prefetch,
    "plain files": _plain,
    "safetensors load_file": _load_file,
    peers.PREFETCH: partial(_peer, peers.prefetch),
    "fastsafetensors": partial(_peer, peers.fastsafetensors),
    "Run:ai streamer": partial(_peer, peers.run_ai),
    "InstantTensor": partial(_peer, peers.instanttensor),
}


def switch(job: Job) -> dict[str, Any]:
    """Seconds of a load, of one into tensors that exist, and of a switch to a version with a tenth of other bytes"""
    store = open_store(job.folder)
    into = dict(store.load(OLD, device=job.device))
    fresh = [_timed(job, lambda: store.load(OLD, device=job.device)) for _ in range(1 + job.repeats)][1:]
    whole = [_timed(job, lambda: store.load_into(into, OLD)) for _ in range(1 + job.repeats)][1:]
    seconds, reports = [], []
    for number in range(2 * job.repeats):
        refs = (OLD, NEW) if number % 2 == 0 else (NEW, OLD)
        seconds.append(_timed(job, lambda refs=refs: reports.append(store.switch(into, *refs))))
        if number < 2:
            _check(into, (job.new, job.old)[number])
    later = statistics.median(seconds[1:])
    return {
        "load": statistics.median(fresh), "into": statistics.median(whole), "switch": later,
        "of_load": later / statistics.median(fresh), "of_into": later / statistics.median(whole),
        "bytes": reports[0].nbytes, "read_bytes": reports[0].read_bytes,
    }  # fmt: skip


def hashing(job: Job) -> dict[str, Any]:
    """Bytes a second that are hashed on the device, of pieces side by side and one by one, and on a CPU"""
    import torch
    from blake3 import blake3

    from artifactstore.core.digest import Digest
    from artifactstore.tensors import device_hash
    from artifactstore.tensors.dtypes import view_bytes

    began = time.perf_counter()
    if not device_hash.supported(torch.device(job.device)):
        raise ImportError("No kernels run on this device; Triton, its compiler and a driver are needed")
    ready = time.perf_counter() - began
    count = 32 if job.cuda else 2
    pieces = [torch.randint(0, 256, (job.piece,), dtype=torch.uint8, device=job.device) for _ in range(count)]
    host = pieces[-1].cpu()
    if device_hash.digests(pieces)[-1] != Digest.of(view_bytes(host)):
        raise RuntimeError("The device has found another digest than the CPU")
    total = count * job.piece
    many = min(_timed(job, lambda: device_hash.digests(pieces)) for _ in range(job.repeats))
    each = min(_timed(job, lambda: [device_hash.digests([one]) for one in pieces]) for _ in range(job.repeats))
    alone = min(_timed(job, lambda: blake3(view_bytes(host)).digest()) for _ in range(job.repeats))
    return {
        "ready_s": ready, "together_gbps": total / many / 1e9, "one_by_one_gbps": total / each / 1e9,
        "cpu_thread_gbps": job.piece / alone / 1e9,
    }  # fmt: skip


def saving(job: Job) -> dict[str, Any]:
    """How long a trainer stands still while its state is copied, in copies of it to pinned memory"""
    import torch

    from artifactstore import CheckpointManager

    state = {
        name: torch.empty(shape, dtype=torch.int16, device=job.device).random_().view(torch.bfloat16)
        for name, shape in models.shapes()
    }
    some = models.tenth(models.shapes())
    copy = _copy_seconds(job, state)
    before = memory.resident()
    memory.forget_peak()
    blocked: dict[str, list[float]] = {what: [] for what in _SAVES}
    durable: dict[str, list[float]] = {what: [] for what in _SAVES}
    place = job.folder / "saves"
    with CheckpointManager({"storage_path": place}, staging=state) as manager:
        for number, what in enumerate(what for what, times in _SAVES.items() for _ in range(times)):
            for name, tensor in state.items():
                if what == "all" or (what == "tenth" and name in some):
                    tensor.view(torch.int16).add_(1)
            _wait(job)
            began = time.perf_counter()
            context = {"request_id": f"step-{number}", "step": number, "state": {"model": state}}
            ticket = manager.save_checkpoint(context, wait=False)
            blocked[what].append(time.perf_counter() - began)
            ticket.durable.result(timeout=120)
            durable[what].append(time.perf_counter() - began)
    later = {what: statistics.median(times[1:]) for what, times in blocked.items()}
    shutil.rmtree(place)
    return {
        "bytes": sum(one.nbytes for one in state.values()), "copy": copy, "first": blocked["all"][0] / copy,
        **{what: seconds / copy for what, seconds in later.items()}, "host": memory.peak() - before,
        **{f"durable_{what}": statistics.median(times[1:]) for what, times in durable.items()},
        "down_gbps": _limit(job, up=False) / 1e9,
    }  # fmt: skip


def _copy_seconds(job: Job, state: Mapping[str, Any]) -> float:
    """Of a state into pinned memory that exists and was touched"""
    import torch

    flat = torch.empty(sum(one.nbytes for one in state.values()), dtype=torch.uint8, pin_memory=job.cuda).fill_(0)
    into, at = {}, 0
    for name, tensor in state.items():
        into[name] = flat[at : at + tensor.nbytes].view(tensor.dtype).view(tensor.shape)
        at += tensor.nbytes

    def copy() -> None:
        for name, tensor in state.items():
            into[name].copy_(tensor, non_blocking=True)

    return statistics.median([_timed(job, copy) for _ in range(6)][1:])


def probe(job: Job) -> dict[str, Any]:
    """What there is to measure on, or why there is nothing"""
    import torch

    found = {"torch": torch.__version__, "python": platform.python_version(), "system": platform.platform()}
    if not job.cuda:
        return {"device": job.device, "cores": os.cpu_count(), **found}
    if not torch.cuda.is_available():
        return {"absent": "torch sees none" if torch.version.cuda else "this torch was built without CUDA"}
    about = torch.cuda.get_device_properties(job.device)
    return {"device": about.name, "memory": about.total_memory, "cores": os.cpu_count(), **found}


def prepare(job: Job) -> dict[str, Any]:
    """Make a file set and its store, all in the page cache then"""
    return dict(stock(job.folder, job.of))


WORK: dict[str, Callable[[Job], dict[str, Any]]] = {
    "probe": probe,
    "prepare": prepare,
    "switch": switch,
    "hashing": hashing,
    "saving": saving,
}


def main(what: str, job: str) -> None:
    """One measurement"""
    asked = Job(**json.loads(job))
    if what not in {"probe", "prepare"}:
        import torch

        # what a process that is up has done
        torch.zeros(1, device=asked.device)
        for room in ("opening", "switch"):
            import_module(f"artifactstore.tensors.{room}")
    print(json.dumps(WORK[what](asked) if what in WORK else loads(asked, what)))


if __name__ == "__main__":
    main(*sys.argv[1:])
