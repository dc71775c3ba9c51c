"""Config patch: one key is changed, and not another byte"""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.core.errors import Invalid
from artifactstore.core.recipe.config_patch import add_tokens, patch

CONFIG = b'{\n  "architectures": [\n    "LlamaForCausalLM"\n  ],\n  "rms_norm_eps": 1e-05,\n  "text_config": {\n    "vocab_size": 10\n  },\n  "torch_dtype": "bfloat16"\n}\n'


def test_a_value_is_set_in_place():
    assert patch(CONFIG, {"torch_dtype": "float32"}) == CONFIG.replace(b"bfloat16", b"float32")
    assert patch(CONFIG, {"text_config.vocab_size": 12}) == CONFIG.replace(b"10", b"12")
    assert patch(CONFIG, {}) == CONFIG


def test_a_key_is_added_at_the_end_as_the_others_are_written():
    added = CONFIG.replace(b'"bfloat16"\n', b'"bfloat16",\n  "layer_types": [\n    "a",\n    "b"\n  ]\n')
    assert patch(CONFIG, {"layer_types": ["a", "b"]}) == added
    assert patch(b'{"a": 1}', {"b": [1, 2]}) == b'{"a": 1,"b": [1, 2]}'
    assert patch(b"{ }", {"b": "\xe9"}) == b'{"b": "\\u00e9" }'
    assert patch(b"{}", {"a.b": 1}) == b'{"a": {"b": 1}}'


@pytest.mark.parametrize(
    ("key", "left"), [("a", b'{\n"b": 2,\n"c": 3\n}'), ("b", b'{\n"a": 1,\n"c": 3\n}'), ("c", b'{\n"a": 1,\n"b": 2\n}')]
)
def test_a_key_is_taken_away_with_its_comma(key, left):
    assert patch(b'{\n"a": 1,\n"b": 2,\n"c": 3\n}', {key: None}) == left
    assert patch(b'{\n"a": 1,\n"b": 2,\n"c": 3\n}', {"d": None, "a.b": None}) == b'{\n"a": 1,\n"b": 2,\n"c": 3\n}'
    assert patch(b'{ "a": 1 }', {"a": None}) == b"{ }"


def test_a_mark_of_byte_order_stays():
    assert patch(b"\xef\xbb\xbf{}", {"a": 1}) == b'\xef\xbb\xbf{"a": 1}'


@pytest.mark.parametrize("raw", [b"", b"[]", b'{"a": 1', b"\xff", b"[" * 100_000])
def test_what_is_no_object_is_refused(raw):
    with pytest.raises(Invalid, match=r"tokenizer_config.json (is no JSON|should be a JSON object)"):
        patch(raw, {"a": 1}, "tokenizer_config.json")


KEYS = st.text(st.characters(exclude_characters=".", exclude_categories=("Cs",)))
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner), max_leaves=8)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=5)


@given(OBJECTS, st.lists(st.tuples(KEYS, VALUES), max_size=3), st.sampled_from([None, 0, 2, "\t"]), st.booleans())
def test_any_object_comes_out_as_if_it_had_been_read_changed_and_written(document, changes, indent, ascii_only):
    raw = json.dumps(document, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    try:
        raw.decode()
    except UnicodeDecodeError:
        return
    changed = dict(document)
    for key, value in dict(changes).items():
        if value is None:
            changed.pop(key, None)
        else:
            changed[key] = value
    found = json.loads(patch(raw, dict(changes)))
    assert found == changed
    assert list(found) == list(changed)


def test_tokens_are_added_to_a_tokenizer():
    raw = b'{"version": "1.0", "added_tokens": [{"id": 0, "content": "<s>"}], "model": {"vocab": {"a": 1}}}'
    found = json.loads(add_tokens(raw, {"<x>": 2}))
    assert found["added_tokens"][0] == {"id": 0, "content": "<s>"}
    assert (found["added_tokens"][1]["id"], found["added_tokens"][1]["content"]) == (2, "<x>")
    assert add_tokens(raw, {}) is raw
    with pytest.raises(Invalid, match="has no added_tokens"):
        add_tokens(b"{}", {"a": 1})
