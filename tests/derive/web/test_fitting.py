"""Two bits with the scale and the zero point that lose least"""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.derive.web.blocks import _kernel
from artifactstore.derive.web.fitting import quantize
from artifactstore.derive.web.levels import BLOCK


def restored(parts, inner):
    """The matrix that MatMulNBits makes of it"""
    packed, scales, zeros = parts
    steps = np.stack([packed >> shift & 3 for shift in (0, 2, 4, 6)], -1).reshape(*packed.shape[:2], -1)
    zero = np.stack([zeros >> shift & 3 for shift in (0, 2, 4, 6)], -1).reshape(len(zeros), -1)[:, : scales.shape[1]]
    blocks = (steps.astype(np.float32) - zero[..., None]) * scales[..., None]
    return blocks.reshape(len(packed), -1)[:, :inner].T


@given(st.integers(1, 100), st.integers(1, 9), st.integers(0, 2**32 - 1), st.sampled_from([0.0, 1e-6, 1.0, 1e6]))
def test_it_never_loses_more_than_the_library(inner, outer, seed, size):
    random = np.random.default_rng(seed)
    matrix = (random.standard_normal((inner, outer)) * size + random.standard_normal() * size).astype(np.float32)
    ours, theirs = quantize(matrix), _kernel(2)(matrix)
    assert [(one.shape, one.dtype) for one in ours] == [(one.shape, one.dtype) for one in theirs]
    error = ((restored(ours, inner) - matrix) ** 2).sum()
    assert error <= ((restored(theirs, inner) - matrix) ** 2).sum() * 1.0001 + 1e-20


def test_it_loses_much_less_of_weights_as_they_are():
    matrix = np.random.default_rng(0).standard_normal((32 * BLOCK, 64)).astype(np.float32)
    error = [((restored(part, len(matrix)) - matrix) ** 2).sum() for part in (quantize(matrix), _kernel(2)(matrix))]
    assert error[0] < 0.7 * error[1]
