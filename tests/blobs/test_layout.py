"""Keys: made, parsed back, and refused when they are not clean"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.blobs.layout import (
    QUARANTINE,
    blob_key,
    check_key,
    is_listed,
    journal_key,
    journal_prefix,
    manifest_key,
    new_incarnation,
    parse_object,
    quarantine_key,
    shard_folders,
)
from artifactstore.core.digest import Digest
from artifactstore.core.errors import Invalid

digests = st.binary(min_size=32, max_size=32).map(Digest)
incs = st.integers(0, 2**64 - 1).map("{:016x}".format)


@given(digests, incs)
def test_keys_parse_back(digest, inc):
    assert parse_object(blob_key(digest, inc)) == ("blob", digest, inc)
    assert parse_object(manifest_key(digest, inc)) == ("manifest", digest, inc)
    assert parse_object(blob_key(digest, inc) + ".z") == ("encoded", digest, inc)
    for key in (blob_key(digest, inc), manifest_key(digest, inc)):
        assert check_key(key) == key
        assert key.rpartition("/")[0] in shard_folders()
        assert parse_object(quarantine_key(key)) is None


def test_keys_are_those_of_the_format_page():
    digest = Digest(bytes(range(32)))
    assert blob_key(digest, "0123456789abcdef") == f"blobs/00/{digest}.0123456789abcdef"
    assert manifest_key(digest, "0123456789abcdef") == f"manifests/00/{digest}.0123456789abcdef.json"
    assert journal_key("c0ffee", 12, "a1") == "journal/c0ffee/000000000012-a1.json"
    assert quarantine_key("blobs/00/x") == "quarantine/blobs/00/x"


@given(
    st.text(max_size=120)
    | st.from_regex(r"(blobs|manifests)/[0-9a-f]{2}/[0-9a-f]{60,66}\.[0-9a-f]{15,17}(\.z|\.json)?\n?", fullmatch=True)
)
def test_only_what_parses_back_to_itself_is_ours(key):
    name = parse_object(key)
    if name is not None:
        again = {"blob": blob_key, "manifest": manifest_key, "encoded": lambda *of: blob_key(*of) + ".z"}[name.kind]
        assert again(name.digest, name.inc) == key


@pytest.mark.parametrize(
    "key",
    [
        "artstore.json",
        "blobs/ff/" + "00" * 32 + "." + "0" * 16,  # in the shard of another digest
        "blobs/00/" + "00" * 32 + "." + "0" * 16 + ".json",
        "manifests/00/" + "00" * 32 + "." + "0" * 16,
        "manifests/00/" + "00" * 32 + "." + "0" * 16 + ".z",
        "blobs/00/" + "00" * 32,
        "blobs/AA/" + "AA" * 32 + "." + "0" * 16,
        "x/blobs/00/" + "00" * 32 + "." + "0" * 16,
        "blobs/00/" + "00" * 32 + "." + "0" * 16 + "\n",
    ],
)
def test_strays_are_not_ours(key):
    assert parse_object(key) is None


@given(st.lists(st.integers(0, 10**12 - 1), min_size=2, max_size=2))
def test_names_of_records_sort_as_their_serials(serials):
    names = [journal_key("c", serial, "t") for serial in serials]
    assert (names[0] < names[1]) == (serials[0] < serials[1])


@pytest.mark.parametrize(
    "make",
    [
        lambda: blob_key(Digest(bytes(32)), "xyz"),
        lambda: blob_key(Digest(bytes(32)), "0" * 17),
        lambda: manifest_key(Digest(bytes(32)), "../../../../etc"),
        lambda: journal_key("c", -1, "t"),
        lambda: journal_key("c", 10**12, "t"),
        lambda: journal_key("c/..", 1, "t"),
        lambda: journal_key("c", 1, "../t"),
        lambda: journal_prefix(""),
        lambda: quarantine_key("../x"),
        lambda: check_key("a/" * 600 + "a"),
    ],
)
def test_nothing_odd_becomes_part_of_a_key(make):
    with pytest.raises(Invalid):
        make()


def test_incarnations_are_64_random_bits():
    found = {new_incarnation() for _ in range(1000)}
    assert len(found) == 1000
    assert all(len(inc) == 16 and int(inc, 16) < 2**64 for inc in found)


def test_the_shards():
    assert len(shard_folders()) == len(set(shard_folders())) == 512


def test_what_lies_aside_is_listed_only_when_asked_for():
    assert is_listed("blobs/00/x", "")
    assert not is_listed(QUARANTINE + "x", "")
    assert not is_listed(QUARANTINE + "x", "quar")
    assert is_listed(QUARANTINE + "x", QUARANTINE)
    assert not is_listed("tmp/me/x", "tmp/")
    assert not is_listed("trash/x", "trash/")
