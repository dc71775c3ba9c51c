"""Linear: to the bit what mergekit makes, however it is cut"""

import pytest
import torch

from tests.derive.kernels.cutting import DTYPES, models, ours, same_bits, theirs


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weights", [(0.5, 0.5), (0.3, 0.6), (1, 2, -0.7), (1,), (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)])
def test_every_bit_is_mergekits(dtype, weights):
    tensors = models(len(weights), 37, 91, dtype=dtype)
    each = {"weight": weights}
    assert same_bits(ours("linear", tensors, each=each), theirs("linear", tensors, each=each))


@pytest.mark.parametrize("size", [1, 91, 1000])
def test_a_cut_changes_nothing(size):
    tensors, each = models(3, 11, 91), {"weight": (0.3, 0.3, 0.3)}
    assert same_bits(ours("linear", tensors, each=each, size=size), ours("linear", tensors, each=each))


def test_a_tensor_longer_than_a_block():
    tensors, each = models(2, 700, 1001, dtype=torch.bfloat16), {"weight": (0.3, 0.6)}
    assert same_bits(ours("linear", tensors, each=each), theirs("linear", tensors, each=each))


def test_a_sum_that_is_not_normalized():
    tensors, each = models(2, 37, 91), {"weight": (0.3, 0.6)}
    expected = theirs("linear", tensors, each=each, normalize=False)
    assert same_bits(ours("linear", tensors, each=each, normalize=False), expected)


def test_a_base_that_is_no_source_is_left_out():
    tensors, each = models(3, 5, 7), {"weight": (0.3, 0.6)}
    assert same_bits(ours("linear", tensors[:2], each=each), ours("linear", tensors, base=2, each=each))


def test_not_a_number_stays_where_it_is():
    tensors = models(2, 4, 8)
    tensors[0][1, 2], tensors[1][3, 0] = torch.nan, torch.inf
    result = ours("linear", tensors, each={"weight": (0.5, 0.5)})
    assert (~result.isfinite()).nonzero().tolist() == [[1, 2], [3, 0]]


def test_passthrough_is_a_copy_or_scaled():
    (tensor,) = models(1, 5, 7, dtype=torch.bfloat16)
    assert same_bits(ours("passthrough", [tensor]), tensor)
    expected = theirs("passthrough", [tensor], each={"scale": (0.3,)})
    assert same_bits(ours("passthrough", [tensor], each={"scale": (0.3,)}, size=7), expected)
