"""The subject of an export, and how metadata is read"""

import pytest

from artifactstore.core.errors import Invalid
from artifactstore.core.exports.base import Kind, properties, shown, word, words
from tests.core.exports.subjects import family, link, subject, version


def test_kinds():
    assert [Kind.parse(kind) for kind in Kind] == list(Kind)
    with pytest.raises(Invalid, match="model-card, cyclonedx"):
        Kind.parse("pdf")


def test_words_of_metadata():
    metadata = {"list": ["a", 1, " b ", "a", ""], "text": "x, y,,x", "number": 5, "blank": " ", "word": " w "}
    assert words(metadata, "list") == ["a", "b"]
    assert words(metadata, "text") == ["x", "y"]
    assert words(metadata, "number") == words(metadata, "none") == words(metadata, "blank") == []
    assert word(metadata, "word") == "w"
    assert word(metadata, "number") is word(metadata, "blank") is word(metadata, "list") is None


def test_what_is_told_has_no_row_outside():
    told = family()
    assert [one.ref for one in told.versions] == ["quant:2", "quant:1", "merged:1", "tuned:1", "org/base:1"]
    assert list(told.outside()) == ["hf://Other/Model@ABCdef", "file:old.ckpt"]
    assert told.known(link("resume", told.version)) is told.version


def test_outside_each_is_named_once():
    far = version("far")
    links = [link("merge", far), link("merge", "hf://x"), link("merge", "hf://x"), link("adapter", far)]
    assert list(subject(version("child", *links)).outside()) == [str(far.id), "hf://x"]


def test_properties_are_texts():
    told = dict(properties(family().version))
    assert told["artifactstore:step"] == "10"
    assert told["artifactstore:metadata:datasets"] == '["c4", "wiki"]'
    assert told["artifactstore:dtype:Q4_K"] == "2 tensors, 100 bytes"
    assert shown({"b": "é", "a": None}) == '{"a": null, "b": "é"}'
