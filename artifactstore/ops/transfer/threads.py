"""Threads: pools that run before any work is given to them"""

import threading
from concurrent.futures import ThreadPoolExecutor

from artifactstore.core.errors import Unavailable


def start_pool(workers: int, name: str) -> ThreadPoolExecutor:
    """A pool whose threads all run: one that finds no thread later would leave work that nobody does"""
    pool = ThreadPoolExecutor(workers, name)
    together = threading.Barrier(workers)
    try:
        for _ in range(workers):
            pool.submit(together.wait)
    except RuntimeError as e:
        together.abort()
        pool.shutdown(wait=True)
        raise Unavailable("No more threads can be started here; raise the limit (ulimit -u)", code="threads") from e
    return pool
