"""Compressed tensors: codes and words as the reference library packs and reads them"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.derive.quantize.compressed import pack

pytestmark = pytest.mark.filterwarnings("ignore")


@given(st.sampled_from([2, 3, 4, 8]), st.integers(1, 5), st.integers(1, 100), st.integers(0, 99))
def test_words_are_those_of_the_library(bits, rows, columns, seed):
    helpers = pytest.importorskip("compressed_tensors.compressors.pack_quantized.helpers")
    codes = torch.randint(0, 1 << bits, (rows, columns), generator=torch.Generator().manual_seed(seed))
    ours = pack(codes.to(torch.uint8), bits)
    theirs = helpers.pack_to_int32((codes - (1 << (bits - 1))).to(torch.int8), bits)
    assert torch.equal(ours.view(torch.int32), theirs)
