"""Document: values with their lines, and no text that passes for another"""

from contextlib import suppress

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.core.errors import Invalid
from artifactstore.core.recipe.document import hint, read


def plain(value):
    if isinstance(value.found, tuple):
        return [plain(item) for item in value.found]
    if hasattr(value.found, "items"):
        return {key: plain(item) for key, item in value.found.items()}
    return value.found


def test_values_know_their_lines():
    document = read("a: 1\nb:\n  - x\n  - {c: yes}\n", "r.yml")
    found = document.mapping("it")
    assert plain(document) == {"a": 1, "b": ["x", {"c": True}]}
    assert [found["a"].line, found["b"].line, *(item.line for item in found["b"].items("b"))] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("", 1, "it is empty"),
        ("# a word\n", 1, "it is empty"),
        ("a: 1\nb: 2\na: 3\n", 3, "key 'a' stands here and at line 1"),
        ("a:\n  b: 1\n  b: 1\n", 3, "key 'b' stands here and at line 2"),
        ("a: 1\n? [b]\n: c\n", 2, "a key should be one word"),
        ("a: &x 1\nb: *x\n", 2, "it holds an alias"),
        ("a: 1\nb: !!python/name:os.system x\n", 2, "it holds a tag"),
        ("a: 1\nb: [1\n", 3, "not YAML: while parsing a flow sequence"),
        ("a: 2024-13-45", 1, "'2024-13-45' is no value that YAML has"),
        ("a\0b", 1, "not YAML"),
        ("- " * 40 + "x", 1, "levels deep"),
        ("- a\n--- \n- b", 2, "a single document"),
    ],
)
def test_what_is_odd_is_refused_with_its_line(text, line, why):
    with pytest.raises(Invalid) as refusal:
        read(text, "r.yml")
    assert refusal.value.message.startswith(f"r.yml: line {line}: ")
    assert why in refusal.value.message
    assert refusal.value.message.isprintable()
    assert (refusal.value.facts["path"], refusal.value.facts["line"]) == ("r.yml", line)


def test_dates_are_texts():
    assert plain(read("a: 2024-01-31", "r.yml")) == {"a": "2024-01-31"}


@pytest.mark.parametrize(
    ("text", "number"), [("1", 1.0), ("-0.5", -0.5), ("1e-3", 0.001), ("'0.25'", 0.25), ("0x10", 16.0)]
)
def test_numbers_are_read_also_where_yaml_takes_them_for_texts(text, number):
    assert read(text, "r").number("it") == number


@pytest.mark.parametrize("text", [".nan", ".inf", "-.inf", "nan", "'inf'", "true", "x", "[1]", "{a: 1}", "~"])
def test_what_is_no_finite_number_is_refused(text):
    with pytest.raises(Invalid, match="it should be a finite number, found"):
        read(text, "r").number("it")


def test_a_number_that_no_double_holds_is_refused():
    with pytest.raises(Invalid, match="found an int of 1200 bits"):
        read("0x" + "f" * 300, "r").number("it")


@pytest.mark.parametrize(("text", "flag"), [("yes", True), ("'True'", True), ("1", True), ("off", False), ("0", False)])
def test_flags(text, flag):
    assert read(text, "r").flag("it") is flag


@pytest.mark.parametrize("text", ["2", "maybe", "1.0", "[true]", "~", "''"])
def test_what_is_no_flag_is_refused(text):
    with pytest.raises(Invalid, match="it should be true or false"):
        read(text, "r").flag("it")


@pytest.mark.parametrize("text", ["-1", "1.5", "true", "x", "9007199254740992", "[1]"])
def test_what_is_no_whole_number_is_refused(text):
    with pytest.raises(Invalid, match="it should be a whole number from 0"):
        read(text, "r").integer("it")
    assert read("7", "r").integer("it", 7) == 7


def test_other_kinds_than_asked_for_are_refused():
    with pytest.raises(Invalid, match="it should be keys and values, found a list of 2"):
        read("[1, 2]", "r").mapping("it")
    with pytest.raises(Invalid, match="it should be a list, found keys and values"):
        read("{a: 1}", "r").items("it")
    with pytest.raises(Invalid, match="it should be a list, found an empty list"):
        read("[]", "r").items("it")
    with pytest.raises(Invalid, match="it should be a text, found 3"):
        read("3", "r").text("it")
    with pytest.raises(Invalid, match="it should be a text, found nothing"):
        read("~", "r").text("it")
    with pytest.raises(Invalid, match="line 2: it has no key 'wieght'; did you mean 'weight'"):
        read("weight: 1\nwieght: 2", "r").mapping("it", ("weight", "density"))


def test_a_hint_names_what_is_near_or_all_there_is():
    assert hint("densty", ("weight", "density")) == "; did you mean 'density'?"
    assert hint("q", ("weight", "density")) == "; it takes density, weight"


@given(st.text() | st.text(alphabet="[]{}-:,&*!?|>'\"%@`#~ \n=<0123456789.axeE_+\\\t"))
def test_any_text_is_refused_with_a_line_or_read_as_safe_load_reads_it(text):
    try:
        found = plain(read(text, "r.yml"))
    except Invalid as e:
        assert e.message.startswith(f"r.yml: line {e.facts['line']}: ")
        return
    with suppress(yaml.YAMLError):
        loaded = yaml.safe_load(text)
        if isinstance(loaded, str | bool):
            assert found == loaded
