"""Garbage: its collector, held still while many objects are made that all stay

Python looks at all young objects, and then at all there are, each time that some thousands are made, which for a
manifest of 20,000 tensors took longer than the rest.
"""

import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _Held:
    """The blocks of this process that are not over

    The threshold is set and not the switch of `gc.disable`, whose state is the user's: he may change it meanwhile.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._blocks = 0
        self._usual = gc.get_threshold()

    def enter(self) -> None:
        with self._lock:
            if not self._blocks:
                self._usual = gc.get_threshold()
                gc.set_threshold(0)
            self._blocks += 1

    def leave(self) -> None:
        with self._lock:
            self._blocks -= 1
            if not self._blocks:
                self.restore()

    def restore(self) -> None:
        """As it was, unless the user has set it meanwhile"""
        if not gc.get_threshold()[0]:
            gc.set_threshold(*self._usual)


_HELD = [_Held()]


def _begin_child() -> None:
    """A child has none of the threads whose blocks would end, and their lock may never be free"""
    _HELD[0].restore()
    _HELD[0] = _Held()


@contextmanager
def uncollected() -> Iterator[None]:
    """No collection of cycles while the block, or the function that this decorates, runs"""
    held = _HELD[0]
    held.enter()
    try:
        yield
    finally:
        if held is _HELD[0]:
            held.leave()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_child)
