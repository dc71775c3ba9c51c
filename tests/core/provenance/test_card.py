"""Model cards: base models, relations and licences, read as the Hub's own library reads them"""

import pytest
from huggingface_hub import ModelCard, ModelCardData
from huggingface_hub.repocard import REGEX_YAML_BLOCK
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.core.errors import Invalid
from artifactstore.core.lineage import Relation
from artifactstore.core.provenance import card
from artifactstore.core.provenance.card import front_matter
from artifactstore.core.provenance.yaml_text import load_yaml
from tests.core.provenance.versions import Told, brief

PEFT = """---
base_model: meta-llama/Llama-2-7b-hf
library_name: peft
license: llama2
tags:
- generated_from_trainer
model-index:
- name: outputs
  results: []
---

# outputs
"""
MERGE = """---
base_model:
- mistralai/Mistral-7B-v0.1
- HuggingFaceH4/zephyr-7b-beta
- mistralai/Mistral-7B-v0.1
library_name: transformers
tags:
- mergekit
- merge
---
# merge
"""
QUANTIZED = """---\r
base_model: NousResearch/Hermes-2-Pro\r
base_model_relation: quantized\r
license: other\r
license_name: hermes-license\r
license_link: LICENSE\r
---\r
"""


def read(text, inferred=Relation.FINETUNE):
    told = Told()
    front = front_matter(text.encode())
    found = card.read(None if front is None else load_yaml(front), "README.md", lambda: inferred, told)
    return found, told.lines


def test_real_cards():
    peft, told = read(PEFT, Relation.ADAPTER)
    assert brief(peft.parents) == [("adapter", "hf://meta-llama/Llama-2-7b-hf")]
    assert (peft.license, told) == ("llama2", [])
    assert dict(peft.parents[0].params) == {"read": "README.md"}
    merge, told = read(MERGE, Relation.QUANTIZE)
    assert brief(merge.parents) == [
        ("merge", "hf://mistralai/Mistral-7B-v0.1"),
        ("merge", "hf://HuggingFaceH4/zephyr-7b-beta"),
    ]
    assert (merge.license, told) == (None, [])
    quantized, told = read("\ufeff" + QUANTIZED)
    assert brief(quantized.parents) == [("quantize", "hf://NousResearch/Hermes-2-Pro")]
    assert (quantized.license, told) == ("hermes-license", [])


@pytest.mark.parametrize("inferred", [Relation.ADAPTER, Relation.QUANTIZE, Relation.CONVERT, Relation.FINETUNE])
def test_what_is_not_said_is_inferred(inferred):
    assert read("---\nbase_model: a/b\n---\n", inferred)[0].parents[0].relation is inferred
    tagged = read("---\nbase_model: a/b\ntags: [mergekit]\n---\n", inferred)[0].parents[0].relation
    assert tagged is (Relation.MERGE if inferred is Relation.FINETUNE else inferred)


@pytest.mark.parametrize(("said", "relation"), card.RELATIONS.items())
def test_what_is_said_holds_also_for_several(said, relation):
    found, told = read(f"---\nbase_model: [a/b, c/d]\nbase_model_relation: {said}\n---\n", Relation.ADAPTER)
    assert [link.relation for link in found.parents] == [relation] * 2
    assert told == []


@pytest.mark.parametrize("said", ["distilled", "7", "[adapter]"])
def test_an_unknown_relation_is_told(said):
    found, (line,) = read(f"---\nbase_model: a/b\nbase_model_relation: {said}\n---\n")
    assert brief(found.parents) == [("finetune", "hf://a/b")]
    assert "not one of adapter, merge, quantized, finetune" in line


@pytest.mark.parametrize("value", ["7", "{a: b}", "[{name: x}]", "[[a/b]]", "2024-01-01", "true", '"a\\0b"', "x" * 300])
def test_what_names_no_model_is_told(value):
    found, (line,) = read(f"---\nbase_model: {value}\nlicense: mit\n---\n")
    assert found.parents == ()
    assert found.license == "mit"
    assert "names no model; no parent was taken from it" in line


@pytest.mark.parametrize("value", ["", "null", "[]", "''"])
def test_no_base_model_is_nothing_to_tell_of(value):
    assert read(f"---\nbase_model: {value}\nbase_model_relation: odd\n---\n") == (card.Provenance(), [])


def test_ten_thousand_entries_are_bounded_and_the_odd_ones_told_once():
    names = [f"org/m{n}" for n in range(998)] + ["7", "[]"] + ["org/late"] * 9000
    found, told = read("---\nbase_model:\n" + "".join(f"- {name}\n" for name in names) + "---\n")
    assert len(found.parents) == 998
    assert told == [
        "README.md: it names more than 1000 parents; only so many were taken",
        "README.md: a value of type int (and 1 more) names no model; no parent was taken from it",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("license: [apache-2.0, mit]", "apache-2.0, mit"),
        ("license: other", "other"),
        ("license: no", None),
        ("license: []", None),
        ("license: [1]", None),
        ("license: {a: b}", None),
    ],
)
def test_licences(text, expected):
    assert read(f"---\n{text}\n---\n")[0].license == expected


@pytest.mark.parametrize("text", ["---\njust words\n---\n", "---\n- a\n---\n"])
def test_a_front_matter_without_keys_is_refused(text):
    with pytest.raises(Invalid, match="not keys and values"):
        read(text)


@pytest.mark.parametrize(
    "text", ["", "# A model\n", "---", "---\n---\n", "---\nbase_model: a/b\n", "a\n---\nb: c\n---\n"]
)
def test_a_card_without_front_matter_says_nothing(text):
    assert read(text) == (card.Provenance(), [])


def test_a_front_matter_that_does_not_end_in_what_was_read():
    with pytest.raises(Invalid, match="does not end in the first 13 bytes"):
        front_matter(b"---\nlicense: ", whole=False)
    assert front_matter(b"---\na: 1\n---\n\xff\xfe", whole=False) == "a: 1"
    assert front_matter(b"# A model\n---\n", whole=False) is None
    with pytest.raises(Invalid, match="not UTF-8"):
        front_matter(b"---\na: \xff\n---\n")


@given(
    st.text(alphabet="-ab: \t\r\n") | st.lists(st.sampled_from(["---", "\n", "\r\n", " ", "a: b", "\t"])).map("".join)
)
def test_the_front_matter_is_where_the_hub_finds_it(text):
    match = REGEX_YAML_BLOCK.search(text)
    assert front_matter(text.encode()) == (match.group(2) if match else None)


SEGMENT = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_]{0,8}", fullmatch=True).filter(
    lambda text: text.lower() not in {"none", "null", "unknown"}
)
REPO = st.tuples(SEGMENT, SEGMENT).map("/".join)


@given(
    base=REPO | st.lists(REPO, min_size=1, unique=True),
    relation=st.none() | st.sampled_from(sorted(card.RELATIONS)),
    terms=st.none() | st.sampled_from(["mit", "apache-2.0", "no", "on"]),
)
def test_a_card_written_by_huggingface_hub_is_read_as_it_reads_it(base, relation, terms):
    data = ModelCardData(base_model=base, license=terms, base_model_relation=relation, tags=["a"])
    text = f"---\n{data.to_yaml()}\n---\n# Title\n"
    theirs = ModelCard(text).data
    ours, told = read(text)
    listed = theirs.base_model if isinstance(theirs.base_model, list) else [theirs.base_model]
    assert [link.ref for link in ours.parents] == [f"hf://{name}" for name in listed]
    assert ours.license == theirs.license
    inferred = Relation.MERGE if len(listed) > 1 else Relation.FINETUNE
    expected = card.RELATIONS[theirs.base_model_relation] if relation else inferred
    assert {link.relation for link in ours.parents} == {expected}
    assert told == []
