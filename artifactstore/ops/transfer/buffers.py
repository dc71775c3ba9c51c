"""Reused memory under a byte budget; fresh pages cost more than the copy into them"""

import mmap
import threading
from collections import defaultdict
from contextlib import suppress

_SMALLEST = 4 << 20


class Buffer:
    """A run of reused memory, returned to its pool when the last holder lets go"""

    def __init__(self, pool: "BufferPool", area: mmap.mmap) -> None:
        self._pool = pool
        self._area = area
        self._holders = 1
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """Bytes of memory it takes, at least what was asked for"""
        return len(self._area)

    @property
    def view(self) -> memoryview:
        """All of it; the content is what the last user left"""
        return memoryview(self._area)

    def hold(self) -> None:
        """One more holder"""
        with self._lock:
            self._holders += 1

    def drop(self) -> None:
        """One holder less"""
        with self._lock:
            self._holders -= 1
            last = self._holders == 0
        if last:
            self._pool.give_back(self._area)


class BufferPool:
    """At most `budget` bytes of buffers at once; asking for more waits

    Sizes are rounded up to powers of two from 4 MiB, so that buffers are reused across tensors of unlike sizes.
    """

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._taken = 0
        self._free: dict[int, list[mmap.mmap]] = defaultdict(list)
        self._changed = threading.Condition()

    def take(self, nbytes: int) -> Buffer:
        """A buffer of at least `nbytes`, waiting until the budget allows it; a lone one may exceed the budget"""
        size = max(_SMALLEST, 1 << (nbytes - 1).bit_length())
        with self._changed:
            self._changed.wait_for(lambda: self._has_room(size))
            if self._free[size]:
                area = self._free[size].pop()
            else:
                area = mmap.mmap(-1, size)
                self._taken += size
        return Buffer(self, area)

    def charge(self, nbytes: int) -> None:
        """Count memory that a caller holds elsewhere against the budget, waiting until it fits"""
        with self._changed:
            self._changed.wait_for(lambda: self._has_room(nbytes))
            self._taken += nbytes

    def refund(self, nbytes: int) -> None:
        """The caller let go of what was charged"""
        with self._changed:
            self._taken -= nbytes
            self._changed.notify_all()

    def _has_room(self, size: int) -> bool:
        if self._free.get(size):
            return True
        for kept in self._free.values():
            while kept and self._taken + size > self._budget:
                area = kept.pop()
                self._taken -= len(area)
                # A view that is still about keeps its pages; they go with it.
                with suppress(BufferError):
                    area.close()
        return self._taken + size <= self._budget or self._taken == 0

    def close(self) -> None:
        """Free what nobody holds; what is still held is freed with its last holder"""
        with self._changed:
            self._budget = 0
            self._has_room(0)

    def give_back(self, area: mmap.mmap) -> None:
        """Make the memory free for the next taker"""
        with self._changed:
            self._free[len(area)].append(area)
            self._changed.notify_all()
