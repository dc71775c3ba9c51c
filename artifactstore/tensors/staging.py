"""Staging: a copy of a training state, in memory made and touched before, laid out as the files it becomes

Another process may map the same memory, where the system can; copies from CUDA go through its copy engine.
"""

import fnmatch
import mmap
import os
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import torch

from artifactstore.core.digest import Digest
from artifactstore.core.errors import Unavailable
from artifactstore.core.formats.base import FileInfo
from artifactstore.core.names import SafePath
from artifactstore.core.units import format_size
from artifactstore.ops.transfer.source import StagedFile
from artifactstore.tensors import document
from artifactstore.tensors.engine import Digests, digests_on
from artifactstore.tensors.misfits import is_plain
from artifactstore.tensors.pinned import pin
from artifactstore.tensors.save import Table, changes, table
from artifactstore.tensors.tree import StateTree

_ALIGN = 64
_CUDA: Any = torch.cuda  # its functions have no types
_AT_ONCE = 1 << 30
_SLACK = 1 << 20  # numbers and names in a state grow by some bytes from save to save


Key = tuple[str, str]


class Held(NamedTuple):
    """What a tensor was when it was copied"""

    begin: int
    end: int
    dtype: str
    address: int
    changes: int
    digest: Digest | None

    def has(self, other: "Held | None") -> bool:
        """Whether the same bytes would go to the same place"""
        return self.digest is not None and other is not None and self[:3] == other[:3] and self.digest == other.digest


class Staging:
    """Memory for one state. frozen: glob patterns of tensors that training does not change, copied once

    What a GPU hashes itself, and finds to be what was copied before, is not copied again.
    fd: the memory as a file that other processes may map, None where the system has no such thing. pinned: whether
    the GPU reads it without the CPU. Raise Unavailable when the memory is not to be had.
    """

    def __init__(
        self, nbytes: int, frozen: Iterable[str] = (), digests_on: Callable[[torch.device], Digests | None] = digests_on
    ) -> None:
        self.size = -(-(nbytes + _SLACK) // mmap.PAGESIZE) * mmap.PAGESIZE
        self.fd = _memory_file(self.size)
        try:
            self._map = _mapped(self.fd, self.size)
        except (OSError, ValueError, OverflowError) as e:
            raise Unavailable(
                f"No memory for a copy of the state, {format_size(self.size)}: {e}; save with wait=True", code="memory"
            ) from e
        self.memory = memoryview(self._map)
        self._bytes = torch.frombuffer(self._map, dtype=torch.uint8)
        self._bytes.fill_(0)  # a page that was never touched costs more than the copy into it
        self.pinned, self.warnings = _pin(self._bytes)
        # called or not, it happens once; what views the memory keeps it
        self.close = weakref.finalize(self, _let_go, self.fd, self._bytes.data_ptr() if self.pinned else None)
        self._frozen, self._digests_on = tuple(frozen), digests_on
        self._held: dict[tuple[str, str], Held] = {}
        self._streams: dict[torch.device, Any] = {}

    def stage(self, layout: "Layout") -> tuple[StagedFile, ...]:
        """Copy a state; it may change when this returns, while the files are read"""
        before, self._held = self._held, {}
        for device, stream in self._streams.items():
            stream.wait_stream(_CUDA.current_stream(device))
        hashed = self._hashed(layout)
        for path, begin, laid in layout.files:
            self.memory[begin : begin + len(laid.header)] = laid.header
            self._copy_all(path, laid, begin, before, hashed)
        for stream in self._streams.values():
            stream.synchronize()
        raw, end = layout.document, layout.size
        self.memory[end - len(raw) : end] = raw
        last = StagedFile(SafePath(document.PATH), FileInfo("other"), end - len(raw), len(raw))
        return (*(StagedFile(SafePath(path), laid.info, begin, laid.size) for path, begin, laid in layout.files), last)

    def _copy_all(
        self, path: str, laid: Table, begin: int, before: Mapping[Key, Held], hashed: Mapping[Key, Digest]
    ) -> None:
        for tensor, info in zip(laid.tensors, laid.info.tensors, strict=True):
            key, value = (path, tensor.name), tensor.value
            place = begin + info.begin, begin + info.end, info.dtype
            held = Held(*place, _address(value), changes(value), hashed.get(key))
            there = held.has(before.get(key)) or (before.get(key) == held and self._is_frozen(tensor.name))
            if held.begin < held.end and not there:
                self._copy(value, held.begin, held.end)
            self._held[key] = held

    def _hashed(self, layout: "Layout") -> dict[Key, Digest]:
        """Digests of what lies where it can be hashed faster than it is copied"""
        by_device: dict[torch.device, dict[Key, torch.Tensor]] = defaultdict(dict)
        for path, _, laid in layout.files:
            for one in laid.tensors:
                if isinstance(one.value, torch.Tensor) and is_plain(one.value) and not self._is_frozen(one.name):
                    by_device[one.value.device][path, one.name] = one.value.detach()
        found: dict[Key, Digest] = {}
        for device, values in by_device.items():
            if (digests := self._digests_on(device)) is not None:
                for some in _portions(values):
                    with suppress(torch.OutOfMemoryError):
                        found |= zip(some, digests([values[key] for key in some]), strict=True)
        return found

    def _copy(self, value: "torch.Tensor | np.ndarray[Any, Any]", begin: int, end: int) -> None:
        if isinstance(value, np.ndarray):
            np.frombuffer(self.memory[begin:end], dtype=value.dtype).reshape(value.shape)[...] = value
            return
        into = self._bytes[begin:end].view(value.dtype).view(value.shape)
        if value.device.type != "cuda":
            into.copy_(value.detach())
            return
        with _CUDA.stream(self._stream(value.device)):
            # a conjugate is made there, as the CPU would do it before the bytes have come
            into.copy_(value.detach().resolve_conj().resolve_neg(), non_blocking=True)

    def _stream(self, device: torch.device) -> Any:
        """A stream beside the one that trains, behind what that had been told when this state came"""
        if device not in self._streams:
            self._streams[device] = _CUDA.Stream(device)
            self._streams[device].wait_stream(_CUDA.current_stream(device))
        return self._streams[device]

    def _is_frozen(self, name: str) -> bool:
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self._frozen)


class Layout(NamedTuple):
    """Where the files of a state lie: (path, begin, file), the document after them, and the bytes of all"""

    files: list[tuple[str, int, Table]]
    document: bytes
    size: int


def _portions(values: Mapping[Key, torch.Tensor]) -> Iterator[list[Key]]:
    """Hashing takes memory of the device, a 32nd of what is hashed at once"""
    some: list[Key] = []
    nbytes = 0
    for key, value in values.items():
        some.append(key)
        nbytes += value.nbytes
        if nbytes >= _AT_ONCE:
            yield some
            some, nbytes = [], 0
    if some:
        yield some


def lay_out(tree: StateTree) -> Layout:
    """Files one after the other, each so that its tensors are aligned"""
    files, end = [], 0
    for path, tensors in tree.files.items():
        laid = table(tensors)
        begin = -(-(end + len(laid.header)) // _ALIGN) * _ALIGN - len(laid.header)
        files.append((path, begin, laid))
        end = begin + laid.size
    return Layout(files, tree.document, end + len(tree.document))


def _address(value: "torch.Tensor | np.ndarray[Any, Any]") -> int:
    return value.ctypes.data if isinstance(value, np.ndarray) else value.data_ptr()


def _memory_file(size: int) -> int | None:
    if not hasattr(os, "memfd_create"):
        return None
    fd = os.memfd_create("artstore-staging", os.MFD_CLOEXEC)
    with suppress(OSError):
        os.ftruncate(fd, size)
        return fd
    os.close(fd)
    return None


def _mapped(fd: int | None, size: int) -> mmap.mmap:
    return mmap.mmap(-1, size) if fd is None else mmap.mmap(fd, size, mmap.MAP_SHARED)


def _pin(memory: torch.Tensor) -> tuple[bool, list[str]]:
    """Pin it where there is a GPU in use; whether it is, and warnings"""
    if not _CUDA.is_initialized():
        return False, []
    refused = pin(memory)
    return refused is None, [] if refused is None else [refused]


def _let_go(fd: int | None, pinned: int | None) -> None:
    if pinned is not None:
        _CUDA.cudart().cudaHostUnregister(pinned)
    if fd is not None:
        os.close(fd)
