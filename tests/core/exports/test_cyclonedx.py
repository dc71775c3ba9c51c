"""CycloneDX: valid by the strict schema of its own library"""

import json
from functools import cache

from hypothesis import given, settings
from packageurl import PackageURL

from artifactstore.core.exports.cyclonedx import document
from tests.core.exports.subjects import family, link, subject, subjects, version


@cache
def validator():
    # its grammars take seconds to make, in every process that only looks for tests here
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    return JsonStrictValidator(SchemaVersion.V1_6)


def valid(told):
    """The document, which the schema takes"""
    made = document(told)
    assert validator().validate_str(json.dumps(made)) is None
    return made


def told_of(component):
    return {one["name"].removeprefix("artifactstore:"): one["value"] for one in component["properties"]}


def components(component):
    """It and everything in its pedigree"""
    yield component
    for ancestor in component.get("pedigree", {}).get("ancestors", ()):
        yield from components(ancestor)


def test_the_validator_finds_faults():
    made = document(family())
    made["metadata"]["component"]["hashes"][0]["alg"] = "BLAKE4"
    assert validator().validate_str(json.dumps(made)) is not None


def test_the_whole_document():
    told = family()
    made = valid(told)
    component = made["metadata"]["component"]
    assert made["serialNumber"].startswith("urn:uuid:")
    assert made["metadata"]["timestamp"] == "2023-11-14T22:13:20Z"
    assert (component["type"], component["name"], component["version"]) == ("machine-learning-model", "quant", "2")
    assert component["hashes"] == [{"alg": "BLAKE3", "content": str(told.version.id)}]
    assert component["modelCard"] == {
        "modelParameters": {
            "task": "text-generation",
            "architectureFamily": "llama",
            "datasets": [{"type": "dataset", "name": "c4"}, {"type": "dataset", "name": "wiki"}],
        },
        "quantitativeAnalysis": {
            "performanceMetrics": [{"type": "loss", "value": "0.25"}, {"type": "steps", "value": "3"}]
        },
    }
    gguf, _ = component["components"]
    assert gguf["name"] == "model.gguf"
    assert gguf["hashes"] == [{"alg": "SHA-256", "content": str(told.version.files[0].sha256)}]
    assert told_of(component)["metadata:seed"] == "7"


def test_the_pedigree_goes_up_with_relations():
    made = valid(family())["metadata"]["component"]
    told = [(one["name"], told_of(one).get("relation")) for one in components(made)]
    assert told == [
        ("quant", None),
        ("quant", "resume"),
        ("merged", "quantize"),
        ("tuned", "merge"),
        ("org/base", "finetune"),
        ("file:old.ckpt", "extract"),
        ("Other/Model", "merge"),
    ]
    foreign = list(components(made))[-1]
    assert (foreign["version"], foreign["purl"]) == ("ABCdef", "pkg:huggingface/Other/Model@abcdef")
    assert told_of(foreign) == {
        "relation": "merge",
        "ref": "hf://Other/Model@ABCdef",
        "weight": "0.25",
        "evidence": "declared",
        "parameter:sha256": "0" * 64,
    }


def test_licences():
    def licenses(text):
        return valid(subject(version("x", license=text)))["metadata"]["component"].get("licenses")

    assert licenses("apache-2.0") == [{"license": {"id": "Apache-2.0", "acknowledgement": "declared"}}]
    assert licenses("mit or isc") == [{"expression": "MIT OR ISC", "acknowledgement": "declared"}]
    assert licenses("LicenseRef-x") == [{"expression": "LicenseRef-x", "acknowledgement": "declared"}]
    assert licenses("Apache-2.0+") == [{"expression": "Apache-2.0+", "acknowledgement": "declared"}]
    assert licenses("Gemma terms") == [{"license": {"name": "Gemma terms", "acknowledgement": "declared"}}]
    assert licenses(None) is None


def test_what_is_reached_twice_is_described_once():
    base = version("base", link("merge", "hf://a/b"))
    sides = [version(name, link("finetune", base)) for name in ("left", "right")]
    top = version("top", *(link("merge", side) for side in sides))
    left, right = valid(subject(top, *sides, base))["metadata"]["component"]["pedigree"]["ancestors"]
    (first,), (again,) = left["pedigree"]["ancestors"], right["pedigree"]["ancestors"]
    assert "components" in first
    assert "pedigree" in first
    assert {"components", "pedigree", "bom-ref"}.isdisjoint(again)
    assert (again["name"], again["hashes"]) == (first["name"], first["hashes"])


def test_what_is_too_far_is_named():
    far = version("far")
    (named,) = valid(subject(version("x", link("resume", far))))["metadata"]["component"]["pedigree"]["ancestors"]
    assert (named["name"], named["hashes"][0]["content"]) == ("far:1", str(far.id))


@settings(deadline=None, max_examples=60)
@given(subjects())
def test_any_document_is_valid_and_always_the_same(told):
    made = valid(told)
    assert made == document(told)
    every = list(components(made["metadata"]["component"]))
    refs = [one["bom-ref"] for one in every if "bom-ref" in one]
    assert len(set(refs)) == len(refs) >= 1
    for one in every:
        if "purl" in one:
            assert PackageURL.from_string(one["purl"]).to_string() == one["purl"]
