"""Loading: tensors of a 2 GB model in four files into memory of the CPU, and of 20,000 small ones

As a child, `loading.py CONTENDER FOLDER` loads once and prints its seconds. What is `into` fills memory that
exists and was touched; `fresh` makes tensors and reads every byte of them; `lazy` returns tensors that may still be
on the disk. Before each child the files are in the page cache (`warm`) or not (`cold`).
"""

import importlib.util
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

SHARDS, SMALL, SMALL_BYTES = 4, 20_000, 64 << 10
MADE = "model-{0:05d}-of-{1:05d}.safetensors"


def run(folder: Path, rounds: int) -> dict[str, object]:
    """Seconds and peak memory by file set, warmth and contender"""
    from benchmarks import measure

    found: dict[str, object] = {}
    for name, make in SETS.items():
        place = folder / name.replace(" ", "-")
        make(place / "model")
        _prepare(place)
        for warmth in WARMTHS:
            contenders = {
                what: lambda what=what, p=place, w=warmth: _child(what, p, w)
                for what in CONTENDERS
                if _reads(what, place).exists()
            }
            samples = measure.interleaved(contenders, rounds)
            found[f"{name}, {warmth}"] = measure.as_json(samples)
        found[f"{name}, bytes"] = sum(path.stat().st_size for path in (place / "model").iterdir())
        shutil.rmtree(place)
    return found


def _child(what: str, place: Path, warmth: str):
    from benchmarks import measure

    at = _reads(what, place)
    for path in at.rglob("*") if at.is_dir() else [at]:
        if path.is_file():
            _warm(path) if warmth == "warm" else _cool(path)
    return measure.inside("loading", what, place)


def _reads(what: str, place: Path) -> Path:
    """The files that a contender reads"""
    return place / READ.get(what.partition(" ")[0], "model")


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


def _large(folder: Path) -> None:
    from benchmarks.models import shapes

    folder.mkdir(parents=True)
    names = shapes()
    for shard in range(SHARDS):
        _write(folder / MADE.format(shard + 1, SHARDS), names[shard::SHARDS], seed=shard)


def _small(folder: Path) -> None:
    folder.mkdir(parents=True)
    names = [(f"experts.{number}.weight", (SMALL_BYTES // 2,)) for number in range(SMALL)]
    _write(folder / MADE.format(1, 1), names, seed=0)


def _write(path: Path, shapes: list[tuple[str, tuple[int, ...]]], seed: int) -> None:
    import torch
    from safetensors.torch import save_file

    random = torch.Generator().manual_seed(seed)
    state = {
        name: torch.empty(shape, dtype=torch.int16).random_(generator=random).view(torch.bfloat16)
        for name, shape in shapes
    }
    save_file(state, path)


def _prepare(place: Path) -> None:
    """The same tensors as every contender wants them"""
    import torch
    import torch.distributed.checkpoint as dcp
    from safetensors.torch import load_file

    from artifactstore import Settings, Store

    state = {name: tensor for path in sorted((place / "model").iterdir()) for name, tensor in load_file(path).items()}
    torch.save(state, place / "model.pt")
    dcp.save(state, checkpoint_id=place / "dcp")
    with Store.init(str(place / "store"), settings=Settings(attested=str(place / "attested.sqlite"))) as store:
        store.add([place / "model"], name="m")
        # what was written a moment ago is not vouched for
        time.sleep(3)
        store.load("m")
    if importlib.util.find_spec("tensorizer"):
        from tensorizer import TensorSerializer

        serializer = TensorSerializer(str(place / "model.tensors"))
        try:
            serializer.write_state_dict(state)
            serializer.close()
        except RuntimeError as e:
            # of 20,000 tensors it says "Metadata overflow"
            print(f"tensorizer cannot write these: {e}", flush=True)
            (place / "model.tensors").unlink()


def _targets(place: Path) -> dict[str, object]:
    """Memory for all tensors, touched"""
    import torch
    from safetensors import safe_open

    found = {}
    for path in sorted((place / "model").iterdir()):
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118  # its own
                found[name] = torch.zeros(file.get_slice(name).get_shape(), dtype=torch.bfloat16)
    return found


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
    from artifactstore import Settings, Store

    with Store.open(str(place / "store"), settings=Settings(attested=str(place / "attested.sqlite"))) as store:
        into = _targets(place) if kind == "into" else {}
        began = time.perf_counter()
        if kind == "into":
            store.load_into(into, "m", verify=verify)
        else:
            loaded = store.load("m", verify=verify)
            if kind == "fresh":
                _touch(loaded)
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


def _tensorizer(place: Path, *, verify: bool) -> float:
    from tensorizer import TensorDeserializer

    began = time.perf_counter()
    with TensorDeserializer(str(place / "model.tensors"), device="cpu", verify_hash=verify) as loaded:
        dict(loaded)
    return time.perf_counter() - began


SETS = {"300 tensors in 4 files": _large, "20,000 tensors in one file": _small}
WARMTHS = ("warm", "cold")
# what a contender reads, by its first word; the others read the safetensors files
READ = {"store": "store/blobs", "DCP": "dcp", "torch.load": "model.pt", "tensorizer": "model.tensors"}
RAW = "raw read, one thread"
CONTENDERS: dict[str, Callable[[Path], float]] = {
    RAW: _raw,
    "store into, attested": lambda place: _store(place, "once", "into"),
    "store into, verified": lambda place: _store(place, "always", "into"),
    "store into, never": lambda place: _store(place, "never", "into"),
    "plain files into": lambda place: _plain(place, "into"),
    "safetensors into": lambda place: _safetensors(place, "into"),
    "DCP into": _dcp,
    "store lazy, attested": lambda place: _store(place, "once", "lazy"),
    "plain files lazy": lambda place: _plain(place, "lazy"),
    "safetensors lazy": lambda place: _safetensors(place, "lazy"),
    "torch.load mmap": lambda place: _torch(place, mmap=True),
    "store fresh, verified": lambda place: _store(place, "always", "fresh"),
    "safetensors fresh": lambda place: _safetensors(place, "fresh"),
    "torch.load": lambda place: _torch(place, mmap=False),
    "tensorizer fresh": lambda place: _tensorizer(place, verify=False),
    "tensorizer fresh, verified": lambda place: _tensorizer(place, verify=True),
}


def main(what: str, place: str) -> None:
    print(CONTENDERS[what](Path(place)))


if __name__ == "__main__":
    main(*sys.argv[1:])
