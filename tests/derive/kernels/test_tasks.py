"""Task arithmetic: to the bit what mergekit makes, however it is cut"""

import pytest
import torch

from tests.derive.kernels.cutting import DTYPES, models, ours, same_bits, theirs


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("params", [{}, {"normalize": True}, {"lambda": 0.7}, {"lambda": 1.3, "normalize": True}])
@pytest.mark.parametrize("weights", [(0, 0.7), (0, 0.3, 0.6), (0, 1, -1), (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)])
def test_every_bit_is_mergekits(dtype, params, weights):
    # torch sums the last few columns of five or more rows in another order where they fill no vector
    tensors, each = models(len(weights), 37, 96, dtype=dtype), {"weight": weights}
    expected = theirs("task_arithmetic", tensors, 0, each=each, **params)
    assert same_bits(ours("task_arithmetic", tensors, 0, each=each, **params), expected)


def test_a_base_that_stands_last_is_not_merged():
    tensors = models(3, 5, 7)
    merged = [*tensors[1:], tensors[0]]
    expected = ours("task_arithmetic", tensors, 0, each={"weight": (0, 0.3, 0.4)})
    assert same_bits(ours("task_arithmetic", merged, 2, each={"weight": (0.3, 0.4, 0)}), expected)


def test_signs_of_zeros_are_kept():
    base = torch.tensor([-0.0, 0.0, -0.0])
    tensors, each = [base, base.clone()], {"weight": (0, -1)}
    expected = theirs("task_arithmetic", tensors, 0, each=each)
    assert same_bits(ours("task_arithmetic", tensors, 0, each=each), expected)


@pytest.mark.parametrize("size", [1, 91, 1000])
def test_a_cut_changes_nothing(size):
    tensors, each = models(3, 11, 91), {"weight": (0, 0.3, 0.3)}
    whole = ours("task_arithmetic", tensors, 0, each=each)
    assert same_bits(ours("task_arithmetic", tensors, 0, each=each, size=size), whole)


def test_a_tensor_longer_than_a_block():
    tensors, each = models(3, 700, 1001, dtype=torch.bfloat16), {"weight": (0, 0.3, 0.6)}
    expected = theirs("task_arithmetic", tensors, 0, each=each)
    assert same_bits(ours("task_arithmetic", tensors, 0, each=each), expected)


def test_not_a_number_stays_where_it_is():
    tensors = models(2, 4, 8)
    tensors[1][1, 2] = torch.nan
    result = ours("task_arithmetic", tensors, 0, each={"weight": (0, 0.5)})
    assert result.isnan().nonzero().tolist() == [[1, 2]]
