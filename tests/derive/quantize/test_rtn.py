"""Rounding by groups: codes that fit what is stored, at no more error than rounding must have"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.core.errors import Invalid
from artifactstore.derive.quantize.rtn import quantize, quantize_fp8


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 0.02


def read(codes, scales, bits):
    return (codes.to(torch.float32) - (1 << (bits - 1))) * scales.to(torch.float32).unsqueeze(1)


def loss(groups, bits, dtype=torch.bfloat16):
    difference = read(*quantize(groups, bits, dtype), bits) - groups
    return float(difference.pow(2).mean().sqrt() / groups.pow(2).mean().sqrt())


@pytest.mark.parametrize(("bits", "most"), [(8, 0.0068), (4, 0.105), (3, 0.205), (2, 0.40)])
def test_the_error_is_that_of_so_many_bits(bits, most):
    assert most * 0.9 < loss(normal(500, 128), bits) < most


@pytest.mark.parametrize("bits", [4, 3, 2])
def test_a_searched_scale_is_better_than_one_that_reaches_everything(bits):
    groups = normal(500, 128)
    half = 1 << (bits - 1)
    scale = groups.abs().amax(1, keepdim=True) / (half - 0.5)
    plain = (groups / scale).round().clamp(-half, half - 1) * scale
    assert loss(groups, bits, torch.float32) < 0.95 * float((plain - groups).pow(2).mean().sqrt() / groups.std())


@given(st.sampled_from([2, 3, 4, 8]), st.integers(0, 99), st.floats(1e-6, 1e6))
def test_each_code_is_the_nearest_that_the_stored_scale_allows(bits, seed, size):
    groups = normal(4, 32, seed=seed) * size
    codes, scales = quantize(groups, bits, torch.bfloat16)
    assert int(codes.max()) < 1 << bits
    levels = read(torch.arange(1 << bits).expand(4, -1), scales, bits)
    nearest = (groups.unsqueeze(2) - levels.unsqueeze(1)).abs().amin(2)
    ours = (groups - read(codes, scales, bits)).abs()
    assert torch.allclose(ours, nearest, rtol=1e-4, atol=float(groups.abs().max()) * 1e-6)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_zeros_stay_zeros(bits):
    codes, scales = quantize(torch.zeros(3, 64), bits, torch.float16)
    assert torch.equal(read(codes, scales, bits), torch.zeros(3, 64))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_has_no_code(value):
    groups = normal(2, 32)
    groups[1, 5] = value
    with pytest.raises(Invalid, match="infinite or not a number"):
        quantize(groups, 4, torch.bfloat16)
    with pytest.raises(Invalid, match="infinite or not a number"):
        quantize_fp8(groups, torch.bfloat16)


def test_fp8_keeps_three_bits_of_each_weight():
    rows = normal(16, 300)
    rows[3] *= 1e4
    weights, scales = quantize_fp8(rows, torch.bfloat16)
    assert (weights.dtype, scales.shape) == (torch.float8_e4m3fn, (16, 1))
    difference = (weights.to(torch.float32) * scales.to(torch.float32) - rows).abs()
    # half of the last of three bits, and what is too small for its smallest
    assert (difference <= rows.abs() / 16 * 1.01 + scales.to(torch.float32) * 2**-10 * 1.01).all()


def test_what_a_half_cannot_hold_is_as_much_as_it_can():
    _, scales = quantize(torch.full((1, 32), 1e9), 8, torch.float16)
    assert torch.isfinite(scales).all()
