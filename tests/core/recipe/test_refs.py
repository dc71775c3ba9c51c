"""Refs: models as recipes name them"""

import pytest

from artifactstore.core.recipe.document import read
from artifactstore.core.recipe.refs import parse_ref


@pytest.mark.parametrize("text", ["a", "org/a@main", "./a+l", "org/a@v1+org/l@v2"])
def test_a_line_is_read_and_written(text):
    ref = parse_ref(read(text, "r"), "model")
    assert str(ref) == text
    assert text == ref.model + (f"+{ref.adapter}" if ref.adapter else "")
    theirs = pytest.importorskip("mergekit.common").ModelReference.parse(text)
    assert (theirs.model.path, theirs.model.revision) == (ref.path, ref.revision)
    lora = (theirs.lora.path, theirs.lora.revision) if theirs.lora else (None, None)
    assert lora == (ref.lora, ref.lora_revision)


def test_the_long_form_is_the_same():
    text = "{model: {path: org/a, revision: v1}, lora: {path: l}}"
    assert str(parse_ref(read(text, "r"), "model")) == "org/a@v1+l"
    assert str(parse_ref(read("{model: org/a@v1}", "r"), "model")) == "org/a@v1"
