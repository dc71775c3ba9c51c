"""Buffers: within their budget whatever fails, and never handed out before they are ready"""

import resource
import threading

import pytest

from artifactstore.core.manifest import MAX_BLOB
from artifactstore.ops.transfer.buffers import BufferPool

FEWEST = 5
SOON = 10  # seconds within which what does not wait is done, on the slowest machine


class Preparing:
    """Refuses so often, then notes what it is given"""

    def __init__(self, refusals=0):
        self.refusals = refusals
        self.done = []

    def __call__(self, area):
        if self.refusals:
            self.refusals -= 1
            raise RuntimeError("refused")
        self.done.append(area)


def in_time(call):
    """What a call gives, made by a thread that may wait for ever; None when it does"""
    found = []
    thread = threading.Thread(target=lambda: found.append(call()), daemon=True)
    thread.start()
    thread.join(SOON)
    return found[0] if found else None


def taken(pool, count):
    """So many buffers"""
    return in_time(lambda: [pool.take() for _ in range(count)])


def test_a_buffer_whose_preparation_failed_is_made_anew():
    preparing = Preparing(refusals=FEWEST)
    pool = BufferPool(0, preparing)
    for _ in range(FEWEST):
        with pytest.raises(RuntimeError, match="refused"):
            pool.take()
    buffers = taken(pool, FEWEST)
    assert {id(buffer.view.obj) for buffer in buffers} == {id(area) for area in preparing.done}
    assert len(preparing.done) == FEWEST


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_AS"), reason="the system has no such limit")
def test_where_there_is_no_memory_the_budget_stays():
    pool = BufferPool(0)
    usual = resource.getrlimit(resource.RLIMIT_AS)
    for _ in range(FEWEST):
        resource.setrlimit(resource.RLIMIT_AS, (MAX_BLOB, usual[1]))
        try:
            with pytest.raises(OSError, match="memory"):
                pool.take()
        finally:
            resource.setrlimit(resource.RLIMIT_AS, usual)
    assert len(taken(pool, FEWEST)) == FEWEST


def test_who_waits_goes_on_when_another_fails():
    entered, go_on = threading.Event(), threading.Event()

    def refuse_the_last(_):
        if len(held) == FEWEST - 1 and not entered.is_set():
            entered.set()
            go_on.wait()
            raise RuntimeError("refused")

    held = []
    pool = BufferPool(0, refuse_the_last)
    held += [pool.take() for _ in range(FEWEST - 1)]
    failed = []

    def fail():
        try:
            pool.take()
        except RuntimeError as e:
            failed.append(e)

    failing = threading.Thread(target=fail)
    failing.start()
    entered.wait()
    waiting = threading.Thread(target=lambda: held.append(pool.take()), daemon=True)
    waiting.start()
    go_on.set()
    failing.join()
    waiting.join(SOON)
    assert (len(failed), len(held)) == (1, FEWEST)


def test_while_one_is_made_others_take_what_is_free():
    entered, go_on = threading.Event(), threading.Event()

    def slow(_):
        if made:
            entered.set()
            go_on.wait()

    made = []
    pool = BufferPool(0, slow)
    made.append(pool.take())
    making = threading.Thread(target=lambda: made.append(pool.take()))
    making.start()
    entered.wait()
    try:
        assert in_time(lambda: (made[0].drop(), taken(pool, 1)))
    finally:
        go_on.set()
        making.join()


def test_the_one_used_last_is_used_next():
    pool = BufferPool(0)
    first, second = pool.take(), pool.take()
    areas = first.view.obj, second.view.obj
    second.hold()
    first.drop()
    second.drop()
    assert pool.take().view.obj is areas[0]
    second.drop()
    assert pool.take().view.obj is areas[1]
    first = pool.take()
    view = first.view
    first.drop()
    pool.close()
    assert len(view) == MAX_BLOB
