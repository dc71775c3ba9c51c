"""Levels: names as people type them, and what each target can hold"""

import subprocess
import sys

import pytest

from artifactstore.core.errors import Invalid
from artifactstore.derive.quantize.levels import Level, Target, form, parse_level, parse_target


@pytest.mark.parametrize("text", ["q4", "Q4", " q4 "])
def test_names_in_any_case(text):
    assert parse_level(text) is Level.Q4


def test_what_is_not_known_names_what_is_near():
    with pytest.raises(Invalid, match=r"level 'int9'.*known: fp16, bf16, fp8, int8, q8, q4, q3, q2.*did you mean int8"):
        parse_level("int9")
    with pytest.raises(Invalid, match=r"target 'gpus'.*did you mean gpu"):
        parse_target("gpus")


@pytest.mark.parametrize(
    ("level", "target", "others"),
    [("fp8", "web", ["gpu"]), ("fp8", "cpu", ["gpu"]), ("bf16", "web", ["gpu", "cpu"])],
)
def test_what_a_target_cannot_hold_says_which_can(level, target, others):
    with pytest.raises(Invalid, match=f"cannot hold {level}: choose --target {' or '.join(others)}") as caught:
        form(Level(level), Target(target))
    assert caught.value.facts["targets"] == others
    assert level not in caught.value.facts["levels"]


def test_three_bits_on_the_web_say_what_they_are():
    assert form(Level.Q3, Target.WEB).label == "ONNX q3-mixed, 4 and 2 bits"
    assert [form(Level.Q4, target).label for target in Target] == ["ONNX q4", "compressed-tensors 4 bits", "GGUF Q4_K"]


def test_it_needs_no_torch():
    code = "import sys, artifactstore.derive.quantize.levels; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
