"""Nuslerp and model stock: mergekit's bits, of whole tensors, rows and columns"""

import pytest
import torch

from tests.derive.kernels.cutting import DTYPES, models, ours, same_bits, theirs

AXES = [
    {},
    {"nuslerp_flatten": False},
    {"nuslerp_flatten": False, "nuslerp_row_wise": True},
]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("params", AXES)
@pytest.mark.parametrize("weights", [(0.3, 0.6), (1, -1), (0, 1)])
@pytest.mark.parametrize("shape", [(37, 96), (96,), (4, 6, 8)])
def test_nuslerp_of_two(dtype, params, weights, shape):
    tensors = [models(1, *shape, dtype=dtype, seed=seed)[0] for seed in (1, 2)]
    expected = theirs("nuslerp", tensors, each={"weight": weights}, **params)
    assert same_bits(ours("nuslerp", tensors, each={"weight": weights}, **params), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("params", AXES)
def test_nuslerp_of_what_two_learned(dtype, params):
    tensors, each = models(3, 37, 96, dtype=dtype), {"weight": (0, 0.3, 0.6)}
    expected = theirs("nuslerp", tensors, 0, each=each, **params)
    assert same_bits(ours("nuslerp", tensors, 0, each=each, **params), expected)
    apart_ = {"weight": (0.3, 0.6)}
    assert same_bits(ours("nuslerp", [*tensors[1:], tensors[0]], 2, each=apart_, **params), expected)


@pytest.mark.parametrize("params", AXES)
@pytest.mark.parametrize("size", [96, 960, 50])
def test_nuslerp_cut(params, size):
    tensors = [models(1, 40, 96, dtype=torch.bfloat16, seed=seed)[0].float() for seed in (1, 2)]
    each = {"weight": (0.3, 0.6)}
    whole = ours("nuslerp", tensors, each=each, **params)
    assert (ours("nuslerp", tensors, each=each, size=size, **params) - whole).abs().max() < 1e-6


@pytest.mark.parametrize("params", AXES)
def test_vectors_on_a_line(params):
    tensors = [torch.ones(3, 8), torch.ones(3, 8) * 2]
    each = {"weight": (0.25, 0.75)}
    assert same_bits(ours("nuslerp", tensors, each=each, **params), theirs("nuslerp", tensors, each=each, **params))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [3, 4])
@pytest.mark.parametrize("filter_wise", [False, True])
@pytest.mark.parametrize("shape", [(37, 96), (96,)])
def test_model_stock(dtype, count, filter_wise, shape):
    tensors = models(count, *shape, dtype=dtype)
    expected = theirs("model_stock", tensors, 0, filter_wise=filter_wise)
    assert same_bits(ours("model_stock", tensors, 0, filter_wise=filter_wise), expected)
    assert same_bits(ours("model_stock", [*tensors[1:], tensors[0]], count - 1, filter_wise=filter_wise), expected)


@pytest.mark.parametrize("filter_wise", [False, True])
def test_model_stock_cut(filter_wise):
    tensors = models(3, 40, 96)
    whole = ours("model_stock", tensors, 0, filter_wise=filter_wise)
    assert (ours("model_stock", tensors, 0, filter_wise=filter_wise, size=960) - whole).abs().max() < 1e-6


def test_fine_tunes_that_oppose_each_other_leave_the_base():
    base = torch.randn(5, 8)
    tensors = [base, base + 1, base - 1]
    assert torch.equal(ours("model_stock", tensors, 0), base)
