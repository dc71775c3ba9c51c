"""References: every reading of a text, and the one version it means"""

import re

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.catalog.resolve import prefix_range
from artifactstore.catalog.tables import manifest, version
from artifactstore.core.errors import Invalid, NotFound
from artifactstore.core.names import AliasName, Reference
from tests.contract.catalog import LATEST, manifest_of, retire, save, set_state


def resolve(catalog, text):
    return catalog.versions.resolve(Reference.parse(text)).ref


@pytest.fixture
def filled(catalog):
    save(catalog, manifest_of(b"1", name="org/wan", request_id="step 1"), aliases=(AliasName("best"),))
    save(catalog, manifest_of(b"2", name="org/wan", request_id="org/wan@best!"), aliases=(LATEST,))
    save(catalog, manifest_of(b"3", name="org/hero", request_id="step 1"), aliases=(LATEST,))
    return catalog


def test_a_reference_means_one_version(filled):
    meant = {
        "org/wan": "org/wan:2",
        "org/wan@best": "org/wan:1",
        "org/wan@latest": "org/wan:2",
        "org/wan:1": "org/wan:1",
        "step 1": "org/hero:1",
    }
    assert {text: resolve(filled, text) for text in meant} == meant


def test_an_id_and_its_beginning(filled):
    for one in filled.versions.list():
        for length in (8, 9, 63, 64):
            assert resolve(filled, str(one.id)[:length]) == one.ref


def test_a_request_id_may_look_like_anything_else(filled):
    for number, request_id in enumerate(["org/wan:1x", "deadbeefdeadbeef", "run@three", "org/wan:9"]):
        done = save(filled, manifest_of(b"9", created=number, name="org/other", request_id=request_id))
        assert resolve(filled, request_id) == done.version.ref


def test_the_newest_of_a_request_id_wins(filled):
    save(filled, manifest_of(b"4", name="org/wan", request_id="step 1"))
    assert resolve(filled, "step 1") == "org/wan:3"


def test_one_version_by_two_ways_is_one(filled):
    save(filled, manifest_of(b"9", name="same", request_id="same"))
    assert resolve(filled, "same") == "same:1"


def test_several_are_named(filled):
    save(filled, manifest_of(b"9", name="org/other", request_id="org/wan:1"))
    with pytest.raises(Invalid, match="ambiguous") as caught:
        resolve(filled, "org/wan:1")
    assert caught.value.code == "invalid.ambiguous"
    assert sorted(caught.value.facts["versions"]) == ["org/other:1", "org/wan:1"]
    assert "org/other:1 (" in caught.value.message


def test_of_very_many_some_are_named(sqlite_catalog):
    for number in range(8):
        save(sqlite_catalog, manifest_of(b"%d" % number))

    def work(connection):
        for number in range(8):
            digest = bytes([0xAB] * 4 + [number] * 28)
            connection.execute(sa.update(version).where(version.c.number == number + 1).values(digest=digest))

    sqlite_catalog.database.write(work)
    with pytest.raises(Invalid, match=", …; name one") as caught:
        resolve(sqlite_catalog, "abababab")
    assert len(caught.value.facts["versions"]) == 5
    assert resolve(sqlite_catalog, "abababab07") == "org/m:8"


def test_what_is_missing_is_told_with_close_names(filled):
    close = {
        "org/wam": ["org/wan"],
        "org/wan@lates": ["org/wan@latest"],
        "org/wan@zzz": [],
        "org/wan:7": ["org/wan:2"],
        "org/wan:9999999999": ["org/wan:2"],
        "org/her@latest": ["org/hero"],
        "zzzzzz": [],
        "no such thing": [],
        "0123456789abcdef": [],
    }
    for text, names in close.items():
        with pytest.raises(NotFound) as caught:
            resolve(filled, text)
        assert caught.value.facts["close"] == names
        assert ("did you mean" in caught.value.message) == bool(names)


def test_an_artifact_without_versions_offers_none(filled):
    retire(filled, filled.versions.resolve(Reference.parse("org/hero")).id)
    for text in ("org/hero", "org/hero:2"):
        with pytest.raises(NotFound) as caught:
            resolve(filled, text)
        assert caught.value.facts["close"] == []


def lost(catalog, text):
    with pytest.raises(NotFound) as caught:
        resolve(catalog, text)
    return caught.value


def test_what_was_retired_is_told_with_the_way_back(filled):
    gone = save(filled, manifest_of(b"5", name="org/hero", request_id="gone")).version
    serial = filled.retirements.retire({gone.id: "older than 30d (47d), no rule keeps it"}).serial
    told = "org/hero:2 was retired AGE ago by record {} (older than 30d (47d), no rule keeps it); "
    told += "bring it back with: artstore undo {}"
    for text in ("org/hero:2", str(gone.id), str(gone.id)[:8], "gone"):
        error = lost(filled, text)
        assert re.sub(r"\d+(s|min) ago", "AGE ago", error.message) == told.format(serial, serial)
        assert error.code == "not-found.retired"
        assert (error.facts["ref"], error.facts["serial"]) == ("org/hero:2", serial)
    assert resolve(filled, "org/hero") == "org/hero:1"


def test_of_what_was_swept_it_says_since_when(filled):
    gone = filled.versions.resolve(Reference.parse("org/hero")).id
    retire(filled, gone)
    assert lost(filled, "org/hero:1").message == "org/hero:1 was retired; see artstore log"
    swept = sa.update(version).where(version.c.digest == gone).values(swept_at=1_700_000_000_000_000)
    filled.database.write(lambda connection: connection.execute(swept))
    error = lost(filled, "org/hero:1")
    assert error.code == "not-found.swept"
    assert error.message.endswith("and its bytes are gone since 2023-11-14; take it from a mirror or bundle")


def test_an_active_version_goes_before_a_retired_one(filled):
    gone = save(filled, manifest_of(b"5", name="org/hero", request_id="step 2")).version.id
    kept = save(filled, manifest_of(b"6", name="org/hero", request_id="step 2")).version.id
    for one in (kept, gone):
        retire(filled, one)
    assert filled.versions.known(Reference.parse("step 2")).ref == "org/hero:3"
    again = save(filled, manifest_of(b"5", name="org/hero", request_id="step 2")).version
    assert resolve(filled, "step 2") == again.ref == "org/hero:2"
    assert filled.versions.known(Reference.parse("step 2")) == again


def test_what_is_known_is_found_in_any_state(filled):
    def known(text):
        return filled.versions.known(Reference.parse(text))

    wan = known("org/wan@best")
    assert (wan.ref, wan.retired) == ("org/wan:1", None)
    first = save(filled, manifest_of(b"5", name="org/hero", step=4), metrics={"loss": 1.0}).version
    serial = filled.retirements.retire({first.id: "test"}).serial
    for text in ("org/hero:2", str(first.id)[:9]):
        found = known(text)
        assert (found.id, found.step, found.metrics) == (first.id, 4, {"loss": 1.0})
        how = found.retired
        assert (how.serial, how.why, how.swept, how.condemned) == (serial, "test", None, None)
        assert abs(how.at - filled.now()) < 60_000_000
    set_state(filled, first.id, "condemned", manifest)
    assert known("org/hero:2").retired.condemned == 1
    set_state(filled, first.id, "deleting", manifest)
    assert known("org/hero:2").retired.condemned is None
    for text in ("org/hero:9", "nobody", "org/wan@none"):
        with pytest.raises(NotFound, match="Nothing here is called"):
            known(text)


@given(st.text("0123456789abcdef", min_size=8, max_size=64), st.binary(min_size=32, max_size=32))
def test_a_prefix_is_a_range(prefix, raw):
    low, high = prefix_range(prefix)
    assert low.hex().startswith(prefix)
    assert high.hex().startswith(prefix)
    assert (low <= raw <= high) == raw.hex().startswith(prefix)
