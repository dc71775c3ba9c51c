"""Doctor: every finding is true"""

import dataclasses

import pytest

from artifactstore.core.settings import Settings
from artifactstore.lease import Lease
from artifactstore.store import Store
from tests.ops.test_verify import replace


def findings(store):
    return {finding.what: finding for finding in store.doctor()}


def test_a_healthy_store(any_store, model):
    any_store.add([model], name="m")
    found = findings(any_store)
    assert {finding.status for finding in found.values()} <= {"ok", "skipped"}
    assert set(found) >= {"free space", "file system", "permissions", "clock", "remotes", "catalog"}
    assert list(any_store.depot.blobs.keys("tmp")) == []


def test_damage_and_others_at_work_are_told(any_store, model):
    any_store.add([model], name="m")
    replace(any_store, next(iter(any_store.depot.catalog.blobs.all())).key, None)
    any_store.verify()
    with Lease(any_store.depot, "sync"):
        found = findings(any_store)
    assert found["damage"].status == "fail"
    assert "sync by pid" in found["leases"].detail


def test_offline_skips_the_network(store):
    with Store.open(store.depot.blobs.url, settings=Settings(offline=True)) as offline:
        assert findings(offline)["remotes"].status == "skipped"


def test_a_clock_that_went_wrong(tmp_path):
    with Store.init(str(tmp_path / "s")) as store:
        hour = 3_600_000_000
        store.depot = dataclasses.replace(store.depot, clock=lambda: store.depot.catalog.now() + hour)
        assert findings(store)["clock"].status == "warn"


def test_a_read_only_store_is_not_written_to(store):
    with Store.open(store.depot.blobs.url, read_only=True) as reader:
        assert findings(reader)["permissions"].status == "skipped"


def test_a_failing_part_is_a_finding(store):
    folder = store.depot.blobs.root
    folder.rename(folder.with_name("away"))
    try:
        assert any(finding.status == "fail" for finding in store.doctor())
    finally:
        folder.with_name("away").rename(folder)


@pytest.mark.parametrize("free", [0, 1 << 20])
def test_little_space_is_a_warning(store, free):
    store.depot.blobs.free = lambda: free
    assert findings(store)["free space"].status == "warn"
