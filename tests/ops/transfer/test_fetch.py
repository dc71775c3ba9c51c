"""Fetch: blobs checked, found again after they moved, each read once"""

import dataclasses

import numpy as np
import pytest

from artifactstore.blobs.layout import blob_key, new_incarnation
from artifactstore.blobs.wrap import Counting
from artifactstore.catalog.base import Written
from artifactstore.core.errors import Corrupt
from artifactstore.core.settings import Settings
from artifactstore.lease import Lease
from artifactstore.ops.transfer import fetch
from artifactstore.ops.transfer.fetch import Fetch, fetch_file, load_manifest, read_blob
from artifactstore.store import Store
from tests.ops.test_verify import replace
from tests.ops.trees import contents


@pytest.fixture
def loaded(store, model):
    version = store.add([model], name="m").committed.version
    return store, load_manifest(store.depot, version.id)


@pytest.mark.parametrize("memory", [1, 512 << 20])
def test_every_byte_in_order_and_each_blob_read_once(loaded, model, memory):
    store, manifest = loaded
    with Store.open(store.depot.blobs.url, settings=Settings(memory=memory)) as other:
        counting = Counting(other.depot.blobs)
        depot = type(other.depot)(**{**vars(other.depot), "blobs": counting})
        found: dict[str, bytearray] = {}
        for piece in Fetch(depot, manifest).pieces([(file, 0) for file in manifest.files]):
            assert piece.offset == len(found.setdefault(piece.file.path, bytearray()))
            found[piece.file.path] += piece.data
            piece.release()
    assert found == {path: raw for path, raw in contents(model).items() if raw}
    assert counting.calls["read_into"] == len(manifest.blobs)


def test_from_the_middle_of_a_file(loaded, model):
    store, manifest = loaded
    file = next(file for file in manifest.files if file.path == "model.safetensors")
    start = [offset for offset, _, _ in manifest.runs(file)][2]
    pieces = list(Fetch(store.depot, manifest).pieces([(file, start)]))
    assert b"".join(bytes(piece.data) for piece in pieces) == (model / file.path).read_bytes()[start:]


def test_a_small_file_whole(loaded, model):
    store, manifest = loaded
    for file in manifest.files:
        assert fetch_file(store.depot, manifest, file) == (model / file.path).read_bytes()


def test_a_blob_that_moved_to_another_incarnation_is_found_again(loaded):
    store, manifest = loaded
    blob = manifest.blobs[0]
    place = store.depot.catalog.blobs.places([blob.digest])[blob.digest]
    raw = store.depot.blobs.read(place.key)
    store.depot.catalog.blobs.damage([place])
    inc = new_incarnation()
    replace(store, place.key, None)
    replace(store, blob_key(blob.digest, inc), raw)
    with Lease(store.depot, "test") as lease:
        [grant] = store.depot.catalog.leases.pin(lease.id, [(blob.digest, inc)])
        written = Written(grant, blob.size, blob_key(blob.digest, inc))
        store.depot.catalog.saves.heal(lease.id, "t" * 32, [written])
    buffer = bytearray(blob.size)
    read_blob(store.depot, blob, place, memoryview(buffer))
    assert buffer == raw


def test_a_blob_known_to_be_damaged_is_not_read(loaded):
    store, manifest = loaded
    blob = manifest.blobs[0]
    store.depot.catalog.blobs.damage([store.depot.catalog.blobs.places([blob.digest])[blob.digest]])
    with pytest.raises(Corrupt, match="repair"):
        read_blob(store.depot, blob, None, memoryview(bytearray(blob.size)))


def test_a_blob_that_became_shorter_is_named(loaded):
    store, manifest = loaded
    place = store.depot.catalog.blobs.places([manifest.blobs[0].digest])[manifest.blobs[0].digest]
    replace(store, place.key, b"short")
    with pytest.raises(Corrupt):
        list(Fetch(store.depot, manifest).pieces([(file, 0) for file in manifest.files]))


def test_of_two_equal_files_only_a_few_blobs_are_in_memory(store, tmp_path, monkeypatch):
    folder = tmp_path / "in"
    folder.mkdir()
    raw = np.random.default_rng(0).bytes(48 << 20)
    for name in ("epoch.dat", "latest.dat"):
        (folder / name).write_bytes(raw)
    manifest = load_manifest(store.depot, store.add([folder], name="m").committed.version.id)
    assert len(manifest.blobs) > 6
    monkeypatch.setattr(fetch, "_KEPT", 8 << 20)
    counting = Counting(store.depot.blobs)
    fetching = Fetch(dataclasses.replace(store.depot, blobs=counting), manifest)
    most, found = 0, {}
    for piece in fetching.pieces([(file, 0) for file in manifest.files]):
        most = max(most, len(fetching._loaded))
        found.setdefault(piece.file.path, bytearray()).extend(piece.data)
        piece.release()
    assert found == {"epoch.dat": raw, "latest.dat": raw}
    assert most <= 4
    assert counting.calls["read_into"] == 2 * len(manifest.blobs)
