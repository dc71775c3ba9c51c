"""Model cards: huggingface_hub reads the front matter, markdown-it the body"""

import json

import pytest
import yaml
from huggingface_hub import ModelCard, metadata_load
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from artifactstore.core.exports.model_card import base_models, front_matter, text
from artifactstore.core.lineage import Relation
from artifactstore.core.provenance import card
from tests.core.exports.subjects import family, file, link, subject, subjects, version

SECRET = "x\n---\n# Not a heading\r\n...\n\x85---\u2028--- \x00\x1b[31m\u202e<script>|`*_[a](b)&amp;"


def rows(body):
    """Every table of a card's body as rows of plain text; anything but text in a cell is an error"""
    found = []
    for token in MarkdownIt("commonmark").enable("table").parse(body):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type == "inline":
            assert {part.type for part in token.children} <= {"text"}, token.content
            # level 1 is a heading
            if token.level > 1:
                found[-1][-1].append("".join(part.content for part in token.children))
    return found


def on_a_line(value):
    """What a cell shows of a text"""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in " ".join(value.split()))


def test_the_whole_card():
    told = family()
    read = ModelCard(text(told))
    assert read.data.to_dict() == front_matter(told)
    assert front_matter(told) == {
        "license": "llama3.1",
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["small", "fast"],
        "datasets": ["c4", "wiki"],
        "base_model": "merged",
        "base_model_relation": "quantized",
        "model-index": [
            {
                "name": "quant",
                "results": [
                    {
                        "task": {"type": "text-generation"},
                        "dataset": {"name": "c4", "type": "c4"},
                        "metrics": [
                            {"name": "loss", "type": "loss", "value": 0.25},
                            {"name": "steps", "type": "steps", "value": 3},
                        ],
                    }
                ],
            }
        ],
    }
    facts, lineage, metrics, files, metadata = rows(read.text)
    assert ["Version", "quant:2"] in facts
    assert ["Tensors, Q4_K", "2, 100 B"] in facts
    assert lineage[1:] == [["resume", f"quant:1 ({told.version.parents[0].id})", "", "hash"]]
    assert metrics[1:] == [["loss", "0.25"], ["steps", "3"]]
    assert files[2] == ["sub/ä b.txt", "1 B", str(told.version.files[1].sha256)]
    assert ["seed", "7"] in metadata


def test_a_merge_names_its_sources_in_the_recipes_order_and_once():
    order = [link("merge", f"hf://org/m{n}@{n}") for n in (3, 1, 3, 2, 1)]
    fields = front_matter(subject(version("soup", *order)))
    assert fields == {"base_model": ["org/m3", "org/m1", "org/m2"], "base_model_relation": "merge", "tags": ["merge"]}


def test_one_base_is_no_list():
    assert front_matter(subject(version("a", link("adapter", "hf://org/x"))))["base_model"] == "org/x"


@pytest.mark.parametrize("relation", ["resume", "convert", "reshard", "ema", "prune", "extract", "distill"])
def test_what_the_hub_has_no_word_for_leads_to_the_base_above(relation):
    tuned = version("tuned", link("finetune", "hf://org/base"))
    other = version("other", link(relation, tuned))
    assert base_models(subject(version("child", link(relation, other)), other, tuned)) == (["org/base"], "finetune")
    assert base_models(subject(version("child", link(relation, "hf://org/base")))) == ([], None)


def test_a_quant_of_a_merge_has_the_merge_as_its_base():
    merged = version("merged", link("merge", "hf://a/b"), link("merge", "hf://c/d"))
    assert base_models(subject(version("q", link("quantize", merged)), merged)) == (["merged"], "quantized")


def test_the_nearest_links_count():
    teacher = version("teacher", link("finetune", "hf://far/away"))
    student = version("student", link("distill", teacher), link("finetune", "hf://org/small"))
    assert base_models(subject(student, teacher)) == (["org/small"], "finetune")


def test_a_model_is_not_its_own_base():
    first = version("hero", link("finetune", "hf://org/base"), number=1)
    second = version("hero", link("finetune", first), number=2)
    third = version("hero", link("quantize", second), number=3)
    assert base_models(subject(third, second, first)) == (["org/base"], "finetune")


def test_of_several_kinds_none_is_named():
    both = version("b", link("adapter", "hf://a/b"), link("merge", "hf://c/d"))
    fields = front_matter(subject(both))
    assert fields == {"base_model": ["a/b", "c/d"]}


def test_what_cannot_be_the_name_of_a_repository_is_left_out():
    odd = [link("finetune", ref) for ref in ("name:My Model", "http://x/y", "run/7/a:3", "file:sd.safetensors")]
    assert base_models(subject(version("x", *odd))) == (["sd"], "finetune")
    # it is the base all the same, so that nothing above it counts
    above = version("run/7/a", link("finetune", "hf://org/base"))
    assert base_models(subject(version("x", link("finetune", above)), above)) == ([], None)


def test_a_ring_ends():
    one, two = version("one"), version("two")
    one, two = version("one", link("resume", two)), version("two", link("resume", one))
    assert base_models(subject(one, two)) == ([], None)


def test_a_very_long_line_of_resumed_versions():
    line = [version("run", link("finetune", "hf://org/base"), number=1)]
    for number in range(2, 5000):
        line.append(version("run", link("resume", line[-1]), number=number))
    assert base_models(subject(*reversed(line))) == (["org/base"], "finetune")


def test_what_we_write_we_read_back_as_parents():
    sources = [link("merge", "hf://org/a@x"), link("merge", "hf://org/b@y")]
    data = yaml.safe_load(text(subject(version("m", *sources, license="mit"))).split("---\n")[1])
    found = card.read(data, "README.md", lambda: Relation.FINETUNE, pytest.fail)
    assert [(one.relation, one.ref) for one in found.parents] == [("merge", "hf://org/a"), ("merge", "hf://org/b")]
    assert found.license == "mit"


def test_a_licence_of_ones_own():
    assert front_matter(subject(version("x", license="Mine, All Mine!"))) == {
        "license": "other",
        "license_name": "mine-all-mine",
    }
    named = version("x", license="other", metadata={"license_name": "Mine 1.0", "license_link": "https://x/y"})
    fields = front_matter(subject(named))
    assert fields == {"license": "other", "license_name": "mine-1.0", "license_link": "https://x/y"}
    files = [file("a/LICENSE"), file("License.md")]
    assert front_matter(subject(version("x", license="???", files=files))) == {
        "license": "other",
        "license_name": "other",
        "license_link": "License.md",
    }


def test_a_card_with_nothing_to_say_has_no_front_matter(tmp_path):
    body = text(subject(version("plain")))
    assert body.startswith("# plain\n\n| Version | plain:1 |\n")
    assert body.endswith(" |\n")
    (tmp_path / "README.md").write_text(body)
    assert metadata_load(tmp_path / "README.md") is None


def test_nothing_in_metadata_breaks_out(tmp_path):
    metadata = {"library_name": SECRET, "tags": [SECRET, "yes", "1e3", "0x1F", "a: b", "- c", "2024-01-01"]}
    metadata |= {"pipeline_tag": "null", "datasets": ["~", "{a}", "#x"], "language": "no", SECRET: SECRET}
    told = subject(version("x", metadata=metadata, license="other"))
    card_text = text(told)
    (tmp_path / "README.md").write_text(card_text)
    front, body = card_text.split("---\n", 2)[1:]
    assert front.isascii()
    # what YAML 1.2 takes for a number, and 1.1 for text, is text to both
    assert '- "1e3"\n- "0x1F"\n- "a: b"\n- "- c"\n- "2024-01-01"\n' in front
    assert yaml.safe_load(front) == metadata_load(tmp_path / "README.md") == front_matter(told)
    assert front_matter(told)["language"] == ["no"]
    assert [on_a_line(SECRET), on_a_line(SECRET)] in rows(body)[-1]
    assert all(char == "\n" or char.isprintable() for char in card_text)


@settings(deadline=None)
@given(subjects())
def test_any_card_is_read_as_it_was_meant(told):
    fields = front_matter(told)
    card_text = text(told)
    if fields:
        begin, front, body = card_text.split("---\n", 2)
        assert begin == ""
        assert yaml.safe_load(front) == json.loads(json.dumps(fields))
        assert ModelCard(card_text).data.get("base_model") == fields.get("base_model")
    else:
        body = card_text
    tables = rows(body)
    metadata = tables[-1][1:] if told.version.metadata else []
    assert [name for name, _ in metadata] == [on_a_line(name) for name in told.version.metadata]
    sections = [told.version.parents, told.version.metrics, told.version.files, told.version.metadata]
    assert [len(table) - 1 for table in tables[1:]] == [len(section) for section in sections if section]


@settings(deadline=None)
@given(st.text())
def test_any_text_stands_in_a_cell_as_it_is(value):
    told = subject(version("x", metadata={"k": value, "z": "end"}))
    assert rows(text(told).split("---\n")[-1])[-1][1:] == [["k", on_a_line(value)], ["z", "end"]]
