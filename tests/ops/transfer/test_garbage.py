"""Garbage: held still for a block, and only for it, whatever else the process does meanwhile"""

import gc
import os
import threading

import pytest

from artifactstore.ops.transfer.garbage import uncollected

USUAL = gc.get_threshold()


@pytest.fixture(autouse=True)
def _as_before():
    yield
    assert gc.get_threshold() == USUAL
    assert gc.isenabled()


def collections_of(count):
    """How often the collector ran while this many objects were made that stay"""
    before = sum(one["collections"] for one in gc.get_stats())
    kept = [[] for _ in range(count)]
    return sum(one["collections"] for one in gc.get_stats()) - before if kept else 0


def test_nothing_is_collected_in_a_block_nor_in_a_function():
    @uncollected()
    def quiet():
        return collections_of(20_000)

    with uncollected():
        with uncollected():
            assert collections_of(20_000) == 0
        assert collections_of(20_000) == 0
    assert quiet() == quiet() == 0
    assert collections_of(20_000) > 0
    with pytest.raises(ZeroDivisionError), uncollected():
        _ = 1 / 0
    assert collections_of(20_000) > 0


def test_what_the_user_says_meanwhile_stays():
    with uncollected():
        gc.disable()
    assert not gc.isenabled()
    with uncollected():
        gc.enable()
    assert gc.isenabled()
    with uncollected():
        gc.set_threshold(123)
    assert gc.get_threshold()[0] == 123
    gc.set_threshold(*USUAL)


def test_it_lasts_until_the_last_of_several_threads_is_done():
    inside, leave = threading.Event(), threading.Event()

    def other():
        with uncollected():
            inside.set()
            leave.wait()

    thread = threading.Thread(target=other)
    with uncollected():
        thread.start()
        inside.wait()
    assert collections_of(20_000) == 0
    leave.set()
    thread.join()
    assert collections_of(20_000) > 0


def in_child(check):
    """Whether it holds in a process forked now"""
    pid = os.fork()
    if not pid:
        good = False
        try:
            good = check()
        finally:
            os._exit(0 if good else 1)
    return os.waitpid(pid, 0)[1] == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_process_forked_meanwhile_collects():
    def collects():
        return collections_of(20_000) > 0 and gc.get_threshold() == USUAL and gc.isenabled()

    def collects_after_a_block_of_its_own():
        with uncollected():
            quiet = collections_of(20_000) == 0
        return quiet and collects()

    inside, leave = threading.Event(), threading.Event()

    def other():
        with uncollected():
            inside.set()
            leave.wait()

    thread = threading.Thread(target=other)
    thread.start()
    inside.wait()
    try:
        assert in_child(collects)
        assert in_child(collects_after_a_block_of_its_own)
    finally:
        leave.set()
        thread.join()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_process_forked_in_a_block_leaves_it():
    with uncollected():
        pid = os.fork()
    if not pid:
        os._exit(0 if collections_of(20_000) > 0 and gc.get_threshold() == USUAL else 1)
    assert os.waitpid(pid, 0)[1] == 0
