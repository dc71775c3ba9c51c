"""Mapping: files laid side by side in one range of addresses, so that what lies in several is one tensor

mmap(2) with MAP_FIXED into a range reserved before. Pages are private: who writes to a tensor changes no file.
"""

import ctypes
import mmap
import os
import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple

from artifactstore.core.errors import Unavailable

PAGE = mmap.ALLOCATIONGRANULARITY
# Linux lets a process have 65,530 mappings; others need some too.
MOST = 30_000
_FIXED, _NORESERVE, _ANONYMOUS = 0x10, 0x4000, 0x20
_READ_WRITE = 3


class Laid(NamedTuple):
    """The bytes of an open file from its start, at an offset of the range that is a multiple of the page"""

    fd: int
    size: int
    at: int


def supported() -> bool:
    """Whether files can be laid side by side here"""
    return os.uname().sysname == "Linux" if hasattr(os, "uname") else False


def round_up(size: int) -> int:
    """To a whole number of pages"""
    return -(-size // PAGE) * PAGE


def lay(files: Sequence[Laid], total: int) -> "ctypes.Array[ctypes.c_uint8]":
    """A range of `total` bytes with these files in it; it goes with the last tensor that is made of it

    Raise Unavailable when the system has no addresses left.
    """
    libc = _libc()
    base = libc.mmap(None, total, 0, mmap.MAP_PRIVATE | _ANONYMOUS | _NORESERVE, -1, 0)
    if base in (None, _FAILED):
        raise _no_room(total)
    for fd, size, at in files:
        if libc.mmap(base + at, size, _READ_WRITE, mmap.MAP_PRIVATE | _FIXED, fd, 0) in (None, _FAILED):
            error = _no_room(size)
            libc.munmap(base, total)
            raise error
    memory = (ctypes.c_uint8 * total).from_address(base)
    weakref.finalize(memory, libc.munmap, base, total)
    return memory


def _no_room(nbytes: int) -> Unavailable:
    code = ctypes.get_errno()
    return Unavailable(f"{nbytes} bytes cannot be mapped: {os.strerror(code)}", code="memory", nbytes=nbytes)


_FAILED = ctypes.c_void_p(-1).value


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
