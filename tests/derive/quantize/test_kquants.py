"""K-quants: blocks that llama.cpp's own reader reads, at the error of good encoders"""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.core.errors import Invalid
from artifactstore.derive.quantize.kquants import K_QUANTS

gguf = pytest.importorskip("gguf")
NBYTES = {"Q4_K": 144, "Q3_K": 110, "Q2_K": 84}


def normal(count, seed=0):
    return torch.randn(count, 256, generator=torch.Generator().manual_seed(seed)) * 0.02


def read(name, blocks):
    raw = K_QUANTS[name](blocks)
    assert raw.shape == (len(blocks), NBYTES[name])
    assert raw.is_contiguous()
    return torch.from_numpy(gguf.quants.dequantize(raw.numpy(), gguf.GGMLQuantizationType[name]))


def loss(name, blocks):
    return float((read(name, blocks) - blocks).pow(2).mean().sqrt() / blocks.pow(2).mean().sqrt())


@pytest.mark.parametrize(("name", "most"), [("Q4_K", 0.0725), ("Q3_K", 0.146), ("Q2_K", 0.274)])
def test_the_error_of_normal_weights(name, most):
    assert most * 0.95 < loss(name, normal(1000)) < most


@pytest.mark.parametrize(("name", "most"), [("Q4_K", 0.08), ("Q3_K", 0.15), ("Q2_K", 0.28)])
@pytest.mark.parametrize("shift", [-0.03, 0.03])
def test_weights_to_one_side(name, most, shift):
    assert loss(name, normal(200) + shift) < most


@pytest.mark.parametrize("name", K_QUANTS)
@given(st.integers(0, 99), st.floats(-2, 5), st.integers(1, 5))
def test_each_weight_is_within_its_super_block(name, seed, exponent, count):
    blocks = normal(count, seed) * 10.0**exponent
    found = read(name, blocks)
    most = blocks.abs().amax(1, keepdim=True)
    assert ((found - blocks).abs() <= 0.6 * most).all()


@pytest.mark.parametrize("name", K_QUANTS)
def test_blocks_do_not_depend_on_their_neighbours(name):
    blocks = normal(40)
    whole = K_QUANTS[name](blocks)
    assert torch.equal(whole, torch.cat([K_QUANTS[name](part) for part in blocks.split(7)]))


@pytest.mark.parametrize("name", K_QUANTS)
def test_zeros_stay_zeros(name):
    assert np.array_equal(read(name, torch.zeros(2, 256)), np.zeros((2, 256)))


@pytest.mark.parametrize("name", K_QUANTS)
@pytest.mark.parametrize("value", [0.5, -0.5])
def test_one_value_everywhere(name, value):
    assert torch.allclose(read(name, torch.full((1, 256), value)), torch.tensor(value), rtol=0.01)


@pytest.mark.parametrize("name", K_QUANTS)
def test_one_large_weight_leaves_other_sub_blocks_their_scale(name):
    blocks = normal(1)
    blocks[0, 0] = 0.5
    difference = (read(name, blocks) - blocks)[0]
    assert float(difference[32:].abs().max()) < 0.04
    assert float(difference[0].abs()) < 0.1


@pytest.mark.parametrize("name", K_QUANTS)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_has_no_code(name, value):
    blocks = normal(2)
    blocks[1, 200] = value
    with pytest.raises(Invalid, match="infinite or not a number"):
        K_QUANTS[name](blocks)


@pytest.mark.parametrize("name", K_QUANTS)
def test_what_a_half_cannot_hold_is_still_a_number(name):
    assert torch.isfinite(read(name, normal(1) * 1e12)).all()


@pytest.mark.parametrize(("name", "most"), [("Q4_K", 0.026), ("Q2_K", 0.12)])
def test_weights_above_zero_have_the_scale_that_fits_a_minimum_of_zero(name, most):
    blocks = torch.rand(200, 256, generator=torch.Generator().manual_seed(0)) + 0.5
    assert float((read(name, blocks) - blocks).pow(2).mean().sqrt()) < most
