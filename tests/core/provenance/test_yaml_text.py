"""YAML of strangers: plain values only, and no short text that costs much"""

from contextlib import suppress

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.core.errors import Invalid
from artifactstore.core.provenance.yaml_text import load_yaml

LAUGHS = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (LAUGHS, "an alias"),
        ("a: !!python/object/apply:os.system [ls]", "a tag"),
        ("a: !!int ''", "a tag"),
        ("a: !!timestamp x", "a tag"),
        ("[" * 40, "levels deep"),
        ("- " * 40 + "x", "levels deep"),
        ("a: " + "1:" * 60 + "1", "over 100 digits"),
        ("a: " + "9" * 5000, "over 100 digits"),
        ("- \n" * 200_001, "more than 200000 parts"),
        ("".join(f"{(2**61 - 1) * n}: 0\n" for n in range(1, 200)), "too many large ones"),
        ("".join(f"{(2**61 - 1) * n:#x}: 0\n" for n in range(1, 200)), "too many large ones"),
        ("a: [1", "did not find expected .* line 2"),
        ("a: b: c", "mapping values are not allowed in this context, line 1"),
        ("? [a]\n: b", "unhashable key"),
        ("a: 2024-13-45", "month must be in"),
        ("a: 2001-01-01T00:00:00+99:00", "not YAML: offset must be"),
        ("a: =", "constructor"),
        ("a\0b", "not YAML"),
        ("---\na\n---\nb", "expected a single document in the stream, but found another document, line 3"),
    ],
)
def test_what_is_odd_is_refused_in_one_line(text, why):
    with pytest.raises(Invalid, match=why) as refusal:
        load_yaml(text)
    assert refusal.value.message.isprintable()


def test_plain_values_are_read_as_safe_load_reads_them():
    text = "a: [1, 0.5, yes, null, 'no']\nb: {c: &anchor 2026-01-31}\na: again\n"
    assert load_yaml(text) == yaml.safe_load(text)
    assert load_yaml("") is None


@given(st.text() | st.text(alphabet="[]{}-:,&*!?|>'\"%@`#~ \n=<0123456789.axeE_+\\\t"))
def test_any_text_is_refused_or_read_as_safe_load_reads_it(text):
    # libyaml takes some that PyYAML's own scanner does not, such as a tab at the end of a line
    with suppress(Invalid, yaml.YAMLError):
        assert repr(load_yaml(text)) == repr(yaml.safe_load(text))


def test_without_libyaml_the_same_is_read():
    assert load_yaml("a: [1, b]", yaml.SafeLoader) == {"a": [1, "b"]}
    with pytest.raises(Invalid, match="an alias"):
        load_yaml(LAUGHS, yaml.SafeLoader)
