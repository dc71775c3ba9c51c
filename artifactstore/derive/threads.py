"""Threads of torch: one, while reading, hashing and writing take the other processors"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """A block in which torch calculates in the thread that asks: its own wait by spinning, which others pay for"""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
