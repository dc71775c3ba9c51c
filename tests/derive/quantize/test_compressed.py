"""Compressed tensors: codes and words as the reference library packs and reads them"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.core.errors import Invalid
from artifactstore.core.reading import Stored
from artifactstore.derive.quantize.compressed import choose, pack, quantization_config
from artifactstore.derive.quantize.levels import Level


@given(st.sampled_from([2, 3, 4, 8]), st.integers(1, 5), st.integers(1, 100), st.integers(0, 99))
def test_words_are_those_of_the_library(bits, rows, columns, seed):
    helpers = pytest.importorskip("compressed_tensors.compressors.pack_quantized.helpers")
    codes = torch.randint(0, 1 << bits, (rows, columns), generator=torch.Generator().manual_seed(seed))
    ours = pack(codes.to(torch.uint8), bits)
    theirs = helpers.pack_to_int32((codes - (1 << (bits - 1))).to(torch.int8), bits)
    assert torch.equal(ours.view(torch.int32), theirs)


def headers(**shapes):
    """Tensors of these names, dots written as two underscores"""
    named = {name.replace("__", ".") + ".weight": shape for name, shape in shapes.items()}
    return {name: Stored(name, "BF16", shape, ()) for name, shape in named.items()}


LINEAR, EMBEDDED = (256, 256), (1000, 256)


@pytest.mark.parametrize(
    ("tensors", "quantized", "ignored"),
    [
        (headers(model__embed_tokens=EMBEDDED, q_proj=LINEAR, norm=(256,)), ["q_proj"], ["lm_head"]),
        (headers(lm_head=EMBEDDED, gate=(8, 256), gate_proj=LINEAR), ["gate_proj"], ["lm_head", "gate"]),
        (
            headers(cls__predictions__transform__dense=LINEAR, query=LINEAR),
            ["query"],
            ["lm_head", "cls.predictions.decoder", "cls.predictions.transform.dense"],
        ),
        (headers(lm_head__dense=LINEAR, query=LINEAR), ["query"], ["lm_head", "lm_head.decoder", "lm_head.dense"]),
        (headers(pooler__dense=LINEAR, query=LINEAR), ["query"], ["lm_head", "pooler.dense"]),
    ],
)
def test_heads_and_routers_are_left_alone_with_or_without_a_tensor(tensors, quantized, ignored):
    scheme = choose(tensors, "some", Level.Q4)
    assert [name.removesuffix(".weight") for name in scheme.groups] == quantized
    assert quantization_config(scheme)["ignore"] == ignored


def test_rows_take_the_largest_group_that_fills_them():
    scheme = choose(headers(a=(8, 256), b=(8, 192), c=(8, 96), d=(8, 40), e=(8, 1024)), "some", Level.Q4)
    assert scheme.groups == {"a.weight": 128, "b.weight": 64, "c.weight": 32, "e.weight": 128}
    groups = quantization_config(scheme)["config_groups"]
    assert [(one["targets"], one["weights"]["group_size"]) for one in groups.values()] == [
        (["b"], 64),
        (["c"], 32),
        (["Linear"], 128),
    ]
    assert scheme.spared == ("lm_head", "d")
    assert scheme.notes == (
        "left alone, as no group of 32 fills their rows: 1, such as d.weight",
        "in groups of less than 128: 2, such as b.weight (64)",
    )


def test_what_is_no_matrix_is_left_alone_and_told():
    scheme = choose(headers(a=(8, 256), experts=(4, 8, 256)), "some", Level.Q3)
    assert list(scheme.groups) == ["a.weight"]
    assert scheme.notes[0] == "left alone, as they are no matrices: 1, such as experts.weight"


def test_models_without_a_layer_for_it():
    with pytest.raises(Invalid, match="no linear layer whose rows groups of 32 would fill"):
        choose(headers(norm=(256,), a=(8, 20)), "some", Level.Q4)


def test_plain_levels_say_one_dtype():
    scheme = choose(headers(a=(8, 20), norm=(8,)), "gpt2", Level.FP16)
    assert (scheme.groups, scheme.dtype, quantization_config(scheme)) == ({}, "float16", None)
