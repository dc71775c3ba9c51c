"""Foreign: another store is read by its journal alone, and whatever is wrong with it is told in one line"""

import dataclasses
import json
import os
import sqlite3
import threading
from pathlib import Path

import pytest
import rfc8785

from artifactstore.blobs.layout import SETTINGS_KEY, blob_key, manifest_key
from artifactstore.blobs.memory import MemoryBlobs
from artifactstore.core.digest import Digest, Sha256
from artifactstore.core.errors import Busy, Corrupt, Denied, Invalid, NoStore, StoreError
from artifactstore.core.events import Warn
from artifactstore.depot import StoreInfo
from artifactstore.foreign import open_foreign
from artifactstore.ops.transfer import carry
from tests.beside import ids, meaning
from tests.contract.catalog import manifest_of
from tests.journals import body, put

STORE, CATALOG = "5" * 32, "c" * 32
INC = "1" * 16


@pytest.fixture
def store(beside):
    store = beside.store()
    beside.family(store)
    return store


@pytest.fixture
def look(beside):
    """Open a store as a stranger's; what was told on the way"""
    opened = []

    def open_(source, **options):
        told = []

        def monitor(event):
            if isinstance(event, Warn):
                told.append(event.message)

        depot = open_foreign(source, settings=beside.settings, monitor=monitor, **options)
        opened.append(depot)
        return depot, told

    yield open_
    for depot in opened:
        depot.close()


def kept(beside):
    (file,) = Path(beside.settings.foreign).glob("*.sqlite")
    return file


def test_it_says_what_its_own_catalog_says_and_follows(store, look, beside):
    depot, told = look(store.depot.blobs.url)
    assert (depot.catalog.versions.active(), told) == (ids(store), [])
    assert depot.read_only
    with pytest.raises(Invalid):
        depot.check_writable()
    file = kept(beside)
    before = os.stat(file).st_ino
    store.add([beside.model(9)], name="new")
    again, told = look(store.depot.blobs.url)
    assert (again.catalog.versions.active(), told) == (ids(store), [])
    assert os.stat(kept(beside)).st_ino == before
    assert {line for line in again.catalog.dump() if '"version"' in line} == {
        line for line in store.catalog_dump() if '"version"' in line
    }


def test_its_own_catalog_is_never_opened(store, look):
    folder = Path(store.depot.blobs.url)
    store.close()
    for name in ("catalog.sqlite", "catalog.sqlite-wal", "catalog.sqlite-journal"):
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)
    depot, told = look(str(folder))
    assert (len(depot.catalog.versions.active()), told) == (3, [])


def test_in_memory_and_where_there_is_none(look, beside):
    blobs = MemoryBlobs("m")
    with pytest.raises(NoStore):
        look(blobs)
    blobs.replace(SETTINGS_KEY, StoreInfo(STORE, CATALOG).to_bytes())
    depot, told = look(blobs, folder=beside.folder / "own")
    assert (depot.catalog.versions.active(), told) == (frozenset(), [])
    assert list((beside.folder / "own").glob("*.sqlite"))


@pytest.mark.parametrize("spoil", ["noise", "text", "older", "other", "cut"])
def test_what_was_kept_of_it_is_made_anew_when_it_does_not_fit(store, look, beside, spoil):
    look(store.depot.blobs.url)[0].close()
    file = kept(beside)
    if spoil == "noise":
        file.write_bytes(b"\xff" * 5000)
    elif spoil == "text":
        file.write_text("not a database")
    elif spoil == "cut":
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    else:
        change = {"older": "UPDATE store SET head_serial = 0", "other": "UPDATE store SET store_id = 'x'"}[spoil]
        with sqlite3.connect(file) as rows:
            rows.execute(change)
        rows.close()
    depot, told = look(store.depot.blobs.url)
    assert depot.catalog.versions.active() == ids(store)
    assert len(told) == 1
    assert "made anew" in told[0]


def test_one_that_was_put_back_is_told(store, look, beside):
    look(store.depot.blobs.url)[0].close()
    records = sorted(Path(store.depot.blobs.url).glob("journal/*/*.json"))
    records[-1].rename(beside.folder / "gone")
    depot, told = look(store.depot.blobs.url)
    assert len(depot.catalog.versions.active()) == 2
    assert "older state" in told[0]


def test_what_is_kept_is_left_alone_while_another_is_at_it(store, look, beside):
    look(store.depot.blobs.url)[0].close()
    store.add([beside.model(9)], name="new")
    file = kept(beside)
    held = sqlite3.connect(file, isolation_level=None)
    held.execute("BEGIN IMMEDIATE")
    quick = dataclasses.replace(beside.settings, busy=type(beside.settings.busy)(0))
    with pytest.raises(Busy):
        open_foreign(store.depot.blobs.url, settings=quick)
    held.execute("ROLLBACK")
    held.close()
    assert len(look(store.depot.blobs.url)[0].catalog.versions.active()) == 4


def test_a_folder_that_cannot_be(store, beside):
    (beside.folder / "file").write_text("")
    with pytest.raises(Denied, match="looked up in"):
        open_foreign(store.depot.blobs.url, settings=beside.settings, folder=beside.folder / "file/catalogs")


def test_several_open_it_for_the_first_time_at_once(store, beside):
    found, together = [], threading.Barrier(4)

    def work():
        together.wait()
        try:
            with open_foreign(store.depot.blobs.url, settings=beside.settings) as depot:
                found.append(depot.catalog.versions.active())
        except StoreError as e:
            found.append(e)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [ids(store)] * 4


@pytest.mark.parametrize("damage", ["missing", "truncated", "changed", "folder", "link", "fifo"])
def test_a_damaged_journal_is_named(store, look, beside, damage):
    record = sorted(Path(store.depot.blobs.url).glob("journal/*/*.json"))[1]
    raw = record.read_bytes()
    record.unlink()
    if damage == "truncated":
        record.write_bytes(raw[:-5])
    elif damage == "changed":
        record.write_bytes(raw.replace(b'"serial":2', b'"serial":3'))
    elif damage == "folder":
        record.mkdir()
    elif damage == "link":
        (beside.folder / "elsewhere").write_bytes(raw)
        record.symlink_to(beside.folder / "elsewhere")
    elif damage == "fifo":
        os.mkfifo(record)
    with pytest.raises(Corrupt, match=record.name[:13]) as caught:
        look(store.depot.blobs.url)
    assert caught.value.message.isprintable()


def test_two_records_in_one_place(store, look):
    look(store.depot.blobs.url)[0].close()
    *_, record = sorted(Path(store.depot.blobs.url).glob("journal/*/*.json"))
    (record.parent / f"{record.name[:13]}{'0' * 32}.json").write_bytes(record.read_bytes())
    with pytest.raises(Corrupt, match="stands beside"):
        look(store.depot.blobs.url)


@pytest.mark.parametrize("name", ["../../x", "x" * 5000, "a/b", "\n", "", ".."])
def test_a_name_of_a_catalog_leads_nowhere(look, beside, name):
    blobs = MemoryBlobs("m")
    blobs.replace(SETTINGS_KEY, StoreInfo(name, name).to_bytes())
    with pytest.raises(StoreError) as caught:
        look(blobs)
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 400
    assert {path.parent for path in beside.folder.rglob("*.sqlite")} <= {Path(beside.settings.foreign)}


class Hostile:
    """A store of one version of which anything may be a lie"""

    def __init__(self):
        self.blobs = MemoryBlobs("hostile")
        self.blobs.replace(SETTINGS_KEY, StoreInfo(STORE, CATALOG).to_bytes())

    def says(self, raw, contents=(), *, version=None, artifact="org/m", blobs=None):
        """Lay down a manifest, blobs, and the record that names them"""
        one = version or Digest.of(raw)
        self.blobs.replace(manifest_key(one, INC), raw)
        for data in contents:
            self.blobs.replace(blob_key(Digest.of(data), INC), data)
        named = blobs if blobs is not None else [str(Digest.of(data)) for data in contents]
        said = {"id": str(one), "artifact": artifact, "number": 1, "manifest": INC, "taken": 1}
        action = {"do": "version", **said, "blobs": [[name, INC, "set"] for name in named]}
        put(self.blobs, body(CATALOG, 1, action))
        return one


def changed(manifest, change):
    """Its bytes with something changed, canonical again"""
    document = json.loads(manifest.raw)
    change(document)
    return rfc8785.dumps(document)


def first(document):
    return document["files"][0]


LIES = {
    "an extent outside its blob": lambda d: first(d)["extents"].__setitem__(0, [0, 0, 99]),
    "an extent before its blob": lambda d: first(d)["extents"].__setitem__(0, [0, -1, 5]),
    "a blob that is not there": lambda d: first(d)["extents"].__setitem__(0, [7, 0, 5]),
    "a size that is no sum": lambda d: first(d).update(size=10**15),
    "a path upwards": lambda d: first(d).update(path="../x"),
    "an absolute path": lambda d: first(d).update(path="/etc/passwd"),
    "a huge blob": lambda d: d["blobs"].__setitem__(0, [d["blobs"][0][0], 2**50]),
    "another format": lambda d: d.update(format=99),
    "no files": lambda d: d.update(files=[]),
    "a tensor table of its own": lambda d: first(d).update(format="safetensors", tensors=[["t", "U8", [5], 0, 5]]),
    "a path twice": lambda d: d["files"].append(first(d)),
}


def pulled(depot, target):
    """What carrying all of it brings"""
    versions = depot.catalog.versions.list()
    return carry.run(depot, target, carry.plan(depot, target, versions))


@pytest.mark.parametrize("lie", LIES, ids=str)
def test_a_manifest_that_lies_brings_nothing(look, beside, lie):
    hostile, target = Hostile(), beside.store()
    contents = (b"hello",)
    hostile.says(changed(manifest_of(*contents), LIES[lie]), contents)
    before = meaning(target)
    with pytest.raises(StoreError) as caught:
        pulled(look(hostile.blobs)[0], target.depot)
    assert isinstance(caught.value, Corrupt)
    assert caught.value.message.isprintable()
    assert (ids(target), meaning(target)) == (frozenset(), before)
    assert list(target.depot.blobs.keys("blobs/")) == []


def test_a_manifest_in_another_dress_is_not_its_own(look, beside):
    """Equal meaning in other bytes has another id, under which nothing would ever be found again"""
    hostile, target = Hostile(), beside.store()
    raw = b" " + manifest_of(b"hello").raw
    hostile.says(raw, (b"hello",))
    with pytest.raises(Corrupt, match="cannot be taken"):
        pulled(look(hostile.blobs)[0], target.depot)
    assert ids(target) == frozenset()


def test_a_record_that_says_another_artifact_than_the_manifest(look, beside):
    hostile = Hostile()
    hostile.says(manifest_of(b"hello").raw, (b"hello",), artifact="org/famous")
    with pytest.raises(Corrupt, match="another artifact"):
        look(hostile.blobs)


def test_a_record_that_says_other_blobs_than_the_manifest(look):
    hostile = Hostile()
    hostile.says(manifest_of(b"hello").raw, (b"hello",), blobs=[str(Digest.of(b"other"))])
    with pytest.raises(Corrupt, match="other blobs"):
        look(hostile.blobs)


@pytest.mark.parametrize("wrong", [b"hellO", b"hell", b"", None])
def test_bytes_that_are_not_what_they_are_called(look, beside, wrong):
    hostile, target = Hostile(), beside.store()
    hostile.says(manifest_of(b"hello").raw, (b"hello",))
    key = blob_key(Digest.of(b"hello"), INC)
    if wrong is None:
        hostile.blobs.delete(key)
    else:
        hostile.blobs.replace(key, wrong)
    with pytest.raises(Corrupt, match=f"memory://hostile: Blob {Digest.of(b'hello').hex()[:12]}"):
        pulled(look(hostile.blobs)[0], target.depot)
    assert ids(target) == frozenset()
    assert list(target.depot.blobs.keys("blobs/")) == []


def test_a_sha256_that_lies_is_found_before_anybody_has_the_file(look, beside):
    hostile, target = Hostile(), beside.store()
    famous = str(Sha256.of(b"a famous model"))
    hostile.says(changed(manifest_of(b"hello"), lambda d: first(d).update(sha256=famous)), (b"hello",))
    (version,) = pulled(look(hostile.blobs)[0], target.depot).versions
    with pytest.raises(Corrupt):
        target.checkout(version.ref, beside.folder / "out")
    assert not (beside.folder / "out/a.bin").exists()


@pytest.mark.parametrize("what", ["manifests", "blobs"])
@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_only_regular_files_are_read(store, look, beside, what, kind):
    target = beside.store()
    depot, _ = look(store.depot.blobs.url)
    for path in list(Path(store.depot.blobs.url, what).rglob("*.*")):
        raw = path.read_bytes()
        path.unlink()
        if kind == "link":
            (beside.folder / path.name).write_bytes(raw)
            path.symlink_to(beside.folder / path.name)
        elif kind == "fifo":
            os.mkfifo(path)
        else:
            path.mkdir()
    with pytest.raises(Corrupt):
        pulled(depot, target.depot)
    assert ids(target) == frozenset()
