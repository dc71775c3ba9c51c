"""Direct: files read past the page cache, into aligned memory or, by GPUDirect Storage, into that of a GPU

open(2), O_DIRECT; https://docs.rapids.ai/api/kvikio. Both only where asked for: they win on fast disks for files that
are read once, and lose what the page cache would have kept.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

ALIGNED = 4096
Reader = Callable[[Path, torch.Tensor, int], int]


def open_direct(path: Path) -> int | None:
    """A descriptor that reads past the page cache, None where the file system has no such thing"""
    with suppress(OSError, AttributeError):
        return os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
    return None


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
