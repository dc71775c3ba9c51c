"""A catalog that follows its journal means what the one that wrote it means"""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings

from artifactstore.blobs.wrap import Counting
from artifactstore.catalog.dump import dump
from artifactstore.catalog.open import create_catalog
from artifactstore.catalog.url import sqlite_url
from artifactstore.core.errors import Conflict, Corrupt
from artifactstore.depot import init
from artifactstore.journal import trace
from artifactstore.replay import catch_up, read_batches
from tests.faults.scale import choose
from tests.histories import CONTENTS, History, steps
from tests.journals import body, put


def lines(catalog) -> list[str]:
    return list(dump(catalog.database))


def follower(depot, folder: Path, name: str = "follower"):
    """An empty catalog under the same id"""
    url = sqlite_url(folder / f"{name}.sqlite")
    return create_catalog(url, store_id=depot.info.store_id, catalog_id=depot.info.catalog_id, settings=depot.settings)


@pytest.fixture
def folder():
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.fixture
def history(folder):
    with init(f"memory://{folder.name}", sqlite_url(folder / "catalog.sqlite")) as depot:
        yield History(depot)


@settings(max_examples=choose(40, 1000), deadline=None)
@given(steps)
def test_whatever_happened_comes_back(done):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with init(f"memory://{folder.name}", sqlite_url(folder / "catalog.sqlite")) as depot:
            history = History(depot)
            history.run(done)
            # of a manifest that is lost nobody knows what it said
            history.repair(0, 0, 0)
            other = follower(depot, folder)
            catch_up(depot.blobs, other)
            assert lines(other) == lines(depot.catalog)
            other.close()


@settings(max_examples=choose(20, 500), deadline=None)
@given(steps, steps)
def test_a_catalog_of_some_time_ago_comes_up_to_date(before, after):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with init(f"memory://{folder.name}", sqlite_url(folder / "catalog.sqlite")) as depot:
            history = History(depot)
            history.run(before)
            history.repair(0, 0, 0)
            other = follower(depot, folder)
            catch_up(depot.blobs, other)
            history.run(after)
            history.repair(0, 0, 0)
            catch_up(depot.blobs, other)
            assert lines(other) == lines(depot.catalog)
            other.close()


def test_every_record_is_replayed_once(history, folder):
    history.run([("save", 0, 0, 1), ("save", 0, 1, 2), ("metric", 0, 0, 1)])
    other = follower(history.depot, folder)
    assert [catch_up(history.depot.blobs, other) for _ in range(2)] == [3, 0]
    assert other.journal.head() == history.depot.catalog.journal.head()
    assert other.journal.pending() == []
    assert [record.body for record in other.journal.log()] == [
        record.body for record in history.depot.catalog.journal.log()
    ]
    other.close()


def test_leases_of_the_backup_end_and_readers_of_no_record_stay(history, folder):
    other = follower(history.depot, folder)
    other.leases.open("old", host="h", pid=1, kind="save")
    catch_up(history.depot.blobs, other)
    assert len(other.leases.active()) == 1
    history.save(0, 0, 1)
    catch_up(history.depot.blobs, other)
    assert other.leases.active() == []
    assert other.leases.is_reaped("old")
    other.close()


def test_records_that_do_not_follow_are_a_conflict(history, folder):
    other = follower(history.depot, folder)
    history.save(0, 0, 1)
    catch_up(history.depot.blobs, other)
    history.metric(0, 0, 1)
    first, last = history.depot.blobs.keys("journal/")
    history.depot.blobs.delete(first)
    put(history.depot.blobs, body(other.catalog_id, 1))
    with pytest.raises(Conflict, match="different ways"):
        catch_up(history.depot.blobs, other)
    history.depot.blobs.delete(last)
    with pytest.raises(Conflict, match="different ways"):
        catch_up(history.depot.blobs, other)
    other.close()


def test_a_batch_that_does_not_follow_changes_nothing(history, folder):
    for number in range(3):
        history.save(0, number, 1)
    [batch] = read_batches(trace(history.depot.blobs, history.depot.info.catalog_id), 1)
    other = follower(history.depot, folder)
    with pytest.raises(Conflict, match="does not follow record 0"):
        other.replays.forward(batch.records, batch.shelf)
    assert other.journal.head() == (0, None)
    other.close()


def test_a_manifest_is_looked_for_wherever_a_record_says_it_lay(history, folder):
    """Damaged after its commit and healed since: the record of the commit names bytes that are gone"""
    history.run([("save", 0, 0, 1), ("save", 1, 2, 2)])
    [manifest, _] = history.depot.catalog.blobs.manifests()
    history.depot.blobs.replace(manifest.key, b"x")
    history.run([("repair", 0, 0, 0)])
    history.depot.catalog.blobs.damage_manifests([manifest])
    history.repair(0, 0, 0)
    other = follower(history.depot, folder)
    catch_up(history.depot.blobs, other)
    assert lines(other) == lines(history.depot.catalog)
    other.close()


def test_a_lost_manifest_leaves_what_its_record_says(history, folder):
    history.run([("save", 0, 0, 1), ("alias", 0, 0, 0)])
    [manifest] = history.depot.catalog.blobs.manifests()
    history.depot.blobs.delete(manifest.key)
    other = follower(history.depot, folder)
    catch_up(history.depot.blobs, other)
    [version] = other.versions.list()
    assert (version.ref, version.id, version.files, version.aliases) == ("org/base:1", manifest.digest, 0, ("latest",))
    assert [place.digest for place in other.blobs.damaged_manifests()] == [manifest.digest]
    assert {place.size for place in other.blobs.all()} == {len(CONTENTS[0]), len(CONTENTS[1])}
    other.close()


def test_a_damaged_manifest_counts_as_lost(history, folder):
    history.save(0, 0, 1)
    [manifest] = history.depot.catalog.blobs.manifests()
    raw = history.depot.blobs.read(manifest.key)
    history.depot.blobs.replace(manifest.key, raw.replace(b"org/base", b"org/bass"))
    other = follower(history.depot, folder)
    catch_up(history.depot.blobs, other)
    assert [(place.digest, place.size) for place in other.blobs.damaged_manifests()] == [(manifest.digest, len(raw))]
    other.close()


def test_a_long_history_comes_in_several_batches(history, folder):
    history.save(0, 0, 1)
    for number in range(250):
        history.metric(0, number, number)
    assert [
        len(batch.records) for batch in read_batches(trace(history.depot.blobs, history.depot.info.catalog_id))
    ] == [
        200,
        51,
    ]
    other = follower(history.depot, folder)
    assert catch_up(history.depot.blobs, other) == 251
    assert lines(other) == lines(history.depot.catalog)
    other.close()


def test_each_manifest_is_read_once_and_the_journal_too(history, folder):
    for number in range(4):
        history.save(0, number, 1)
    counting = Counting(history.depot.blobs)
    other = follower(history.depot, folder)
    catch_up(counting, other)
    # the first record is read to find out where the chain begins
    assert counting.calls["read"] == 1 + 4 + 4
    other.close()


def test_a_damaged_journal_is_told_and_what_was_before_it_stays(history, folder):
    for number in range(3):
        history.save(0, number, 1)
    history.depot.blobs.replace(list(history.depot.blobs.keys("journal/"))[2], b"{}")
    other = follower(history.depot, folder)
    with pytest.raises(Corrupt, match="000000000003"):
        catch_up(history.depot.blobs, other)
    assert other.journal.head()[0] in {0, 2}
    other.close()
