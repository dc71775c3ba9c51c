"""Garbage: its collector, held still while many objects are made that all stay

Python looks at all young objects, and then at all there are, each time that some thousands are made, which for a
manifest of 20,000 tensors took longer than the rest.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """No collection of cycles while the block, or the function that this decorates, runs"""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
