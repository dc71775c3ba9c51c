"""Tight memory: buffers of which no more is touched than a budget allows, however large one of them has to be

Where a model is calculated the process has little room beside its libraries. A tensor of a few megabytes shares the
budget with others; one of 64 MiB waits until it has nearly all of it.
"""

import mmap
import threading
from dataclasses import dataclass, field

from artifactstore.core.manifest import MAX_BLOB
from artifactstore.ops.transfer.buffers import Buffer, BufferPool


@dataclass(eq=False, slots=True)
class _Area:
    """touched: bytes of it that have been used, and so take memory; kept: whoever has it may need others first"""

    memory: mmap.mmap = field(default_factory=lambda: mmap.mmap(-1, MAX_BLOB))
    touched: int = 0
    kept: bool = False


class TightPool(BufferPool):
    """Buffers whose touched bytes, used or free, come to `budget` at most; asking for more waits

    When nothing is out but what is kept, a buffer is given in any case: nobody would ever return one.
    """

    def __init__(self, budget: int) -> None:
        super().__init__(0)
        self._budget = budget
        self._idle: list[_Area] = []
        self._out: dict[int, _Area] = {}
        self._turn = threading.Condition()

    def take(self, nbytes: int = MAX_BLOB, *, kept: bool = False) -> Buffer:
        """A buffer for at most so many bytes from its start. kept: until others were taken and given back"""
        with self._turn:
            self._turn.wait_for(lambda: self._growth(self._best(nbytes), nbytes) <= self._room() or self._is_quiet())
            area = self._best(nbytes) or _Area()
            if area in self._idle:
                self._idle.remove(area)
            area.touched, area.kept = max(area.touched, nbytes), kept
            self._out[id(area.memory)] = area
        return Buffer(self, area.memory)

    def give_back(self, area: mmap.mmap) -> None:
        """Make the memory free for the next taker"""
        with self._turn:
            self._idle.append(self._out.pop(id(area)))
            self._turn.notify_all()

    def close(self) -> None:
        """Free what nobody holds"""
        with self._turn:
            self._idle.clear()

    def _best(self, nbytes: int) -> _Area | None:
        """The idle one that suffices and is least touched, else the one that is touched most"""
        enough = [area for area in self._idle if area.touched >= nbytes]
        if enough:
            return min(enough, key=lambda area: area.touched)
        # a new one costs more than what an idle one has to grow by, unless the room is there
        if nbytes <= self._room() or not self._idle:
            return None
        return max(self._idle, key=lambda area: area.touched)

    def _growth(self, area: _Area | None, nbytes: int) -> int:
        return nbytes if area is None else max(0, nbytes - area.touched)

    def _room(self) -> int:
        return self._budget - sum(area.touched for area in (*self._idle, *self._out.values()))

    def _is_quiet(self) -> bool:
        return all(area.kept for area in self._out.values())
