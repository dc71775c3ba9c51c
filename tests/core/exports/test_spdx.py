"""SPDX: read, linked and written again by the bindings made from its own model"""

import io
import json

import pytest
import spdx_python_model
from hypothesis import given, settings

from artifactstore.core.exports.spdx import document
from tests.core.exports.subjects import family, link, subject, subjects, version


def valid(told):
    """The elements of the document, which the model takes"""
    made = json.loads(json.dumps(document(told)))
    check(made)
    return made["@graph"]


def check(made):
    """Raise when there is what the model does not know, or is not there what it asks for"""
    model, found = spdx_python_model.load_data(made)
    assert found.link() == set()
    written = io.BytesIO()
    # writing counts what must be there
    model.JSONLDSerializer().write(found, written)
    again = json.loads(written.getvalue())["@graph"]
    assert len(again) == len(made["@graph"])
    assert {one.get("spdxId") for one in again} == {one.get("spdxId") for one in made["@graph"]}


def of(graph, kind):
    return [one for one in graph if one["type"] == kind]


def relations(graph, kind):
    """(from, to) of each relationship of a kind, by the names of what they relate"""
    names = {one["spdxId"]: one.get("name", one["spdxId"]) for one in graph if "spdxId" in one}
    found = [one for one in of(graph, "Relationship") if one["relationshipType"] == kind]
    return [(names[one["from"]], [names.get(end, end) for end in one["to"]]) for one in found]


@pytest.mark.parametrize("change", [{"zzz": 1}, {"relationshipType": "cousinOf"}, {"to": []}, {"to": ["urn:x:none"]}])
def test_the_validation_finds_faults(change):
    made = document(family())
    made["@graph"][-1] |= change
    with pytest.raises((KeyError, ValueError, AssertionError)):
        check(made)


def test_the_whole_document():
    told = family()
    graph = valid(told)
    (head,) = of(graph, "SpdxDocument")
    assert "ai" in head["profileConformance"]
    packages = of(graph, "ai_AIPackage")
    assert [one["name"] for one in packages] == ["quant", "quant", "merged", "tuned", "org/base"]
    quant = packages[0]
    assert head["rootElement"] == [quant["spdxId"]]
    assert set(head["element"]) == {one["spdxId"] for one in graph if "spdxId" in one} - {head["spdxId"]}
    assert quant["verifiedUsing"] == [{"type": "Hash", "algorithm": "blake3", "hashValue": str(told.version.id)}]
    assert quant["ai_metric"][0] == {"type": "DictionaryEntry", "key": "loss", "value": "0.25"}
    assert quant["ai_typeOfModel"] == ["llama", "text-generation"]
    # what the AI profile asks of each package
    asked = {"suppliedBy", "releaseTime", "software_downloadLocation", "software_packageVersion"}
    assert all({*asked, "software_primaryPurpose"} <= set(one) for one in packages)
    gguf = next(one for one in of(graph, "software_File") if one["name"] == "model.gguf")
    assert gguf["verifiedUsing"][0]["hashValue"] == str(told.version.files[0].sha256)
    assert relations(graph, "contains")[0] == ("quant", ["model.gguf", "sub/ä b.txt"])
    assert relations(graph, "trainedOn") == [("quant", ["c4", "wiki"])]
    (foreign,) = [one for one in of(graph, "software_Package") if one["name"] == "Other/Model"]
    assert foreign["software_packageUrl"] == "pkg:huggingface/Other/Model@abcdef"


def test_links():
    graph = valid(family())
    assert relations(graph, "descendantOf") == [
        ("quant", ["quant"]),
        ("merged", ["tuned"]),
        ("merged", ["Other/Model"]),
        ("tuned", ["org/base"]),
        ("org/base", ["file:old.ckpt"]),
    ]
    assert relations(graph, "hasVariant") == [("merged", ["quant"])]


@pytest.mark.parametrize("relation", ["quantize", "convert", "reshard"])
def test_another_form_is_a_variant_of_its_parent(relation):
    graph = valid(subject(version("x", link(relation, "hf://a/b"))))
    assert relations(graph, "hasVariant") == [("a/b", ["x"])]
    assert relations(graph, "descendantOf") == []


def test_licences():
    def expression(text):
        graph = valid(subject(version("x", license=text)))
        (one,) = of(graph, "simplelicensing_LicenseExpression")
        return one["simplelicensing_licenseExpression"], one["comment"]

    assert expression("apache-2.0") == ("Apache-2.0", "Given as apache-2.0")
    assert expression("Gemma terms (v1)") == ("LicenseRef-Gemma-terms-v1-", "Given as Gemma terms (v1)")
    graph = valid(subject(version("x")))
    nothing = [("x", ["expandedlicensing_NoAssertionLicense"])]
    assert relations(graph, "hasDeclaredLicense") == relations(graph, "hasConcludedLicense") == nothing


def test_a_dataset_of_two_versions_stands_there_once():
    base = version("base", metadata={"datasets": ["c4"]})
    graph = valid(subject(version("x", link("finetune", base), metadata={"datasets": "wiki,c4"}), base))
    assert [one["name"] for one in of(graph, "dataset_DatasetPackage")] == ["wiki", "c4"]
    assert relations(graph, "trainedOn") == [("x", ["wiki", "c4"]), ("base", ["c4"])]


def test_what_is_too_far_is_named():
    far = version("far")
    graph = valid(subject(version("x", link("resume", far))))
    (named,) = of(graph, "software_Package")
    assert (named["name"], named["verifiedUsing"][0]["hashValue"]) == ("far:1", str(far.id))
    assert relations(graph, "descendantOf") == [("x", ["far:1"])]


@settings(deadline=None, max_examples=60)
@given(subjects())
def test_any_document_is_valid_and_always_the_same(told):
    graph = valid(told)
    assert document(told) == document(told)
    packages = {one["spdxId"] for one in of(graph, "ai_AIPackage")}
    for kind in ("hasDeclaredLicense", "hasConcludedLicense"):
        given_to = [one["from"] for one in of(graph, "Relationship") if one["relationshipType"] == kind]
        assert sorted(given_to) == sorted(packages)
    links = sum(len(one.parents) for one in told.versions)
    kinds = ("descendantOf", "hasVariant")
    assert sum(one["relationshipType"] in kinds for one in of(graph, "Relationship")) == links
