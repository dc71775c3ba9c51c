"""Direct: files read past the page cache, into aligned memory or, by GPUDirect Storage, into that of a GPU

open(2), O_DIRECT; https://docs.rapids.ai/api/kvikio. Both only where asked for: they win on fast disks for files that
are read once, and lose what the page cache would have kept.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from artifactstore.ops.transfer.source import looking_at
from artifactstore.tensors.pieces import Piece, Seen

ALIGNED = 4096
Reader = Callable[[Path, torch.Tensor, int], int]


@contextmanager
def past_cache(file: Seen, *, wanted: bool) -> Iterator[int | None]:
    """A descriptor that reads past the page cache, None where the file system has no such thing or nobody wants it"""
    fd = None
    if wanted:
        with suppress(OSError, AttributeError):
            fd = os.open(file.path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
    try:
        yield fd if fd is not None and file.is_same(fd) else None
    finally:
        if fd is not None:
            os.close(fd)


def read_pages(piece: Piece, fd: int, view: memoryview, low: int, high: int) -> int:
    """Fill aligned memory with [low, high) of a file, in whole pages, of the last of which it may have a part; calls"""
    begin, end, calls = low, -(-high // ALIGNED) * ALIGNED, 0
    while low < high:
        with looking_at(Path(piece.name)):
            count = os.preadv(fd, [view[low - begin : end - begin]], low)
        calls += 1
        if count < min(ALIGNED, high - low):
            raise piece.damaged()
        # what ends inside a page is read again from its start
        low += count if low + count >= high else count // ALIGNED * ALIGNED
    return calls


@cache
def gpu_reader() -> Reader | None:
    """Fills device memory from a file, from an offset, and tells how many bytes came; None without GPUDirect Storage

    kvikio also reads where there is none, but then through buffers of its own, which ours are for.
    """
    try:
        kvikio: Any = import_module("kvikio")
        properties = import_module("kvikio.cufile_driver").properties
        if properties.is_gds_available is not True:
            return None
    except Exception:  # noqa: BLE001  # whatever a driver raises, there are other ways
        return None

    def read(path: Path, into: torch.Tensor, offset: int) -> int:
        with kvikio.CuFile(str(path), "r") as file:
            return int(file.read(into, into.numel(), offset))

    return read
