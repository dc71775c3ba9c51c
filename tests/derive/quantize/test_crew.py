"""A crew: parts in their order, from threads in which torch calculates alone"""

import threading
from itertools import pairwise

import pytest
import torch

from artifactstore.derive.quantize.crew import PART, in_order, rows_of


@pytest.mark.parametrize("multiple", [1, 64])
def test_cuts_cover_all_rows_in_whole_multiples(multiple):
    cuts = rows_of(10_000, 1024, multiple)
    assert cuts[0][0] == 0
    assert cuts[-1][1] == 10_000
    assert all(one[1] == other[0] for one, other in pairwise(cuts))
    assert all((end - begin) % multiple == 0 and (end - begin) * 1024 <= PART for begin, end in cuts[:-1])


def test_a_row_longer_than_a_part_is_one():
    assert rows_of(2, 10 * PART) == [(0, 1), (1, 2)]
    assert rows_of(0, 5) == []


def test_results_come_in_order_from_several_threads():
    seen = set()

    def work(begin, end):
        seen.add((threading.get_ident(), torch.get_num_threads()))
        return begin + end

    before = torch.get_num_threads()
    assert list(in_order(work, [(n, n) for n in range(50)])) == [2 * n for n in range(50)]
    assert {threads for _, threads in seen} == {1}
    assert torch.get_num_threads() == before


def test_a_failure_ends_it_and_no_thread_stays():
    def work(begin, _):
        if begin == 3:
            raise ValueError("three")
        return begin

    before = threading.active_count()
    with pytest.raises(ValueError, match="three"):
        list(in_order(work, [(n, n) for n in range(50)]))
    parts = in_order(work, [(n, n) for n in range(10, 50)])
    next(parts)
    parts.close()
    assert threading.active_count() == before
