"""Shared: tensors that other processes map, by CUDA IPC or, on the CPU, by the name of their memory"""

import logging
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.reduction import ForkingPickler
from typing import Any
from weakref import WeakValueDictionary

import torch

from artifactstore.core.errors import Unavailable

_LOG = logging.getLogger(__name__)
# these have no types
_TORCH: Any = torch.multiprocessing
_share_memory: Any = torch.Tensor.share_memory_
# By address: torch moves a tensor in memory of another kind, also shared, and unmaps it under whoever uses it.
_SHARED: "WeakValueDictionary[int, torch.Tensor]" = WeakValueDictionary()
_LOCK = threading.Lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_LOCK.acquire, after_in_parent=_LOCK.release, after_in_child=_LOCK.release)


@contextmanager
def _by_name() -> Iterator[None]:
    """Torch shares by names, not by descriptors, as who asks need not be a child of who answers"""
    with _LOCK:
        before = _TORCH.get_sharing_strategy()
        _TORCH.set_sharing_strategy("file_system")
        try:
            yield
        finally:
            _TORCH.set_sharing_strategy(before)


def share(tensors: Iterable[torch.Tensor]) -> None:
    """Move those of the CPU, whose addresses nobody has yet, to shared memory; raise Unavailable without room"""
    with _by_name():
        for tensor in tensors:
            if tensor.device.type == "cpu":
                try:
                    _share_memory(tensor)
                except RuntimeError as e:
                    message = f"{tensor.nbytes} bytes cannot be shared: {str(e)[:120]}; make room in shared memory"
                    raise Unavailable(message, code="memory", nbytes=tensor.nbytes) from e
                _SHARED[tensor.untyped_storage().data_ptr()] = tensor


def packed(tensors: Mapping[str, torch.Tensor]) -> dict[str, bytes]:
    """Those that others can map, each as `ForkingPickler` loads it; none is moved"""
    found, failed = {}, None
    with _by_name():
        for name, tensor in tensors.items():
            if tensor.is_cuda or _SHARED.get(tensor.untyped_storage().data_ptr()) is tensor:
                try:
                    found[name] = bytes(ForkingPickler.dumps(tensor))
                except RuntimeError as e:
                    failed = e
    if failed is not None:
        _LOG.warning("Some tensors cannot be given to other processes: %s", failed)
    return found
