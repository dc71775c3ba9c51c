"""Search: by anything written on a version"""

import pytest

from artifactstore.core.digest import Sha256
from artifactstore.core.names import AliasName
from tests.contract.catalog import manifest_of, save


@pytest.fixture
def filled(catalog):
    fields = {"phase": "Warmup", "request_id": "job 17", "license": "Apache-2.0", "metadata": {"note": "100% über_all"}}
    save(catalog, manifest_of(b"1", name="org/wan", path="vae/model.bin", **fields), aliases=(AliasName("golden"),))
    save(catalog, manifest_of(b"2", name="org/hero"))
    return catalog


def test_a_text_anywhere_is_found(filled):
    texts = "wan", "WARM", "job 17", "apache", "vae/", "MODEL.BIN", "100%", "über_", "note", "gold", " golden "
    assert {text: [one.ref for one in filled.versions.search(text)] for text in texts} == {
        text: ["org/wan:1"] for text in texts
    }


def test_all_that_match_come_newest_first(filled):
    assert [one.ref for one in filled.versions.search("org/")] == ["org/hero:1", "org/wan:1"]


def test_the_beginning_of_an_id_or_a_sha256_is_found(filled):
    wan = filled.versions.search("wan")[0]
    for digits in (str(wan.id)[:8], str(wan.id), str(Sha256.of(b"1"))[:13]):
        assert filled.versions.search(digits) == [wan]
    assert filled.versions.search(str(wan.id)[1:12]) == []


def test_what_matches_nothing_finds_nothing(filled):
    for text in ("", "  ", "none", "10_%", "g%n", "a\0b", "\udcff", "x\ny", "'; DROP TABLE version"):
        assert filled.versions.search(text) == []
