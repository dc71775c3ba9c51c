"""Peers: other loaders of tensors, each where it can be imported, and why not where it cannot

safetensors 0.9 is not the release this project is built with: BENCH_SAFETENSORS names a folder that has it, made by
`pip install --no-deps --target FOLDER safetensors==0.9.0rc1`.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import Any

Tensors = dict[str, Any]
# by the first word of a contender: what has to be imported
MODULES = {
    "tensorizer": "tensorizer",
    "torchsnapshot": "torchsnapshot",
    "Run:ai": "runai_model_streamer",
    "fastsafetensors": "fastsafetensors",
    "InstantTensor": "instanttensor",
}
PREFETCH = "safetensors prefetch"


def is_peer(contender: str) -> bool:
    """Whether it may be absent"""
    return contender == PREFETCH or contender.partition(" ")[0] in MODULES


def prepare(place: Path, state: Tensors) -> dict[str, str]:
    """Write a state as peers want it; why each that cannot take part does not, by the first word of its contenders"""
    absent = {}
    for name, module in MODULES.items():
        try:
            import_module(module)
            WRITE.get(name, _nothing)(place, state)
        except Exception as e:  # noqa: BLE001  # whatever a peer raises
            absent[name] = reason(e)
    return absent


def reason(error: Exception | str) -> str:
    """The last line of what was said"""
    lines = str(error).strip().splitlines()
    return (lines[-1] if lines else type(error).__name__)[:200]


def _nothing(_place: Path, _state: Tensors) -> None:
    """It reads the safetensors files"""


def _write_tensorizer(place: Path, state: Tensors) -> None:
    from tensorizer import TensorSerializer

    path = place / "model.tensors"
    try:
        serializer = TensorSerializer(str(path))
        serializer.write_state_dict(state)
        serializer.close()
    except RuntimeError:
        # of 20,000 tensors it says "Metadata overflow"
        path.unlink()
        raise


def tensorizer(path: Path, *, verify: bool) -> Tensors:
    """All tensors of its own format"""
    from tensorizer import TensorDeserializer

    with TensorDeserializer(str(path), device="cpu", verify_hash=verify) as loaded:
        return dict(loaded)


def _write_snapshot(place: Path, state: Tensors) -> None:
    from torchsnapshot import Snapshot, StateDict

    Snapshot.take(str(place / "snapshot"), {"model": StateDict(**state)})


def torchsnapshot(folder: Path, into: Tensors) -> None:
    """Fill tensors from its own format"""
    from torchsnapshot import Snapshot, StateDict

    Snapshot(str(folder)).restore({"model": StateDict(**into)})


def run_ai(paths: Sequence[Path], device: str) -> Tensors:
    """All tensors of safetensors files, the caller's own"""
    from runai_model_streamer import SafetensorsStreamer

    with SafetensorsStreamer() as streamer:
        streamer.stream_files([str(path) for path in paths], device=device)
        return dict(streamer.get_tensors())


def fastsafetensors(paths: Sequence[Path], device: str) -> Tensors:
    """All tensors of safetensors files, through the memory of the CPU, as GPUDirect Storage is seldom there"""
    from fastsafetensors import fastsafe_open

    with fastsafe_open([str(path) for path in paths], device=device, nogds=True) as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # its own


def instanttensor(paths: Sequence[Path], device: str) -> Tensors:
    """All tensors of safetensors files in the page cache, the caller's own"""
    from instanttensor import BackendPolicy, safe_open

    with safe_open([str(path) for path in paths], "pt", device, backend=BackendPolicy.BUFFERED) as file:
        return dict(file.tensors())


def newest_safetensors() -> Any:
    """`safe_open` with `prefetch`; raise ImportError without"""
    if folder := os.environ.get("BENCH_SAFETENSORS"):
        sys.path.insert(0, folder)
    found = import_module("safetensors")
    if not hasattr(found.safe_open, "prefetch"):
        raise ImportError(f"safetensors {found.__version__} has no prefetch; BENCH_SAFETENSORS names no folder with it")
    return found.safe_open


def prefetch(paths: Sequence[Path], device: str) -> Tensors:
    """All tensors of safetensors files, every file under way at once"""
    return dict(_prefetched(newest_safetensors(), paths, device))


def _prefetched(safe_open: Any, paths: Sequence[Path], device: str) -> Iterator[tuple[str, Any]]:
    with ExitStack() as stack:
        files = [stack.enter_context(safe_open(str(path), framework="pt")) for path in paths]
        for loader in [stack.enter_context(file.prefetch(device=device)) for file in files]:
            yield from loader


WRITE: Mapping[str, Callable[[Path, Tensors], None]] = {
    "tensorizer": _write_tensorizer,
    "torchsnapshot": _write_snapshot,
}
