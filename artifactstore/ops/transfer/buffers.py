"""Reused memory under a byte budget; fresh pages cost more than the copy into them"""

import mmap
import threading
from collections.abc import Callable
from contextlib import suppress

from artifactstore.core.manifest import MAX_BLOB

# A cutter holds up to three that are being gathered, and needs more to go on.
_FEWEST = 5


class Buffer:
    """Reused memory for one blob, returned to its pool when the last holder lets go"""

    def __init__(self, pool: "BufferPool", area: mmap.mmap) -> None:
        self._pool = pool
        self._area = area
        self._holders = 1
        self._lock = threading.Lock()

    @property
    def view(self) -> memoryview:
        """All 64 MiB; the content is what the last user left"""
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
    """Buffers of 64 MiB within `budget` bytes, five at the least; asking for more waits

    All are of one size, so that each can serve every blob and none is ever unmapped on the way; of a buffer only the
    pages that were touched take memory, and the one used last is used next. prepare: called with each that is made.
    """

    def __init__(self, budget: int, prepare: Callable[[mmap.mmap], None] | None = None) -> None:
        self._prepare = prepare
        self._left = max(budget // MAX_BLOB, _FEWEST)
        self._free: list[mmap.mmap] = []
        self._changed = threading.Condition()

    def take(self, nbytes: int = MAX_BLOB, *, kept: bool = False) -> Buffer:  # noqa: ARG002  # for pools that count bytes
        """A buffer, waiting until the budget allows it; raise what making one raises, and keep the budget

        nbytes: of it that will be used; kept: whether others are taken before it is given back.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._free or self._left)
            if self._free:
                return Buffer(self, self._free.pop())
            self._left -= 1
        try:
            return Buffer(self, self._made())
        except BaseException:
            with self._changed:
                self._left += 1
                self._changed.notify_all()
            raise

    def _made(self) -> mmap.mmap:
        """Ready for use; others go on meanwhile, as a driver takes its time to pin 64 MiB"""
        area = mmap.mmap(-1, MAX_BLOB)
        if self._prepare is not None:
            self._prepare(area)
        return area

    def give_back(self, area: mmap.mmap) -> None:
        """Make the memory free for the next taker"""
        with self._changed:
            self._free.append(area)
            self._changed.notify_all()

    def close(self) -> None:
        """Free what nobody holds; what is still held is freed with its last holder"""
        with self._changed:
            for area in self._free:
                # A view that is still about keeps its pages; they go with it.
                with suppress(BufferError):
                    area.close()
            self._free.clear()
