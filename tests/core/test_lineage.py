"""Links: known relations, finite weights, and how they stand in a manifest"""

import math

import pytest
from hypothesis import given

from artifactstore.core.digest import Digest
from artifactstore.core.errors import Invalid
from artifactstore.core.lineage import Link, Relation
from tests.core.manifests import links

NAMES = [
    "resume",
    "finetune",
    "adapter",
    "merge",
    "quantize",
    "distill",
    "convert",
    "reshard",
    "prune",
    "ema",
    "extract",
]


def test_the_relations_are_those_of_the_design():
    assert [Relation.parse(name) for name in NAMES] == list(Relation)
    assert [str(relation) for relation in Relation] == NAMES


@pytest.mark.parametrize("text", ["", "Merge", "merge ", "merge\n", "child", "x" * 1000])
def test_an_unknown_relation_is_refused_with_the_known_ones(text):
    with pytest.raises(Invalid, match="use one of resume, finetune") as refusal:
        Relation.parse(text)
    assert refusal.value.code == "invalid.relation"
    assert len(str(refusal.value)) < 250


@pytest.mark.parametrize("weight", [math.nan, math.inf, -math.inf, True, "0.5"])
def test_a_weight_is_a_finite_number(weight):
    with pytest.raises(Invalid, match="Weight of parent 'hero:1'") as refusal:
        Link(Relation.MERGE, "hero:1", weight=weight)
    assert refusal.value.code == "invalid.number"


@pytest.mark.parametrize("ref", ["", " hero", "hero\n", "a\u202eb", "x" * 201])
def test_a_parent_is_named_by_printable_text(ref):
    with pytest.raises(Invalid, match="parent reference"):
        Link(Relation.MERGE, ref)


def test_what_is_not_known_is_left_out():
    assert Link(Relation.MERGE, "hero:1").to_json() == {"relation": "merge", "ref": "hero:1"}
    full = Link(Relation.MERGE, "hero:1", Digest.of(b""), 0.0, {"density": 0.5}).to_json()
    assert full == {
        "relation": "merge",
        "ref": "hero:1",
        "id": Digest.of(b"").hex(),
        "weight": 0.0,
        "params": {"density": 0.5},
    }


@given(links)
def test_keys_are_those_of_the_format(link):
    assert {"relation", "ref"} <= set(link.to_json()) <= {"relation", "ref", "id", "weight", "params"}
