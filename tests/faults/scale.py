"""How much of each fault: what fits into every run of the suite, and what `make soak` does"""

import multiprocessing
import os
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")

SOAK = bool(os.environ.get("SOAK"))
# The same in every run of the suite; a soak looks elsewhere each time, and says where.
SEED = random.SystemRandom().randrange(1 << 32) if SOAK else 0


def choose(usual: int, soak: int) -> int:
    """The number for this run"""
    return soak if SOAK else usual


def sample(items: list[T], count: int) -> list[T]:
    """At most so many of them, spread evenly"""
    return list(items) if len(items) <= count else [items[at * len(items) // count] for at in range(count)]


def cores() -> int:
    """How many things can be done at once, beside other processes that run tests"""
    return max(1, (os.cpu_count() or 1) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))


def everywhere(work: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """The results of `work`, done by as many processes as there are cores; only results need to pickle"""
    if cores() == 1:
        return [work(item) for item in items]
    with ProcessPoolExecutor(cores(), multiprocessing.get_context("fork"), _inherit, (work, items)) as pool:
        return list(pool.map(_do, range(len(items))))


_inherited: list[Any] = []


def _inherit(*task: Any) -> None:
    _inherited[:] = task


def _do(index: int) -> Any:
    work, items = _inherited
    return work(items[index])
