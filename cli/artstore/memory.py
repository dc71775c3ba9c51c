"""Memory: what a process that calculates asks of the C library"""

import ctypes
import sys

_ARENA_MAX = -8  # M_ARENA_MAX of mallopt(3)


def share_arena() -> None:
    """Have all threads take memory from one place: glibc gives each its own, which keeps what was freed in it

    Of a merge that is up to 200 MiB. It counts for threads that begin from now on, so it comes first.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_ARENA_MAX, 1)
