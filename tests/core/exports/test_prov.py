"""PROV: read by the library of that name"""

import json

import pytest
from hypothesis import given, settings
from prov.constants import PROV_TYPE
from prov.model import (
    ProvAlternate,
    ProvDerivation,
    ProvDocument,
    ProvGeneration,
    ProvMembership,
    ProvUsage,
)

from artifactstore.core.exports.prov import document
from tests.core.exports.subjects import family, link, subject, subjects, version


def read(told):
    """The document as the library reads it, which is what it writes and reads again"""
    found = ProvDocument.deserialize(content=json.dumps(document(told)), format="json")
    assert ProvDocument.deserialize(content=found.serialize(format="json"), format="json") == found
    return found


def ends(found, kind):
    """The first two ends of each relation of a kind, by label"""
    labels = {str(one.identifier): str(one.label) for one in found.get_records() if one.identifier}
    return [
        tuple(labels.get(str(end), str(end)) for _, end in one.formal_attributes[:2]) for one in found.get_records(kind)
    ]


def test_the_whole_document():
    told = family()
    found = read(told)
    entity = found.get_record(f"version:{told.version.id}")[0]
    assert str(entity.label) == "quant:2"
    said = {str(name): value for name, value in entity.extra_attributes if "meta" not in str(name)}
    assert said["artifactstore:phase"] == "polish"
    assert {value for name, value in entity.extra_attributes if str(name) == "artifactstore:metric"} == {
        "loss=0.25",
        "steps=3",
    }
    assert [first for first, _ in ends(found, ProvGeneration)] == [one.ref for one in told.versions]
    (_, when), *_ = [one.formal_attributes[1:] for one in found.get_records(ProvGeneration)]
    assert when[1].isoformat() == "2023-11-14T22:13:20+00:00"
    assert {second for _, second in ends(found, ProvUsage)} >= {"c4", "wiki", "hf://Other/Model@ABCdef"}
    file = found.get_record(f"sha256:{told.version.files[1].sha256}")[0]
    assert ("quant:2", str(file.identifier)) in ends(found, ProvMembership)


def test_links():
    found = read(family())
    assert ends(found, ProvDerivation) == [
        ("quant:2", "quant:1"),
        ("quant:1", "merged:1"),
        ("merged:1", "tuned:1"),
        ("merged:1", "hf://Other/Model@ABCdef"),
        ("tuned:1", "org/base:1"),
        ("org/base:1", "file:old.ckpt"),
    ]
    kinds = [{str(kind) for kind in one.get_attribute(PROV_TYPE)} for one in found.get_records(ProvDerivation)]
    assert kinds == [{"prov:Revision"}, *[set()] * 5]


@pytest.mark.parametrize("relation", ["convert", "reshard"])
def test_another_form_is_an_alternate(relation):
    found = read(subject(version("x", link(relation, "hf://a/b"))))
    assert ends(found, ProvAlternate) == [("x:1", "hf://a/b")]
    assert ends(found, ProvDerivation) == []


def test_what_is_too_far_keeps_its_name():
    far = version("far")
    found = read(subject(version("x", link("resume", far))))
    assert str(found.get_record(f"version:{far.id}")[0].label) == "far:1"


@settings(deadline=None, max_examples=60)
@given(subjects())
def test_any_document_is_read_and_always_the_same(told):
    found = read(told)
    assert document(told) == document(told)
    links = sum(len(one.parents) for one in told.versions)
    assert len(ends(found, ProvDerivation)) + len(ends(found, ProvAlternate)) == links
    assert len(ends(found, ProvMembership)) == sum(len(one.files) for one in told.versions)
