"""Pinned: memory that the driver keeps in place, so that the copy engines of a GPU read it without the CPU"""

import logging
import mmap
import os
from contextlib import suppress
from functools import cache
from typing import Any

import torch

from artifactstore.core.units import format_size
from artifactstore.ops.transfer.buffers import BufferPool

# Of one process, all its loads together.
_BUDGET = 1 << 30
_CUDA: Any = torch.cuda  # its functions have no types
_LOG = logging.getLogger(__name__)


def pin(memory: torch.Tensor) -> str | None:
    """Ask the driver to keep the pages of a CPU tensor where they are; why it does not, None when it does"""
    code = int(_CUDA.cudart().cudaHostRegister(memory.data_ptr(), memory.nbytes, 0))
    if code == 0:
        return None
    # the runtime hands its last error to whoever launches next
    with suppress(RuntimeError):
        torch.zeros(1, device="cuda")
    return (
        f"The driver does not pin {format_size(memory.nbytes)} (CUDA error {code}), so copies between CPU and GPU are "
        "slow; raise the limit (ulimit -l)"
    )


@cache
def pool(*, pinned: bool) -> BufferPool:
    """The buffers through which this process loads to devices: made as they are needed, kept, and bounded"""
    return BufferPool(_BUDGET, _pin if pinned else None)


def _pin(area: mmap.mmap) -> None:
    refused = pin(torch.frombuffer(area, dtype=torch.uint8))
    if refused is not None:
        _LOG.warning(refused)


# A child has its parent's buffers but none of the threads that use them.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=pool.cache_clear)
