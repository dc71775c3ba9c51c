"""Levels by their names, and the bits of each matrix"""

import pytest

from artifactstore.core.errors import Invalid
from artifactstore.derive.web.levels import LEVELS, web_level


@pytest.mark.parametrize(
    ("node", "bits"),
    [
        ("/model/layers.3/attn/q_proj/MatMul", 2),
        ("/model/layers.3/attn/v_proj/MatMul", 4),
        ("/model/layers.3/mlp/up_proj/MatMul", 2),
        ("/model/layers.3/mlp/down_proj/MatMul", 4),
        ("/lm_head/MatMul", 4),
        ("/encoder/layer/0/attention/self/key/MatMul", 2),
        ("/encoder/layer/0/attention/output/dense/MatMul", 4),
        ("/encoder/layer/0/intermediate/dense/MatMul", 2),
    ],
)
def test_three_bits_are_where_two_lose_least(node, bits):
    assert LEVELS["q3"].bits_of(node) == bits
    assert LEVELS["q2"].bits_of(node) == (4 if "lm_head" in node else 2)
    assert LEVELS["q4"].bits_of(node) == 4


def test_paths_are_those_of_transformers_js():
    suffixes = {"fp32": "", "fp16": "_fp16", "q8": "_quantized", "q4": "_q4", "q4f16": "_q4f16", "q2": "_q2"}
    for name, suffix in suffixes.items():
        assert web_level(name).path == f"onnx/model{suffix}.onnx"
        assert web_level(name).dtype == name


def test_what_the_web_has_not_is_refused_with_what_it_has():
    with pytest.raises(Invalid, match="The web holds no fp8; use one of fp32, fp16, q8"):
        web_level("fp8")


def test_people_are_told_what_three_bits_are():
    assert [LEVELS[name].label for name in ("q4", "q3")] == ["q4", "q3-mixed, 4 and 2 bits"]
