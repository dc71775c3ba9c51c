"""Names that other tools know"""

import pytest
from packageurl import PackageURL

from artifactstore.core.exports.identity import document_uuid, hub_source, parent_purl, version_purl
from tests.core.exports.subjects import link, version


@pytest.mark.parametrize(
    ("ref", "source"),
    [
        ("hf://org/name@main", ("org/name", "main")),
        ("hf://org/name@abc/sub/file.gguf", ("org/name", "abc")),
        ("hf://org/name/sub/file.gguf", ("org/name", None)),
        ("hf://gpt2", ("gpt2", None)),
        ("hf://", None),
        ("hf://a b/c", None),
        ("hero:3", None),
        ("https://huggingface.co/org/name", None),
    ],
)
def test_what_a_reference_to_a_hub_means(ref, source):
    assert hub_source(ref) == source


@pytest.mark.parametrize("ref", ["hf://Org/Name.x@ABCDEF", "hf://gpt2", "hf://a%b/c#d?e@f@g"])
def test_package_urls_of_the_hub_are_canonical(ref):
    purl = parent_purl(link("merge", ref))
    parsed = PackageURL.from_string(purl)
    assert parsed.to_string() == purl
    source = hub_source(ref)
    assert parsed.type == "huggingface"
    assert "/".join(filter(None, (parsed.namespace, parsed.name))) == source.repo
    assert parsed.version == (source.revision and source.revision.lower())


def test_package_urls_of_versions_are_canonical():
    hero = version("org/hero", number=3)
    purl = version_purl(hero)
    parsed = PackageURL.from_string(purl)
    assert parsed.to_string() == purl
    assert (parsed.type, parsed.namespace, parsed.name, parsed.version) == ("generic", "org", "hero", "3")
    assert parsed.qualifiers == {"checksum": f"blake3:{hero.id}"}
    assert parent_purl(link("merge", hero)) is None


def test_the_uuid_of_a_document_is_for_ever():
    hero = version("hero")
    assert str(document_uuid("cyclonedx", hero)) == "53ee77a4-7bbd-5ad8-a3a0-57849bbaed62"
    assert document_uuid("spdx", hero) != document_uuid("cyclonedx", hero) != document_uuid("cyclonedx", version("x"))
