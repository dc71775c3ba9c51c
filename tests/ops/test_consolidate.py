"""Consolidate: what ranks wrote comes out as the file that one would have saved, each blob read once"""

import dataclasses

import pytest
from safetensors.numpy import save

from artifactstore.blobs.wrap import Counting
from artifactstore.core.errors import Corrupt, Denied, NotFound, Unavailable
from artifactstore.core.events import Progress
from artifactstore.ops import consolidate
from tests.ops.test_verify import replace
from tests.sharded import STATE, write_ranks


def added(store, tmp_path):
    write_ranks(tmp_path / "ranks")
    return store.add([tmp_path / "ranks"], name="r").committed.version


@pytest.fixture
def version(store, tmp_path):
    return added(store, tmp_path)


def test_it_is_the_file_that_one_would_have_saved(any_store, tmp_path):
    plan = consolidate.plan(any_store.depot, added(any_store, tmp_path), tmp_path / "new" / "out.safetensors")
    consolidate.run(any_store.depot, plan)
    assert plan.path.read_bytes() == save(STATE, {"format": "pt"})
    assert [path.name for path in plan.path.parent.iterdir()] == ["out.safetensors"]
    assert any_store.resolve("r").last_load is not None
    assert not any_store.depot.catalog.leases.active()


def test_each_blob_is_read_once_and_all_is_told(store, version, tmp_path):
    events, held = [], []

    def monitor(event):
        events.append(event)
        held.append([lease.kind for lease in depot.catalog.leases.active()])

    blobs = Counting(store.depot.blobs)
    depot = dataclasses.replace(store.depot, blobs=blobs, monitor=monitor)
    plan = consolidate.plan(depot, version, tmp_path / "out.safetensors")
    blobs.calls.clear()
    consolidate.run(depot, plan)
    assert blobs.calls["read_into"] == len({extent.blob for extent in plan.file.body.extents})
    done = [event.done for event in events if isinstance(event, Progress)]
    assert done == sorted(done)
    assert held == [["read"]] * len(done)
    assert done[-1] == plan.file.size == plan.path.stat().st_size


def test_damage_leaves_what_was_there(store, version, tmp_path):
    path = tmp_path / "out.safetensors"
    path.write_text("mine")
    plan = consolidate.plan(store.depot, version, path)
    blob = plan.manifest.blobs[plan.file.body.extents[-1].blob]
    replace(store, store.depot.catalog.blobs.places([blob.digest])[blob.digest].key, bytes(blob.size))
    with pytest.raises(Corrupt, match=blob.digest.hex()[:12]):
        consolidate.run(store.depot, plan)
    assert path.read_text() == "mine"
    assert {each.name for each in tmp_path.iterdir()} == {"out.safetensors", "ranks", "store"}


def test_a_version_that_no_ranks_wrote_is_told(store, model, tmp_path):
    version = store.add([model], name="m").committed.version
    with pytest.raises(NotFound, match="No ranks wrote m:1"):
        consolidate.plan(store.depot, version, tmp_path / "out.safetensors")


def test_a_place_that_takes_no_file_is_told(store, version, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises((Denied, NotFound, Unavailable), match="Cannot write"):
        consolidate.run(store.depot, consolidate.plan(store.depot, version, tmp_path / "file" / "out.safetensors"))
