"""Parts: one is read once, rows are whole, and blocks come in their order"""

import pytest
import torch

from artifactstore.derive.kernels.parts import BLOCK, Rows, cast, held, over
from tests.derive.kernels.cutting import Cut


def test_a_tensor_of_one_part_is_read_once():
    chunks = Cut([torch.arange(10.0)], None, 10)
    kept = held(chunks)
    assert [next(iter(kept))[1][0].tolist() for _ in range(3)] == [list(range(10))] * 3
    assert chunks.passes == 1


def test_the_first_part_of_several_is_not_read_twice():
    chunks = Cut([torch.arange(10.0)], None, 4)
    kept = held(chunks)
    for _ in range(2):
        assert [begin for begin, _ in kept] == [0, 4, 8]
    assert chunks.passes == 2


def test_nothing_has_no_parts():
    assert list(held(Cut([torch.empty(0, 4)], None, 4))) == []


@pytest.mark.parametrize(
    ("row", "lengths"), [(4, [[4], [4], [4]]), (6, [[4, 4, 4]]), (12, [[4, 4, 4]]), (2, [[4]] * 3)]
)
def test_rows_are_whole(row, lengths):
    rows = Rows(Cut([torch.arange(12.0)], None, 4), row)
    found = [(begin, tensors[0].tolist(), list(rows.lengths)) for begin, tensors in rows]
    assert [each[2] for each in found] == lengths
    assert [number for each in found for number in each[1]] == list(range(12))


@pytest.mark.parametrize("length", [0, 1, BLOCK, BLOCK + 1, 40 * BLOCK + 3])
def test_blocks_come_in_their_order(length):
    found = over(length, lambda here: (here.start, here.stop))
    assert [each for begin, end in found for each in (begin, end)][::2] == list(range(0, length, BLOCK))
    assert not found or found[-1][1] == length


def test_what_fails_in_a_block_is_raised():
    with pytest.raises(ZeroDivisionError):
        over(40 * BLOCK, lambda here: 1 // (here.start - BLOCK))


def test_a_cast_is_torchs():
    numbers = torch.randn(3 * BLOCK + 7)
    into = torch.empty(len(numbers), dtype=torch.bfloat16)
    cast(numbers, into)
    assert torch.equal(into, numbers.bfloat16())
