"""Dtypes: two of them come to what torch makes of them"""

from itertools import product

from artifactstore.core.recipe.dtypes import BY_NAME, NAMES, is_weight, promote


def test_promotion_is_torchs():
    import torch

    for names in product(BY_NAME, repeat=2):
        expected = torch.promote_types(*(getattr(torch, name) for name in names))
        assert promote([BY_NAME[name] for name in names]) == BY_NAME[str(expected).removeprefix("torch.")]
    assert promote(["BF16", "F16", "F64"]) == "F64"
    assert promote(["BF16"]) == "BF16"


def test_counts_and_eight_bits_are_no_weights():
    assert all(map(is_weight, NAMES))
    assert not any(map(is_weight, ("I64", "BOOL", "F8_E4M3", "U8")))
