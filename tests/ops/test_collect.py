"""Collect: bytes go when nothing needs them and their time has come, on every kind of store"""

import sqlite3
from contextlib import closing
from datetime import timedelta
from random import Random

import pytest

from artifactstore.blobs.layout import blob_key, new_incarnation
from artifactstore.core.digest import Digest
from artifactstore.core.errors import Conflict, NotFound, Refused, Unavailable
from artifactstore.core.events import Step
from artifactstore.core.selection import Rules
from artifactstore.depot import open_depot
from artifactstore.lease import Lease
from artifactstore.ops import collect, retire, verify
from tests.ops.trees import Changed

ZERO = timedelta(0)
SIZE = 1 << 20


def fill(store, folder, count=6, name="m"):
    """Versions of one file each with bytes of its own and bytes all share"""
    folder.mkdir(exist_ok=True)
    (folder / "same.bin").write_bytes(b"same" * 100)
    for n in range(count):
        (folder / "own.bin").write_bytes(Random(n).randbytes(SIZE))
        store.add([folder], name=name, step=n, created=n)


def retired(store, *numbers, name="m"):
    ids = [store.resolve(f"{name}:{number}").id for number in numbers]
    return store.depot.catalog.retirements.retire(dict.fromkeys(ids, "test"))


def objects(store):
    return {key for prefix in ("blobs/", "manifests/") for key in store.depot.blobs.keys(prefix)}


def put(store, key, raw=b"left"):
    batch = store.depot.blobs.batch("spoiler")
    batch.write(key, raw)
    batch.publish()
    batch.discard()


def test_what_is_retired_goes_after_its_grace_and_the_rest_verifies(any_store, tmp_path):
    fill(any_store, tmp_path / "m")
    before = objects(any_store)
    retired(any_store, 1)
    first = collect.run(any_store.depot)
    assert (first.condemned.count, first.removed.count, first.waiting.count) == (1, 0, 1)
    assert objects(any_store) == before
    second = collect.run(any_store.depot, ZERO)
    assert (second.condemned.count, second.removed.count, second.waiting.count) == (0, 1, 0)
    assert len(before - objects(any_store)) == 2
    assert any_store.verify().damaged == ()
    assert collect.run(any_store.depot, ZERO).removed.count == 0
    folder = any_store.depot.blobs
    assert list(folder.keys("trash/")) == []
    with pytest.raises(NotFound):
        any_store.resolve("m:1")


def test_leftovers_of_writers_that_never_ended_go_and_strays_stay(any_store, tmp_path):
    fill(any_store, tmp_path / "m")
    orphan = blob_key(Digest.of(b"left"), new_incarnation())
    put(any_store, orphan)
    put(any_store, "blobs/ab/notes.txt")
    with Lease(any_store.depot, "save") as lease:
        [grant] = any_store.depot.catalog.leases.pin(lease.id, [(Digest.of(b"mine"), new_incarnation())])
        mine = blob_key(grant.digest, grant.inc)
        put(any_store, mine, b"mine")
        report = collect.run(any_store.depot, ZERO)
        assert mine in objects(any_store)
        any_store.depot.catalog.leases.reap(lease.id)
    assert (report.orphans.count, report.orphans.nbytes, report.strays) == (1, 4, ("blobs/ab/notes.txt",))
    assert orphan not in objects(any_store)
    assert collect.run(any_store.depot, ZERO).orphans.count == 1
    assert "blobs/ab/notes.txt" in objects(any_store)


def test_a_leftover_that_somebody_names_by_then_stays_and_is_not_counted(store, tmp_path):
    fill(store, tmp_path / "m")
    digest, inc = Digest.of(b"left"), new_incarnation()
    put(store, blob_key(digest, inc))
    with Lease(store.depot, "save") as lease:

        def pin(event):
            if event == Step("gc.disown.before"):
                store.depot.catalog.leases.pin(lease.id, [(digest, inc)])

        report = collect.run(_with(store.depot, monitor=pin), ZERO)
        store.depot.catalog.leases.reap(lease.id)
    assert (report.orphans.count, report.orphans.nbytes) == (0, 0)
    assert blob_key(digest, inc) in objects(store)


def test_without_a_look_at_the_store_leftovers_stay(store, tmp_path):
    fill(store, tmp_path / "m")
    put(store, blob_key(Digest.of(b"left"), new_incarnation()))
    assert collect.run(store.depot, ZERO, orphans=False).orphans.count == 0


def test_more_than_a_fifth_needs_force(store, tmp_path):
    fill(store, tmp_path / "m")
    retired(store, 1, 2, 3)
    before = objects(store)
    with pytest.raises(Refused, match="more than 20%") as caught:
        collect.run(store.depot, ZERO)
    assert caught.value.code == "refused.guard"
    assert objects(store) == before
    assert collect.run(store.depot, ZERO, force=True).removed.count == 3


def test_orphans_count_for_the_guard(store, tmp_path):
    fill(store, tmp_path / "m", 1)
    put(store, blob_key(Digest.of(b"left"), new_incarnation()), bytes(9 << 20))
    with pytest.raises(Refused, match="more than 20%"):
        collect.run(store.depot, ZERO)


@pytest.mark.parametrize("ago", [1, -1])
def test_not_within_a_day_after_a_rebuild(store, tmp_path, ago):
    fill(store, tmp_path / "m")
    retired(store, 1)
    now = store.depot.catalog.now()
    rebuilt = "UPDATE store SET rebuilt_at = {}".format
    store.depot.catalog.database.write(lambda c: c.exec_driver_sql(rebuilt(now - 3_600_000_000)))
    with pytest.raises(Refused, match="rebuilt less than a day ago"):
        collect.run(store.depot, ZERO)
    # also when the clock ran ahead then
    store.depot.catalog.database.write(lambda c: c.exec_driver_sql(rebuilt(now - ago * 90_000_000_000)))
    assert collect.run(store.depot, ZERO).removed.count == 1


def test_nothing_is_removed_before_its_intent_is_exported(store, tmp_path):
    fill(store, tmp_path / "m")
    retired(store, 1)

    def full(key, data):
        raise Unavailable("The journal's disk is full")

    depot = store.depot
    broken = Changed(depot.blobs, replace=full)
    before = objects(store)
    with pytest.raises(Unavailable, match="disk is full"):
        collect.run(_with(depot, blobs=broken), ZERO)
    assert objects(store) == before
    assert collect.run(depot, ZERO).removed.count == 1


def _with(depot, **parts):
    import dataclasses

    return dataclasses.replace(depot, **parts)


def test_a_store_given_to_another_catalog_is_left_alone(store, tmp_path):
    fill(store, tmp_path / "m")
    retired(store, 1)
    depot = store.depot
    before = objects(store)

    def monitor(event):
        if isinstance(event, Step) and event.name == "gc.intent.after":
            text = depot.blobs.read("artstore.json").decode()
            path = depot.blobs.root / "artstore.json"
            path.unlink()
            path.write_text(text.replace(depot.info.catalog_id, "f" * 32))

    with pytest.raises(Conflict, match="another catalog"):
        collect.run(_with(depot, monitor=monitor), ZERO)
    assert objects(store) == before


def test_a_catalog_put_back_meanwhile_stops_it(store, tmp_path):
    fill(store, tmp_path / "m")
    retired(store, 1)
    depot = store.depot
    file = depot.blobs.root / "catalog.sqlite"
    before = objects(store)

    def back(event):
        if isinstance(event, Step) and event.name == "gc.intent.before" and not kept.exists():
            depot.export_journal()
            with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(kept)) as target:
                source.backup(target)
        elif isinstance(event, Step) and event.name == "gc.intent.after":
            with closing(sqlite3.connect(kept)) as source, closing(sqlite3.connect(file)) as target:
                source.backup(target)

    kept = tmp_path / "kept.sqlite"
    with pytest.raises(Conflict, match="older state"):
        collect.run(_with(depot, monitor=back), ZERO)
    assert objects(store) == before


def test_a_catalog_put_back_under_deletions_that_were_taken_over_stops_them(store, tmp_path):
    fill(store, tmp_path / "m")
    retired(store, 1)
    depot, before = store.depot, objects(store)
    file, kept = depot.blobs.root / "catalog.sqlite", tmp_path / "kept.sqlite"
    with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(kept)) as target:
        source.backup(target)

    def fail(event):
        if event == Step("gc.trash.before"):
            raise KeyboardInterrupt

    def back(event):
        if event == Step("gc.export.before"):
            with closing(sqlite3.connect(kept)) as source, closing(sqlite3.connect(file)) as target:
                source.backup(target)

    with pytest.raises(KeyboardInterrupt):
        collect.run(_with(depot, monitor=fail), ZERO)
    with pytest.raises(Conflict, match="does not say any more"):
        collect.run(_with(depot, monitor=back), ZERO)
    assert objects(store) == before


def test_damaged_bytes_nothing_needs_stay_in_quarantine_and_their_rows_go(any_store, tmp_path):
    fill(any_store, tmp_path / "m")
    place = max(any_store.depot.catalog.blobs.all(versions=[any_store.resolve("m:1").id]), key=lambda one: one.size)
    any_store.depot.blobs.delete(place.key)
    put(any_store, place.key, bytes(place.size))
    verify.run(any_store.depot, verify.plan(any_store.depot))
    collect.run(any_store.depot, ZERO)
    assert [one.digest for one in any_store.depot.catalog.blobs.damaged()] == [place.digest]
    retired(any_store, 1)
    collect.run(any_store.depot, ZERO)
    assert any_store.depot.catalog.blobs.damaged() == []
    assert list(any_store.depot.blobs.keys("quarantine/")) == [f"quarantine/{place.key}"]


def test_damaged_bytes_that_were_not_set_aside_are_before_the_row_goes(any_store, tmp_path):
    fill(any_store, tmp_path / "m")
    place = max(any_store.depot.catalog.blobs.all(versions=[any_store.resolve("m:1").id]), key=lambda one: one.size)
    # what a verify that died between its record and the move leaves
    any_store.depot.catalog.blobs.damage([place])
    retired(any_store, 1)
    collect.run(any_store.depot, ZERO)
    assert list(any_store.depot.blobs.keys("quarantine/")) == [f"quarantine/{place.key}"]


def test_the_work_of_a_collector_that_died_is_finished(store, tmp_path):
    fill(store, tmp_path / "m")
    retired(store, 1)
    collect.run(store.depot)
    lease = Lease(store.depot, "collect")
    with lease:
        doomed = store.depot.catalog.collections.doom(lease.id, 0)
        assert doomed
        store.depot.catalog.leases.reap(lease.id)
    report = collect.run(store.depot, timedelta(days=7))
    assert all(one.key not in objects(store) for one in doomed)
    assert report.removed.count == sum(one.kind == "blob" for one in doomed)


def test_what_lies_in_trash_goes_and_foreign_files_there_stay(store, tmp_path):
    fill(store, tmp_path / "m")
    trash = store.depot.blobs.root / "trash"
    trash.mkdir()
    (trash / f"{Digest.of(b'1')}.{new_incarnation()}").write_bytes(b"1")
    (trash / "notes.txt").write_bytes(b"2")
    collect.run(store.depot, ZERO)
    assert [path.name for path in trash.iterdir()] == ["notes.txt"]


def test_a_read_only_store_is_refused(store, tmp_path):
    fill(store, tmp_path / "m")
    with open_depot(store.depot.blobs.url, read_only=True) as depot, pytest.raises(Exception, match="read-only"):
        collect.run(depot)


def test_the_plan_tells_what_is_due(store, tmp_path):
    fill(store, tmp_path / "m")
    retired(store, 1)
    collect.run(store.depot)
    plan = collect.plan(store.depot, ZERO)
    assert plan.to_json() == {
        "due_blobs": 1,
        "due_bytes": plan.due.nbytes,
        "waiting_blobs": 1,
        "waiting_bytes": plan.due.nbytes,
    }
    assert plan.due.nbytes > SIZE
    assert collect.plan(store.depot).due.count == 0


def test_what_a_policy_frees_is_what_a_collection_removes(any_store, tmp_path):
    fill(any_store, tmp_path / "m")
    plan = retire.plan(any_store.depot, Rules.parse("--keep-last 4"))
    assert [item.ref for item in plan.going] == ["m:1", "m:2"]
    before = sum(any_store.depot.blobs.size(key) for key in any_store.depot.blobs.keys("blobs/"))
    retire.run(any_store.depot, plan)
    report = collect.run(any_store.depot, ZERO, force=True)
    after = sum(any_store.depot.blobs.size(key) for key in any_store.depot.blobs.keys("blobs/"))
    assert plan.frees_bytes == report.removed.nbytes == before - after


def test_what_a_killed_command_left_is_written_down_though_nothing_goes(store, tmp_path):
    fill(store, tmp_path / "m")
    retired(store, 1)
    assert store.depot.catalog.journal.pending(1)
    collect.run(store.depot)
    assert store.depot.catalog.journal.pending(1) == []
