"""Slerp: mergekit's bits where one order of summing is possible, and a step beside them elsewhere"""

import pytest
import torch

from tests.derive.kernels.cutting import DTYPES, apart, models, ours, same_bits, theirs


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("t", [0, 0.3, 0.5, 1])
@pytest.mark.parametrize("base", [0, 1])
def test_every_bit_of_a_small_tensor_is_mergekits(dtype, t, base):
    for tensors in (models(2, 37, 91, dtype=dtype), [models(1, 37, 91, dtype=dtype, seed=seed)[0] for seed in (1, 2)]):
        assert same_bits(ours("slerp", tensors, base, t=t), theirs("slerp", tensors, base, t=t))


@pytest.mark.parametrize("size", [1, 91, 5000])
def test_a_cut_moves_no_element_by_more_than_a_step(size):
    tensors = [models(1, 20, 91, dtype=torch.bfloat16, seed=seed)[0] for seed in (1, 2)]
    steps = apart(ours("slerp", tensors, 0, t=0.4, size=size), theirs("slerp", tensors, 0, t=0.4))
    assert steps.max() <= 1
    assert (steps > 0).float().mean() < 0.003


def test_a_large_tensor_is_a_step_off_in_few_elements():
    tensors = [models(1, 1000, 777, dtype=torch.bfloat16, seed=seed)[0] for seed in (1, 2)]
    steps = apart(ours("slerp", tensors, 0, t=0.4), theirs("slerp", tensors, 0, t=0.4))
    assert steps.max() <= 1
    assert (steps > 0).float().mean() < 0.003


def test_torchs_threads_change_no_bit():
    tensors = [models(1, 1000, 777, seed=seed)[0] for seed in (1, 2)]
    before, found = torch.get_num_threads(), []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        found.append(ours("slerp", tensors, 0, t=0.4))
    torch.set_num_threads(before)
    assert all(same_bits(found[0], each) for each in found)


@pytest.mark.parametrize("first", [0.0, 1.0, -1.0])
def test_vectors_that_span_no_arc_lie_on_a_line(first):
    second = torch.ones(3, 5)
    tensors = [second * first, second]
    assert same_bits(ours("slerp", tensors, 0, t=0.25), theirs("slerp", tensors, 0, t=0.25))


def test_an_infinity_spoils_the_tensor_and_nothing_else():
    tensors = models(2, 4, 8)
    tensors[0][1, 2] = torch.inf
    assert ours("slerp", tensors, 0, t=0.5).isnan().all()
