"""Layers: stacks are found by the numbers in names"""

import pytest

from artifactstore.core.recipe.layers import is_before, layout
from tests.core.recipe.shelf import bert, llama


def test_the_layers_of_a_llama():
    model = llama("a", layers=12)
    found = layout(model.tensors, model.config)
    assert (found.main, found.layers, dict(found.stacks)) == ("model.layers", 12, {"model.layers": 12})
    place = found.place("model.layers.11.mlp.up_proj.weight")
    assert (place.stack, place.number, place.rest) == ("model.layers", 11, "mlp.up_proj.weight")
    assert place.at(3) == "model.layers.3.mlp.up_proj.weight"
    assert [found.depth(f"model.layers.{n}.x") for n in (0, 11)] == [0, 1]
    assert found.depth("model.norm.weight") is None


def test_numbers_in_a_layer_or_a_head_are_no_layers():
    names = [f"model.layers.{n}.mlp.experts.{e}.w" for n in range(3) for e in range(8)]
    assert dict(layout(names, {}).stacks) == {"model.layers": 3}
    model = bert("a", layers=3, head=True)
    assert dict(layout(model.tensors, model.config).stacks) == {"encoder.layer": 3}


def test_another_stack_is_one_by_the_configuration():
    names = [*(f"encoder.block.{n}.w" for n in range(4)), *(f"decoder.block.{n}.w" for n in range(2))]
    assert dict(layout(names, {"num_decoder_layers": 2}).stacks) == {"encoder.block": 4, "decoder.block": 2}
    assert dict(layout(names, {"vision_config": {"depth": 2}}).stacks) == {"encoder.block": 4, "decoder.block": 2}
    assert dict(layout(names, {"layers": True, "depth": 1}).stacks) == {"encoder.block": 4}


def test_layers_with_a_gap_are_none():
    assert layout(["a.0.w", "a.2.w", "b"], {}).main is None
    assert layout([], {}).layers == 0
    assert layout(["a." + "9" * 5000 + ".w"], {}).main is None


@pytest.mark.parametrize(
    ("name", "before"),
    [
        ("model.embed_tokens.weight", True),
        ("transformer.wte.weight", True),
        ("embeddings.LayerNorm.weight", True),
        ("embed_out.weight", False),
        ("model.norm.weight", False),
        ("lm_head.weight", False),
        ("pooler.dense.bias", False),
    ],
)
def test_embeddings_come_before_the_layers_and_heads_after(name, before):
    assert is_before(name) is before
