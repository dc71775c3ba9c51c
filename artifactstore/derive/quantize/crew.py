"""Crew: parts of one tensor worked on side by side, and handed out in their order"""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import torch

from artifactstore.ops.transfer.threads import start_pool

T = TypeVar("T")
Bounds = tuple[int, int]

# Elements: large enough that calling torch costs little, small enough that what is worked on stays in the cache.
PART = 1 << 19


def rows_of(rows: int, columns: int, multiple: int = 1) -> list[Bounds]:
    """Where to cut a matrix: runs of rows of about a part each, whole multiples of so many rows but for the last"""
    step = max(1, PART // max(1, columns) // multiple) * multiple
    return [(begin, min(begin + step, rows)) for begin in range(0, rows, step)]


def in_order(work: Callable[[int, int], T], cuts: Sequence[Bounds]) -> Iterator[T]:
    """What `work` makes of each cut, at most one more than there are threads under way or waiting"""
    workers = min(len(cuts), os.cpu_count() or 1)
    if workers < 2:
        yield from (work(*cut) for cut in cuts)
        return
    pool = _hire(workers)
    try:
        waiting: deque[Future[T]] = deque()
        rest = iter(cuts)
        waiting.extend(pool.submit(work, *cut) for cut in islice(rest, workers + 1))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(pool.submit(work, *cut) for cut in islice(rest, 1))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _hire(workers: int) -> ThreadPoolExecutor:
    """Threads in which torch calculates alone: two threads that meet after each operation wait longer than they work"""
    pool = start_pool(workers, "quantize")
    together = threading.Barrier(workers)
    before = torch.get_num_threads()
    for future in [pool.submit(_alone, together) for _ in range(workers)]:
        future.result()
    torch.set_num_threads(before)
    return pool


def _alone(together: threading.Barrier) -> None:
    # torch gives a thread the number of the process at its first question, so that it would undo what is set before
    torch.get_num_threads()
    torch.set_num_threads(1)
    together.wait()
