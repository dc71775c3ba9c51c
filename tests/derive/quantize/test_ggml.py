"""Types of GGUF: the bytes that llama.cpp's own encoders give"""

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from artifactstore.core.errors import Invalid
from artifactstore.derive.quantize.ggml import TYPES

gguf = pytest.importorskip("gguf")
floats = st.floats(-1e4, 1e4, width=32)


@pytest.mark.parametrize("name", ["Q8_0", "Q4_0"])
@given(st.lists(floats, min_size=32, max_size=32), st.integers(0, 99))
@example([-0.0] + [0.0] * 31, 0)
def test_blocks_are_those_of_the_library(name, values, seed):
    rows = torch.cat([torch.tensor([values]), torch.randn(3, 32, generator=torch.Generator().manual_seed(seed))])
    theirs = gguf.quants.quantize(rows.numpy(), gguf.GGMLQuantizationType[name])
    assert np.array_equal(TYPES[name].encode(rows).numpy(), theirs)


@pytest.mark.parametrize("name", ["F32", "F16", "BF16"])
def test_plain_types_are_those_of_the_library(name):
    rows = torch.randn(5, 64)
    theirs = gguf.quants.quantize(rows.numpy(), gguf.GGMLQuantizationType[name])
    assert TYPES[name].encode(rows).view(torch.uint8).numpy().tobytes() == theirs.tobytes()


@pytest.mark.parametrize("name", TYPES)
def test_sizes_are_those_that_are_written(name):
    kind = TYPES[name]
    rows = torch.randn(3, 512)
    assert kind.encode(rows).nbytes == rows.numel() // kind.block * kind.nbytes
    assert kind.number == gguf.GGMLQuantizationType[name]


@pytest.mark.parametrize("name", ["Q8_0", "Q4_0"])
def test_what_is_no_number_has_no_code(name):
    with pytest.raises(Invalid, match="infinite or not a number"):
        TYPES[name].encode(torch.full((1, 32), float("nan")))


@pytest.mark.parametrize("name", ["F16", "Q8_0"])
def test_what_a_half_cannot_hold_is_told(name):
    with pytest.raises(Invalid, match="more than fp16 can"):
        TYPES[name].encode(torch.full((1, 32), 1e9))
