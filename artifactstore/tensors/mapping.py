"""Mapping: files laid side by side in one range of addresses, so that what lies in several is one tensor

mmap(2) with MAP_FIXED into a range reserved before. Pages are private: who writes to a tensor changes no file.
"""

import ctypes
import mmap
import os
import weakref
from collections.abc import Sequence
from functools import cache
from typing import Any

from artifactstore.core.errors import Unavailable
from artifactstore.tensors.pieces import Seen

PAGE = mmap.ALLOCATIONGRANULARITY
# Linux lets a process have 65,530 mappings; others need some too.
MOST = 30_000
_FIXED, _NORESERVE, _ANONYMOUS = 0x10, 0x4000, 0x20
_READ_WRITE = 3


def supported() -> bool:
    """Whether files can be laid side by side here"""
    return os.uname().sysname == "Linux" if hasattr(os, "uname") else False


def round_up(size: int) -> int:
    """To a whole number of pages"""
    return -(-size // PAGE) * PAGE


def lay(files: Sequence[Seen]) -> "ctypes.Array[ctypes.c_uint8]":
    """A range of addresses with these files side by side; it goes with the last tensor that is made of it

    Raise Unavailable when the system has no addresses left, Corrupt when a file has gone.
    """
    libc = _libc()
    total = sum(round_up(file.stamp.size) for file in files)
    base = libc.mmap(None, total, 0, mmap.MAP_PRIVATE | _ANONYMOUS | _NORESERVE, -1, 0)
    if base in (None, _FAILED):
        raise _no_room(total)
    memory = (ctypes.c_uint8 * total).from_address(base)
    # not at exit: others may still read then
    weakref.finalize(memory, libc.munmap, base, total).atexit = False
    at = base
    for file in files:
        flags = mmap.MAP_PRIVATE | _FIXED | _NORESERVE
        with file.open() as fd:
            if libc.mmap(at, file.stamp.size, _READ_WRITE, flags, fd, 0) in (None, _FAILED):
                raise _no_room(file.stamp.size)
        at += round_up(file.stamp.size)
    return memory


def _no_room(nbytes: int) -> Unavailable:
    code = ctypes.get_errno()
    return Unavailable(f"{nbytes} bytes cannot be mapped: {os.strerror(code)}", code="memory", nbytes=nbytes)


_FAILED = ctypes.c_void_p(-1).value


@cache
def _libc() -> Any:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_int64,
    )
    libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    return libc
