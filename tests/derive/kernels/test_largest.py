"""Largest: exactly the k largest, of equal ones the first, whatever is guessed and however it is cut"""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.derive.kernels.deltas import Deltas
from artifactstore.derive.kernels.largest import largest, sizes
from artifactstore.derive.kernels.parts import BLOCK
from tests.derive.kernels.cutting import Cut


def expected(delta: torch.Tensor, rank: int) -> np.ndarray:
    kept = np.zeros(len(delta), np.bool_)
    kept[np.argsort(-sizes(delta).astype(np.int64), stable=True)[:rank]] = True
    return kept


def found(
    deltas: list[torch.Tensor], ranks: list[list[int]], size: int, **room: int
) -> tuple[list[list[np.ndarray]], int]:
    chunks = Cut([torch.zeros_like(deltas[0]), *deltas], 0, size)
    answers = largest(Deltas.of(chunks, len(deltas) + 1), ranks, **room)
    passes, masks = chunks.passes, []
    for delta, mine in zip(deltas, answers, strict=True):
        cuts = [(begin, one + begin) for begin in range(0, len(delta), size) for one in range(0, size, BLOCK)]
        blocks = [(at, delta[at : min(at + BLOCK, begin + size)]) for begin, at in cuts if at < len(delta)]
        masks.append([np.concatenate([answer.mask(at, sizes(block)) for at, block in blocks]) for answer in mine])
    return masks, passes


numbers = st.floats(-4, 4, width=16) | st.sampled_from([0.0, -0.0, 1.0, -1.0, float("nan"), float("inf")])


@given(st.lists(numbers, min_size=1, max_size=60), st.integers(-1, 61), st.integers(1, 61), st.sampled_from([2, 4, 8]))
def test_any_few(values, rank, size, width):
    delta = torch.tensor(values, dtype={2: torch.bfloat16, 4: torch.float32, 8: torch.float64}[width])
    masks, _ = found([delta], [[rank]], size)
    assert (masks[0][0] == expected(delta, max(0, rank))).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("size", [300_000, 70_001])
def test_many_of_two_vectors_and_ranks_in_one_pass(dtype, size):
    deltas = [torch.randn(300_000, generator=torch.Generator().manual_seed(seed)).to(dtype) for seed in (1, 2)]
    ranks = [[3, 150_000, 299_999], [1, 200_000, 90_000]]
    masks, passes = found(deltas, ranks, size)
    for delta, mine, each in zip(deltas, masks, ranks, strict=True):
        assert all((mask == expected(delta, rank)).all() for mask, rank in zip(mine, each, strict=True))
    assert passes == 1


def test_a_first_part_unlike_the_others_costs_a_pass():
    delta = torch.randn(400_000)
    delta[:100_000] *= 1e-3
    masks, passes = found([delta], [[200_000]], 100_000)
    assert (masks[0][0] == expected(delta, 200_000)).all()
    assert passes == 2


@pytest.mark.parametrize("distinct", [1, 2, 3, 16])
def test_many_equal_ones(distinct):
    delta = torch.arange(400_000).remainder(distinct).float()
    for rank in (1, 100_000, 200_000, 399_999):
        masks, _ = found([delta], [[rank]], 90_000)
        assert (masks[0][0] == expected(delta, rank)).all()


def test_more_equal_ones_than_there_is_room_for():
    """Neighbouring values, of which a guess holds several, each of them often"""
    delta = 1 + torch.randint(0, 400, (300_000,), generator=torch.Generator().manual_seed(0)) * 2.0**-20
    masks, _ = found([delta], [[120_000]], 50_000, room=1000)
    assert (masks[0][0] == expected(delta, 120_000)).all()
