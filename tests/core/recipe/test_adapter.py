"""Adapter: which tensors a LoRA changes how, and what is none that can be merged"""

import json
import math

import pytest

from artifactstore.core.errors import Invalid
from artifactstore.core.recipe.adapter import LowRank, Whole, changes, parse_adapter

CONFIG = {"peft_type": "LORA", "r": 4, "lora_alpha": 8}
BASE = {"model.q.weight": (6, 5), "model.k.weight": (3, 5), "model.wte.weight": (9, 5), "head.weight": (9, 5)}
A, B = "base_model.model.model.q.lora_A.weight", "base_model.model.model.q.lora_B.weight"


def parsed(**more):
    return parse_adapter(json.dumps({**CONFIG, **more}).encode(), "lora")


def test_two_halves_and_their_scale():
    found = changes(parsed(), {A: (4, 5), B: (6, 4)}, BASE, "lora")
    assert found == {"model.q.weight": LowRank(B, A, 2.0, turned=False)}


@pytest.mark.parametrize(
    ("more", "scale"),
    [
        ({"use_rslora": True}, 4.0),
        ({"alpha_pattern": {"q": 12}}, 3.0),
        ({"alpha_pattern": {"^model.q$": 12}}, 3.0),
        ({"alpha_pattern": {"other": 12}}, 2.0),
    ],
)
def test_scales(more, scale):
    assert math.isclose(parsed(**more).scale("model.q", 4), scale)


def test_matrices_that_are_kept_transposed():
    found = changes(parsed(fan_in_fan_out=True), {A: (4, 6), B: (5, 4)}, BASE, "lora")
    assert found == {"model.q.weight": LowRank(A, B, 2.0, turned=True)}


def test_embeddings_and_what_is_saved_whole():
    adapter = {
        "base_model.model.model.wte.lora_embedding_A": (4, 9),
        "base_model.model.model.wte.lora_embedding_B": (5, 4),
        "base_model.model.model.wte.base_layer.weight": (9, 5),
        "base_model.model.head.modules_to_save.weight": (9, 5),
    }
    first, second, onto, head = adapter
    found = changes(parsed(), adapter, BASE, "lora")
    assert found == {
        "model.wte.weight": LowRank(first, second, 2.0, turned=True, onto=onto),
        "head.weight": Whole(head),
    }


@pytest.mark.parametrize(
    ("adapter", "told"),
    [
        ({A: (4, 5)}, "only lora_A"),
        ({A: (4, 5), B: (6, 3)}, "do not fit"),
        ({A: (4, 7), B: (6, 4)}, "is \\[6, 5\\] in the base and \\[6, 7\\]"),
        ({A.replace("q", "z"): (4, 5), B.replace("q", "z"): (6, 4)}, "no tensor 'model.z.weight'"),
        ({"base_model.model.model.q.lora_magnitude_vector": (6,)}, "variant"),
        ({"base_model.model.tail.weight": (6,)}, "no tensor 'tail.weight'"),
        ({A: (0, 5), B: (6, 0)}, "do not fit"),
    ],
)
def test_tensors_that_do_not_fit_are_named(adapter, told):
    with pytest.raises(Invalid, match=told):
        changes(parsed(), adapter, BASE, "lora")


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"{", "cannot be read"),
        (b"[]", "cannot be read"),
        (b"[" * 100_000, "cannot be read"),
        (b"{}", "only LORA"),
        (b'{"peft_type": "IA3"}', "IA3"),
        (b'{"peft_type": "LORA", "use_dora": true}', "use_dora"),
        (b'{"peft_type": "LORA", "lora_alpha": "much"}', "cannot be read"),
        (b'{"peft_type": "LORA", "lora_alpha": NaN}', "no finite number"),
        (b'{"peft_type": "LORA", "alpha_pattern": {"(a+)+": 1}}', "no name of a module"),
    ],
)
def test_what_is_no_adapter_says_why_in_one_line(raw, told):
    with pytest.raises(Invalid, match=told) as caught:
        parse_adapter(raw, "lora")
    assert "\n" not in caught.value.message
