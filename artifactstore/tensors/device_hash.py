"""Device hash: BLAKE3 of bytes that lie on a GPU, computed there, many pieces at once

A launch is one kernel for all chunks and one for every eight levels of the tree: three for a piece of 64 MiB, and no
more for a thousand of them. Triton is imported when a device is asked for.
"""

import os
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
import torch

from artifactstore.core.digest import Digest
from artifactstore.tensors.dtypes import as_bytes

_CHUNK = 1024
_ALIGNED = 16  # what one load of a lane takes
_CAPABILITY = (7, 0)  # of what Triton compiles for
_WARP = 32

Numbers = np.ndarray[Any, np.dtype[np.int64]]


@cache
def supported(device: torch.device) -> bool:
    """Whether digests are computed on this device, with all that needs: Triton, its compiler, a driver

    Found out once, with bytes whose digest is known, as a wrong one would condemn sound blobs. Never raises.
    """
    if device.type == "cpu" and not os.environ.get("TRITON_INTERPRET"):
        return False
    try:
        if device.type != ("cpu" if _kernels().INTERPRETED else "cuda"):
            return False
        if device.type == "cuda" and torch.cuda.get_device_capability(device) < _CAPABILITY:
            return False
        return _is_right(device)
    except Exception:  # noqa: BLE001 - whatever a compiler, a cache or a driver raises, the CPU can hash
        return False


def _is_right(device: torch.device) -> bool:
    """Whether pieces that take all the ways through the kernels have the digests of the CPU"""
    data = (np.arange(256 * _CHUNK + 5, dtype=np.uint32) * 2654435761 >> 24).astype(np.uint8)
    pieces = [data[:0], data[: 2 * _CHUNK + 5], data]
    found = digests([torch.from_numpy(piece).to(device) for piece in pieces])
    return found == [Digest.of(piece.data) for piece in pieces]


def digest(tensor: torch.Tensor) -> Digest:
    """BLAKE3 of the bytes of a tensor, on its device, which is supported"""
    return digests([tensor])[0]


def digests(tensors: Sequence[torch.Tensor]) -> list[Digest]:
    """BLAKE3 of the bytes of each, read back at once"""
    return read(launch(tensors)) if tensors else []


def read(launched: torch.Tensor) -> list[Digest]:
    """What a launch gave, when it is done"""
    return [Digest(row.tobytes()) for row in launched.cpu().view(torch.uint8).numpy()]


def launch(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    """Digests of one or more tensors of one supported device: a row of eight uint32 for each, there

    On the current stream, without waiting; meanwhile, a 32nd of their bytes is taken on the device. The tensors may be
    written or freed in the order of that stream.
    """
    kernels = _kernels()
    flats = [_aligned(as_bytes(tensor)) for tensor in tensors]
    lengths = np.array([flat.numel() for flat in flats], np.int64)
    counts = np.maximum(-(-lengths // _CHUNK), 1)
    addresses = np.array([flat.data_ptr() for flat in flats], np.int64)
    levels = [_chunks(addresses, lengths, counts, kernels.CHUNKS), *_joins(counts, kernels.VALUES)]
    device = flats[0].device
    jobs, *more = torch.split(_moved(np.concatenate(levels), device), [len(level) for level in levels])
    values = _values(int(counts.sum()), device)
    with torch.cuda.device(values.get_device()):
        _run(kernels.chunks, jobs, values, lanes=kernels.CHUNKS)
        for jobs in more:
            joined = _values(len(jobs), device)
            _run(kernels.join, jobs, values, joined, lanes=kernels.VALUES)
            values = joined
    return values


def _run(kernel: Any, jobs: torch.Tensor, *values: torch.Tensor, lanes: int) -> None:
    # Without floats, fusing them is said only because Triton warns of a default that will change.
    kernel[(len(jobs),)](jobs, *values, lanes, num_warps=lanes // _WARP, enable_fp_fusion=False)


def _kernels() -> Any:
    return import_module("artifactstore.tensors.device_kernels")


def _aligned(flat: torch.Tensor) -> torch.Tensor:
    return flat.clone() if flat.data_ptr() % _ALIGNED else flat


def _values(count: int, device: torch.device) -> torch.Tensor:
    return torch.empty(count, 8, dtype=torch.uint32, device=device)


def _moved(table: Numbers, device: torch.device) -> torch.Tensor:
    """The table on the device; from pinned memory, as a copy from other memory may wait for all the stream does"""
    found = torch.from_numpy(table)
    return found.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else found


def _chunks(addresses: Numbers, lengths: Numbers, counts: Numbers, width: int) -> Numbers:
    """Jobs of the first kernel; counts: of the chunks of each piece, whose values follow each other"""
    piece, at = _portions(counts, width)
    before = at * _CHUNK
    return np.stack([addresses[piece] + before, lengths[piece] - before, at, _starts(counts)[piece] + at], axis=1)


def _joins(counts: Numbers, width: int) -> Iterator[Numbers]:
    """Jobs of the second kernel, by level, until each piece has one value"""
    while counts.max() > 1:
        piece, at = _portions(counts, width)
        many = np.minimum(counts[piece] - at, width)
        yield np.stack([_starts(counts)[piece] + at, many, counts[piece] == many, np.zeros_like(at)], axis=1)
        counts = -(-counts // width)


def _portions(counts: Numbers, width: int) -> tuple[Numbers, Numbers]:
    """Each piece's count in portions of a width: the number of the piece, and where in it the portion begins"""
    portions = -(-counts // width)
    piece = np.repeat(np.arange(len(counts)), portions)
    return piece, (np.arange(len(piece)) - _starts(portions)[piece]) * width


def _starts(counts: Numbers) -> Numbers:
    return np.cumsum(counts) - counts
