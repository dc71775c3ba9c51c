"""Loading: tensors of a 2 GB model in four files into memory of the CPU, and of 20,000 small ones

As a child, `loading.py CONTENDER FOLDER` loads once and prints its seconds. What is `into` fills memory that
exists and was touched; `fresh` makes tensors and reads every byte of them; `lazy` returns tensors that may still be
on the disk; `switch` makes a model of one version another, of which a tenth of the bytes differs. Before each child the
files are in the page cache (`warm`) or not (`cold`). `loading.py prepare FOLDER SET` makes the files.
"""

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import measure, models, peers  # the folder is no installed package

OLD, NEW = "m:1", "m:2"


def run(folder: Path, rounds: int) -> dict[str, object]:
    """Seconds and peak memory by file set, warmth and contender, and why peers did not take part"""
    found: dict[str, object] = {}
    for name in SETS:
        place = folder / name.replace(" ", "-")
        # In its own process: a child's peak memory is at least what its parent had when it was born.
        told = measure.told("loading", "prepare", place, name)
        absent = told["absent"]
        for warmth in WARMTHS:
            contenders = {
                what: lambda what=what, p=place, w=warmth, a=absent: _child(what, p, w, a) for what in CONTENDERS
            }
            found[f"{name}, {warmth}"] = measure.as_json(measure.interleaved(contenders, rounds))
        found[f"{name}, bytes"], found[f"{name}, absent"] = told["bytes"], absent
        for what, why in absent.items():
            print(f"  {name}: without {what}: {why}", flush=True)
        shutil.rmtree(place)
    return found


def _child(what: str, place: Path, warmth: str, absent: dict[str, str]) -> measure.Sample | None:
    if what in absent or what.partition(" ")[0] in absent:
        return None
    at = place / READ.get(what, READ.get(what.partition(" ")[0], "model"))
    for path in at.rglob("*") if at.is_dir() else [at]:
        if path.is_file():
            _warm(path) if warmth == "warm" else _cool(path)
    try:
        return measure.inside("loading", what, place)
    except RuntimeError as e:
        if not peers.is_peer(what):
            raise
        absent[what] = peers.reason(e)
        return None


def _warm(path: Path) -> None:
    with path.open("rb", buffering=0) as file:
        while file.read(8 << 20):
            pass


def _cool(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)


def prepare(place: Path, name: str) -> dict[str, object]:
    """The same tensors as every contender wants them; their bytes, and which peers cannot take part"""
    import torch
    import torch.distributed.checkpoint as dcp
    from safetensors.torch import load_file

    made = stock(place, name)
    paths = sorted((place / "model").iterdir())
    state = {name: tensor for path in paths for name, tensor in load_file(path).items()}
    torch.save(state, place / "model.pt")
    dcp.save(state, checkpoint_id=place / "dcp")
    return {"absent": peers.prepare(place, state), "bytes": made["bytes"]}


def stock(place: Path, name: str) -> dict[str, int]:
    """A model's files, and a store with it and the next version of it, of which a tenth differs, all attested

    Their bytes come back, and what `models.write` told of both versions.
    """
    shapes, count = SETS[name]
    old = models.write_shards(place / "model", shapes(), count)
    new = models.write_shards(place / "next/model", shapes(), count, changed=models.tenth(shapes()))
    with open_store(place, new=True) as store:
        for model in (place / "model", place / "next/model"):
            store.add([model], name="m")
        # what was written a moment ago is not vouched for
        time.sleep(3)
        for ref in (OLD, NEW):
            store.load(ref)
    shutil.rmtree(place / "next")
    return {"old": old, "new": new, "bytes": sum(path.stat().st_size for path in (place / "model").iterdir())}


def open_store(place: Path, readers: int | None = None, *, new: bool = False) -> Any:
    """The store of a place; readers: threads of its loads, where not those that it comes with"""
    from artifactstore import Settings, Store

    settings = Settings(attested=str(place / "attested.sqlite"))
    settings = settings if readers is None else replace(settings, readers=readers)
    return (Store.init if new else Store.open)(str(place / "store"), settings=settings)


def _shapes(place: Path) -> dict[str, tuple[Path, list[int]]]:
    """The file and the shape of each tensor"""
    from safetensors import safe_open

    found = {}
    for path in sorted((place / "model").iterdir()):
        with safe_open(path, "pt") as file:
            found |= {name: (path, file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118  # its own
    return found


def _targets(place: Path) -> dict[str, object]:
    """Memory for all tensors, touched"""
    import torch

    return {name: torch.zeros(shape, dtype=torch.bfloat16) for name, (_, shape) in _shapes(place).items()}


def _touch(tensors: dict) -> None:
    import torch

    for tensor in tensors.values():
        torch.sum(tensor.view(torch.uint8).view(torch.int64)[:: 4096 // 8])


def _raw(place: Path) -> float:
    """Every file into memory that exists, by one thread"""
    paths = sorted((place / "model").iterdir())
    buffers = [bytearray(path.stat().st_size) for path in paths]
    began = time.perf_counter()
    for path, buffer in zip(paths, buffers, strict=True):
        with path.open("rb", buffering=0) as file:
            view = memoryview(buffer)
            while view:
                view = view[file.readinto(view[: 8 << 20]) :]
    return time.perf_counter() - began


def _store(place: Path, verify: str, kind: str) -> float:
    with open_store(place) as store:
        into = _targets(place) if kind == "into" else {}
        began = time.perf_counter()
        if kind == "into":
            store.load_into(into, OLD, verify=verify)
        else:
            loaded = store.load(OLD, verify=verify)
            if kind == "fresh":
                _touch(loaded)
        return time.perf_counter() - began


def _switch(place: Path) -> float:
    with open_store(place) as store:
        into = _targets(place)
        store.load_into(into, OLD)
        began = time.perf_counter()
        store.switch(into, OLD, NEW)
        return time.perf_counter() - began


def _one(place: Path, what: str) -> float:
    """One tensor of all, in the middle; safetensors is told which file has it"""
    from safetensors import safe_open

    from artifactstore.tensors.opening import open_plain

    shapes = _shapes(place)
    name = sorted(shapes)[len(shapes) // 2]
    with open_store(place) as store:
        began = time.perf_counter()
        if what == "safetensors":
            with safe_open(shapes[name][0], "pt") as file:
                _touch({name: file.get_tensor(name)})
        else:
            opened = store.open(OLD) if what == "store" else open_plain(place / "model")
            _touch({name: opened.get_tensor(name)})
        return time.perf_counter() - began


def _plain(place: Path, kind: str) -> float:
    from artifactstore.tensors.opening import open_plain

    into = _targets(place) if kind == "into" else {}
    began = time.perf_counter()
    if kind == "into":
        open_plain(place / "model").load_into(into)
    else:
        open_plain(place / "model").load()
    return time.perf_counter() - began


def _safetensors(place: Path, kind: str) -> float:
    from safetensors.torch import load_file

    into = _targets(place) if kind == "into" else {}
    began = time.perf_counter()
    for path in sorted((place / "model").iterdir()):
        loaded = load_file(path)
        if kind == "into":
            for name, tensor in loaded.items():
                into[name].copy_(tensor)
        elif kind == "fresh":
            _touch(loaded)
    return time.perf_counter() - began


def _torch(place: Path, *, mmap: bool) -> float:
    import torch

    began = time.perf_counter()
    torch.load(place / "model.pt", mmap=mmap, weights_only=True)
    return time.perf_counter() - began


def _dcp(place: Path) -> float:
    import torch.distributed.checkpoint as dcp

    into = _targets(place)
    began = time.perf_counter()
    dcp.load(into, checkpoint_id=place / "dcp")
    return time.perf_counter() - began


def _our_dcp(place: Path) -> float:
    import torch.distributed.checkpoint as dcp

    from artifactstore.tensors.distributed import StoreReader

    with open_store(place) as store:
        into = _targets(place)
        began = time.perf_counter()
        dcp.load(into, storage_reader=StoreReader(store, OLD))
        return time.perf_counter() - began


def _snapshot(place: Path) -> float:
    into = _targets(place)
    began = time.perf_counter()
    peers.torchsnapshot(place / "snapshot", into)
    return time.perf_counter() - began


def _tensorizer(place: Path, *, verify: bool) -> float:
    began = time.perf_counter()
    peers.tensorizer(place / "model.tensors", verify=verify)
    return time.perf_counter() - began


def _streamed(place: Path, load: Callable[..., peers.Tensors]) -> float:
    paths = sorted((place / "model").iterdir())
    began = time.perf_counter()
    load(paths, "cpu")
    return time.perf_counter() - began


LARGE, SMALL = "300 tensors in 4 files", "20,000 tensors in one file"
SETS = {LARGE: (models.shapes, 4), SMALL: (models.small, 1)}
WARMTHS = ("warm", "cold")
# what a contender reads, by its first word; the others read the safetensors files
READ = {
    "store": "store/blobs",
    "DCP into, our reader": "store/blobs",
    "DCP": "dcp",
    "torch.load": "model.pt",
    "tensorizer": "model.tensors",
    "torchsnapshot": "snapshot",
}
RAW = "raw read, one thread"
CONTENDERS: dict[str, Callable[[Path], float]] = {
    RAW: _raw,
    "store into, attested": lambda place: _store(place, "once", "into"),
    "store into, verified": lambda place: _store(place, "always", "into"),
    "store into, never": lambda place: _store(place, "never", "into"),
    "plain files into": lambda place: _plain(place, "into"),
    "safetensors into": lambda place: _safetensors(place, "into"),
    "store switch, a tenth differs": _switch,
    "DCP into, our reader": _our_dcp,
    "DCP into": _dcp,
    "torchsnapshot into": _snapshot,
    "store lazy, attested": lambda place: _store(place, "once", "lazy"),
    "plain files lazy": lambda place: _plain(place, "lazy"),
    "safetensors lazy": lambda place: _safetensors(place, "lazy"),
    "store open, one tensor": lambda place: _one(place, "store"),
    "plain files open, one tensor": lambda place: _one(place, "plain"),
    "safetensors open, one tensor": lambda place: _one(place, "safetensors"),
    "torch.load mmap": lambda place: _torch(place, mmap=True),
    "store fresh, verified": lambda place: _store(place, "always", "fresh"),
    "safetensors fresh": lambda place: _safetensors(place, "fresh"),
    "torch.load": lambda place: _torch(place, mmap=False),
    "Run:ai streamer fresh": lambda place: _streamed(place, peers.run_ai),
    "fastsafetensors fresh": lambda place: _streamed(place, peers.fastsafetensors),
    peers.PREFETCH: lambda place: _streamed(place, peers.prefetch),
    "tensorizer fresh": lambda place: _tensorizer(place, verify=False),
    "tensorizer fresh, verified": lambda place: _tensorizer(place, verify=True),
}


# (what, to what, the aim for large tensors, for small ones)
AIMS = [
    ("store into, attested", RAW, "≤ 0.8 warm", "≤ 1.3 warm"),
    ("store into, verified", RAW, "≤ 1.9 warm, ≤ 1.2 cold", ""),
    ("store lazy, attested", "safetensors lazy", "≤ 1", "≤ 1"),
    ("store open, one tensor", "safetensors open, one tensor", "≤ 1", "≤ 1"),
    ("store switch, a tenth differs", "store into, attested", "≤ 0.15 warm", ""),
    ("DCP into, our reader", RAW, "≤ 1.0 warm", ""),
    ("DCP into, our reader", "DCP into", "≤ 0.2 warm", ""),
    ("store fresh, verified", "tensorizer fresh, verified", "≤ 0.5", ""),
]


def _import(what: str) -> None:
    """What a process that is up has imported: no contender is timed while it does"""
    first = what.partition(" ")[0]
    rooms = [f"artifactstore.tensors.{room}" for room in ("opening", "switch")] if first in {"store", "plain"} else []
    for module in ["torch", *rooms, *([peers.MODULES[first]] if first in peers.MODULES else [])]:
        import_module(module)


def main(what: str, place: str, *more: str) -> None:
    """Load once, or prepare a set"""
    if what == "prepare":
        print(json.dumps(prepare(Path(place), *more)))
        return
    if what != RAW:
        _import(what)
    print(CONTENDERS[what](Path(place)))


if __name__ == "__main__":
    main(*sys.argv[1:])
