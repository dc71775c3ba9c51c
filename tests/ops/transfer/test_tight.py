"""Tight memory: what is touched stays within a budget, and nobody waits for ever"""

import threading

from artifactstore.core.manifest import MAX_BLOB
from artifactstore.ops.transfer.tight import TightPool

MIB = 1 << 20
SOON = 10  # seconds within which what does not wait is done, on the slowest machine


def in_time(call):
    """What a call gives, made by a thread that may wait for ever; None when it does"""
    found = []
    thread = threading.Thread(target=lambda: found.append(call()), daemon=True)
    thread.start()
    thread.join(SOON)
    return found[0] if found else None


def test_small_ones_share_the_budget():
    pool = TightPool(32 * MIB)
    held = [in_time(lambda: pool.take(8 * MIB)) for _ in range(4)]
    assert all(held)
    waiting = threading.Thread(target=lambda: held.append(pool.take(8 * MIB)), daemon=True)
    waiting.start()
    waiting.join(0.2)
    assert waiting.is_alive()
    held[0].drop()
    waiting.join(SOON)
    assert len(held) == 5


def test_what_is_idle_is_used_again():
    pool = TightPool(32 * MIB)
    first = pool.take(8 * MIB)
    area = first.view.obj
    first.drop()
    assert pool.take(4 * MIB).view.obj is not None
    second = pool.take(8 * MIB)
    assert second.view.obj is area or len(second.view) == MAX_BLOB


def test_one_larger_than_the_budget_waits_for_all_others_and_is_given_then():
    pool = TightPool(32 * MIB)
    kept, other = pool.take(MIB, kept=True), pool.take(8 * MIB)
    found = []
    waiting = threading.Thread(target=lambda: found.append(pool.take()), daemon=True)
    waiting.start()
    waiting.join(0.2)
    assert not found
    other.drop()
    waiting.join(SOON)
    assert len(found) == 1
    kept.drop()


def test_large_ones_one_after_another_touch_one_area():
    pool = TightPool(80 * MIB)
    areas = set()
    for _ in range(5):
        buffer = in_time(pool.take)
        areas.add(id(buffer.view.obj))
        buffer.drop()
    assert len(areas) == 1


def test_many_threads_all_get_on():
    pool = TightPool(24 * MIB)
    done = []

    def work(size):
        for _ in range(50):
            buffer = pool.take(size)
            buffer.view[:1] = b"x"
            buffer.drop()
        done.append(size)

    threads = [threading.Thread(target=work, args=(size * MIB,), daemon=True) for size in (1, 5, 9, 20, 64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)
    assert len(done) == len(threads)
