"""Contact: a remote that is there, is the one that was meant, and is no older than it was"""

import shutil
from pathlib import Path

import pytest

from artifactstore.blobs.layout import SETTINGS_KEY
from artifactstore.catalog.base import RemoteInfo, Seen
from artifactstore.core.errors import Conflict, Corrupt, Invalid, NotFound, Offline, Refused, Unavailable
from artifactstore.ops.transfer.contact import is_reachable, reach


@pytest.fixture
def mirrored(beside):
    store = beside.store()
    store.add([beside.model(1)], name="m")
    store.remote_add("usb", beside.url("folder"))
    store.push("usb")
    return store


@pytest.fixture
def folder(mirrored):
    return Path(mirrored.depot.catalog.remotes.get("usb").url)


def reached(store, *, writing=True):
    with reach(store.depot, "usb", writing=writing) as contact:
        return contact.info


def test_who_it_is_and_what_it_holds(mirrored):
    with reach(mirrored.depot, "usb", writing=True) as contact:
        assert contact.info.mirror
        assert contact.resolve("m").id == mirrored.resolve("m").id
        with pytest.raises(NotFound, match="usb has nothing called 'x'"):
            contact.resolve("x")
        count = len(mirrored.log(100))
        contact.note(held=[mirrored.resolve("m").id])
        assert len(mirrored.log(100)) == count
        contact.note(gone=[mirrored.resolve("m").id])
        assert mirrored.depot.catalog.remotes.held("usb") == frozenset()


def test_one_who_only_reads_notes_nothing(mirrored, beside):
    reader = beside.keep(type(mirrored).open(mirrored.depot.blobs.url, settings=beside.settings, read_only=True))
    before = mirrored.depot.catalog.remotes.get("usb")
    with reach(reader.depot, "usb", writing=False) as contact:
        contact.note(gone=[mirrored.resolve("m").id])
    assert mirrored.depot.catalog.remotes.get("usb") == before


def test_nobody_of_that_name(mirrored):
    with pytest.raises(NotFound, match="there are usb"), reach(mirrored.depot, "disk", writing=False):
        pass


def test_nothing_is_written_where_it_is_only_read(mirrored, folder, beside):
    other = beside.store()
    other.remote_add("usb", str(folder))
    assert reached(other, writing=False).catalog is None
    with pytest.raises(Refused, match="--remote-catalog URL names it"):
        reached(other)


def spoil_settings(folder, raw):
    path = folder / SETTINGS_KEY
    path.unlink()
    path.write_bytes(raw)


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (b"", Invalid),
        (b"{", Invalid),
        (b'{"format": 99, "store": "a", "catalog": "b", "limits": {"blob": 1}}', Invalid),
        (b'{"format": 1, "store": "a", "catalog": "b", "limits": {"blob": 1}}', Conflict),
    ],
)
@pytest.mark.parametrize("writing", [False, True])
def test_settings_of_something_else(mirrored, folder, raw, error, writing):
    spoil_settings(folder, raw)
    assert not is_reachable(mirrored.depot, mirrored.depot.catalog.remotes.get("usb"))
    with pytest.raises(error):
        reached(mirrored, writing=writing)


@pytest.mark.parametrize("writing", [False, True])
def test_a_last_record_that_is_gone(mirrored, folder, writing):
    records = sorted(folder.glob("journal/*/*.json"))
    records[-1].unlink()
    with pytest.raises(Conflict, match="put back to an older state") as caught:
        reached(mirrored, writing=writing)
    assert f"catalog rebuild --store {folder} --catalog" in caught.value.message


def test_a_record_amid_others_that_is_gone(mirrored, folder, beside):
    mirrored.add([beside.model(2)], name="n")
    mirrored.push("usb")
    first, *_ = sorted(folder.glob("journal/*/*.json"))
    first.unlink()
    reader = beside.store()
    reader.remote_add("usb", str(folder))
    with pytest.raises(Corrupt, match="000000000001-"):
        reader.pull("usb")


@pytest.mark.parametrize("what", ["blobs", "manifests"])
def test_a_journal_that_is_newer_than_the_rest(mirrored, folder, beside, what):
    """As a copy of a mirror is that was made while it was written to"""
    reader = beside.store()
    reader.remote_add("usb", str(folder))
    for path in list((folder / what).rglob("*.*")):
        path.unlink()
    with pytest.raises(Corrupt) as caught:
        reader.pull("usb")
    assert str(folder) in caught.value.message or "missing" in caught.value.message or "gone" in caught.value.message
    assert reader.ls() == []


def test_seen_further_than_it_is_now(mirrored, folder):
    info = mirrored.depot.catalog.remotes.get("usb")
    mirrored.depot.catalog.remotes.note("usb", Seen(info.seen.catalog, 99, "f" * 32))
    with pytest.raises(Conflict, match=r"it was at 99 on \d{4}-\d\d-\d\d; .* remote rm usb, then add it again"):
        reached(mirrored)


def test_what_wants_a_network_that_is_forbidden(mirrored, beside):
    info = RemoteInfo("s3", "s3://bucket/x", "s", None)
    offline = beside.open(mirrored.depot.blobs.url, offline=True)
    offline.depot.catalog.remotes.set(info)
    assert not is_reachable(offline.depot, info)
    with pytest.raises(Offline), reach(offline.depot, "s3", writing=False):
        pass
    reached(offline)


def test_gone_and_back(mirrored, folder):
    away = shutil.move(folder, f"{folder}-away")
    with pytest.raises(Unavailable, match="mount its disk"):
        reached(mirrored)
    shutil.move(away, folder)
    assert reached(mirrored).name == "usb"
