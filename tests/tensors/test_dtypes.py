"""Dtypes as the format, torch and NumPy see them"""

import numpy as np
import pytest
import torch

from artifactstore.core.errors import Corrupt
from artifactstore.core.formats.safetensors import DTYPE_BITS
from artifactstore.tensors.dtypes import NAMES, NUMPY, TORCH, allocate, allocate_array, view_array, view_bytes

CPU = torch.device("cpu")


def test_every_dtype_of_the_format_that_torch_has_is_known():
    assert set(DTYPE_BITS) - set(TORCH) == {"F6_E2M3", "F6_E3M2"}
    assert len(NAMES) == len(TORCH)


@pytest.mark.parametrize("name", TORCH)
def test_sizes_agree_with_the_format(name):
    assert TORCH[name].itemsize * 8 == DTYPE_BITS[name] * (2 if name == "F4" else 1)


@pytest.mark.parametrize("name", NUMPY)
def test_numpy_and_torch_see_the_same_bytes(name):
    array = np.arange(4).astype(NUMPY[name])
    tensor = allocate(name, (4,), array.nbytes, CPU)
    view_bytes(tensor)[:] = view_array(array)
    assert tensor.tolist() == array.tolist()


@pytest.mark.parametrize(
    ("name", "shape", "nbytes"),
    [
        ("F32", (2,), 4),
        ("F32", (-1, -1), 4),
        ("F32", (0, -1), 0),
        ("Q4", (2,), 8),
        ("F6_E2M3", (4,), 3),
        ("F4", (), 0),
        ("F4", (3, 1), 1),
        ("U8", (1,) * 33, 1),
    ],
)
def test_dtype_shape_and_size_must_agree(name, shape, nbytes):
    with pytest.raises(Corrupt, match="are no"):
        allocate(name, shape, nbytes, CPU)
    with pytest.raises(Corrupt, match="are no"):
        allocate_array(name, shape, nbytes)


def test_bfloat16_is_no_array():
    with pytest.raises(Corrupt):
        allocate_array("BF16", (1,), 2)
