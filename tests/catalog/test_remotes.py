"""Remotes: what the catalog knows of other stores, on both databases, and what the journal brings back of it"""

import json

import pytest
import rfc8785

from artifactstore.blobs.layout import blob_key, manifest_key
from artifactstore.catalog.base import RemoteInfo, Seen
from artifactstore.catalog.replay import Shelf
from artifactstore.core.digest import Digest
from artifactstore.core.errors import Corrupt, NotFound
from artifactstore.core.record import Record
from tests.contract.catalog import manifest_of, save

USB = RemoteInfo("usb", "/media/usb", "s1", "sqlite:////c", mirror=True)
TEAM = RemoteInfo("team", "s3://b/p", "s2", None, origin=True)
NOBODY = Digest.of(b"nobody")


@pytest.fixture
def versions(catalog):
    return [save(catalog, manifest_of(b"%d" % n, created=n)).version.id for n in (1, 2, 3)]


def records(catalog):
    return [json.loads(one.body)["actions"] for one in reversed(catalog.journal.log(100))]


def test_known_by_name_and_forgotten(catalog):
    assert (catalog.remotes.list(), catalog.remotes.origin()) == ([], None)
    catalog.remotes.set(USB)
    catalog.remotes.set(TEAM)
    assert catalog.remotes.list() == [TEAM, USB]
    assert catalog.remotes.get("usb") == USB
    assert catalog.remotes.origin() == TEAM
    catalog.remotes.remove("team")
    assert (catalog.remotes.list(), catalog.remotes.origin()) == ([USB], None)
    with pytest.raises(NotFound, match="there are usb; artstore remote add"):
        catalog.remotes.remove("team")
    catalog.remotes.remove("usb")
    with pytest.raises(NotFound, match="there is none yet"):
        catalog.remotes.get("usb")


def test_there_is_one_origin(catalog):
    catalog.remotes.set(TEAM)
    catalog.remotes.set(RemoteInfo("usb", "/u", "s1", None, origin=True))
    assert [one.name for one in catalog.remotes.list() if one.origin] == ["usb"]


def test_what_it_holds_is_noted_once(catalog, versions):
    catalog.remotes.set(USB)
    one, two, three = versions
    catalog.remotes.note("usb", Seen("c", 3, "t3"), [one, two, NOBODY])
    assert catalog.remotes.held("usb") == {one, two}
    seen = catalog.remotes.get("usb").seen
    assert (seen.catalog, seen.serial, seen.txid, seen.at > 0) == ("c", 3, "t3", True)
    count = len(records(catalog))
    catalog.remotes.note("usb", Seen("c", 3, "t3"), [two, one], [three])
    assert len(records(catalog)) == count
    catalog.remotes.note("usb", Seen("c", 4, "t4"), [one, three], [two])
    assert catalog.remotes.held("usb") == {one, three}
    assert records(catalog)[-1] == [
        {
            "do": "seen",
            "remote": "usb",
            "catalog": "c",
            "serial": 4,
            "txid": "t4",
            "held": [str(three)],
            "gone": [str(two)],
        }
    ]
    with pytest.raises(NotFound):
        catalog.remotes.note("nobody", Seen("c", 4, "t4"))


def test_copies_of_versions(catalog, versions):
    one, two, three = versions
    assert catalog.remotes.copies() == {}
    for info in (USB, TEAM):
        catalog.remotes.set(info)
    catalog.remotes.note("usb", Seen("c", 1, "t"), [one, two])
    catalog.remotes.note("team", Seen("d", 1, "t"), [one])
    names = {each: [copy.remote for copy in copies] for each, copies in catalog.remotes.copies().items()}
    assert names == {one: ["team", "usb"], two: ["usb"]}
    assert catalog.remotes.copies([three]) == {}
    assert catalog.remotes.copies([two])[two][0].at > 0
    told = {each.id: each.copies for each in catalog.retirements.survey().candidates}
    assert told == {one: ("team", "usb"), two: ("usb",), three: ()}
    catalog.remotes.remove("usb")
    assert {each: len(copies) for each, copies in catalog.remotes.copies().items()} == {one: 1}
    # under an old name there is a new store, of which nothing was seen yet
    catalog.remotes.set(TEAM)
    assert (catalog.remotes.copies(), catalog.remotes.get("team").seen) == ({}, None)


def test_many_at_once(catalog):
    catalog.remotes.set(USB)
    ids = [save(catalog, manifest_of(b"x", created=n)).version.id for n in range(30)]
    nobody = [Digest.of(b"%d" % n) for n in range(3000)]
    catalog.remotes.note("usb", Seen("c", 1, "t"), [*nobody, *ids])
    assert catalog.remotes.held("usb") == set(ids)
    catalog.remotes.note("usb", Seen("c", 2, "u"), [], [*nobody, *ids])
    assert catalog.remotes.held("usb") == frozenset()


@pytest.mark.parametrize(
    "action",
    [
        {"do": "remote", "name": "usb"},
        {"do": "remote", "name": "usb", "url": "/u", "catalog": None, "store": "s", "mirror": True},
        {"do": "seen", "remote": "usb", "catalog": "c", "serial": "x", "txid": "t", "held": [], "gone": []},
        {"do": "seen", "remote": "usb", "catalog": "c", "serial": 1, "txid": "t", "held": ["zz"], "gone": []},
        {"do": "seen", "remote": "usb", "catalog": "c", "serial": 1, "txid": "t", "held": 3, "gone": []},
    ],
)
def test_a_record_that_makes_no_sense_is_named(catalog, action):
    serial, txid = catalog.journal.head()
    said = {"format": 1, "catalog": "catalog", "serial": serial + 1, "txid": "f" * 32, "previous": txid, "at": 1}
    record = Record.parse(rfc8785.dumps(said | {"actions": [action]}))
    with pytest.raises(Corrupt, match=f"{action['do']} does not fit"):
        catalog.replays.forward([record], Shelf({}, {}, blob_key, manifest_key))
    assert catalog.remotes.list() == []
