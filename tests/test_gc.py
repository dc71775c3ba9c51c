"""Gc as Python calls it: plans, guards, and policies after a save"""

import dataclasses
import json
import os
from datetime import timedelta

import pytest
import torch

from artifactstore import Best, CheckpointManager, Latest, Store
from artifactstore import gc as collector
from artifactstore.core.errors import Invalid, Refused
from artifactstore.core.events import Warn
from artifactstore.core.selection import Rules
from artifactstore.gc import SavedPlan


@pytest.fixture
def store(tmp_path):
    with Store.init(str(tmp_path / "store")) as store:
        folder = tmp_path / "m"
        folder.mkdir()
        for n in range(12):
            (folder / "w.bin").write_bytes(os.urandom(30_000))
            store.add([folder], name="m", created=n, step=n)
        yield store


def test_a_plan_written_and_read_is_the_plan(store):
    plan = store.plan_gc(Rules.parse("--keep-last 10"), grace=timedelta(hours=3))
    saved = SavedPlan.parse(json.dumps(plan.to_json()).encode())
    assert (saved.retire, saved.grace) == (plan.retire, plan.grace)
    assert collector.resume(store.depot, saved) == plan


def test_a_stale_plan_is_refused(store):
    plan = store.plan_gc(Rules.parse("--keep-last 10"))
    saved = SavedPlan.parse(json.dumps(plan.to_json()).encode())
    store.pin("m:1", "paper")
    with pytest.raises(Refused, match="has changed since"):
        collector.resume(store.depot, saved)


def test_a_plan_edited_by_hand_is_guarded_by_what_it_would_free(store):
    document = store.plan_gc(Rules.parse("--keep-last 10")).to_json()
    for item in document["items"]:
        item["action"] = "retire"
    edited = collector.resume(store.depot, SavedPlan.parse(json.dumps(document).encode()))
    assert edited.retire.frees_bytes == 12 * 30_000
    with pytest.raises(Refused, match="more than 20%"):
        store.gc(edited)
    assert len(store.gc(edited, force=True).retired.versions) == 11


def test_what_is_protected_after_the_plan_is_kept_and_told(store):
    plan = store.plan_gc(Rules.parse("--keep-last 10"))
    store.pin("m:1", "paper")
    report = store.gc(plan)
    assert [len(report.retired.versions), list(report.retired.kept.values())] == [1, [("pinned: paper",)]]


def test_a_fifth_is_guarded_before_anything_is_retired(store):
    plan = store.plan_gc(Rules.parse("--keep-last 2"))
    with pytest.raises(Refused, match="more than 20%"):
        store.gc(plan)
    assert len(store.ls()) == 12
    assert len(store.gc(plan, force=True).retired.versions) == 10


def test_at_once_what_waits_already_counts_for_the_guard_before_anything_is_retired(store):
    store.gc(store.plan_gc(Rules.parse("--keep-last 10")))
    plan = store.plan_gc(Rules.parse("--keep-last 8"), grace=timedelta(0))
    with pytest.raises(Refused, match="more than 20%"):
        store.gc(plan)
    assert len(store.ls()) == 10
    assert store.gc(store.plan_gc(Rules.parse("--keep-last 8"))).retired.versions


def test_until_free_needs_a_place_that_tells(store):
    blobs = store.depot.blobs

    class Silent:
        def __getattr__(self, name):
            return getattr(blobs, name)

        def free(self):
            return None

    depot = dataclasses.replace(store.depot, blobs=Silent())
    with pytest.raises(Invalid, match="does not tell its free space"):
        collector.plan(depot, Rules.parse("--keep-last 1"), until_free=1)


def test_a_child_goes_before_what_it_needs(store):
    parent = store.link("m:1", "adapter")
    store.add([store.depot.blobs.root / "artstore.json"], name="a", parents=[parent], created=100)
    store.add([store.depot.blobs.root / "artstore.json"], name="a", created=200)
    free = store.depot.blobs.free()
    plan = store.plan_gc(Rules.parse("--keep-last 1"), until_free=free + 1)
    going = [item.ref for item in plan.retire.going]
    assert "m:1" not in going or "a:1" in going


def checkpoints(tmp_path, **options):
    told = []
    manager = CheckpointManager({"storage_path": str(tmp_path / "ck")}, run="r", monitor=told.append, **options)
    return manager, told


def save(manager, step, loss):
    state = {"w": torch.randn(2000)}
    return manager.save_checkpoint({"step": step, "metrics": {"loss": loss}, "state": state})


def test_a_policy_runs_after_each_save(tmp_path):
    manager, _ = checkpoints(tmp_path, policy=Latest(2) | Best(1, "loss"), grace=timedelta(0))
    for step, loss in enumerate([3, 1, 4, 2, 5]):
        save(manager, step, loss)
    assert [version.step for version in manager.list()] == [4, 3, 1]
    with Store.open(str(tmp_path / "ck")) as store:
        assert store.verify().damaged == ()
        assert store.depot.catalog.blobs.totals()[0] == len(list((tmp_path / "ck" / "blobs").rglob("*.*")))


def test_with_a_grace_what_went_can_come_back(tmp_path):
    manager, _ = checkpoints(tmp_path, policy="--keep-last 1")
    for step in range(3):
        save(manager, step, 1)
    with Store.open(str(tmp_path / "ck")) as store:
        assert len(store.ls()) == 1
        store.undo()
        assert [version.step for version in store.ls()] == [2, 1]


def test_other_runs_are_left_alone(tmp_path):
    manager, _ = checkpoints(tmp_path, policy=Latest(1), grace=timedelta(0))
    for step in range(3):
        manager.save_checkpoint({"step": step, "run": "other", "state": {"w": torch.randn(9)}})
        save(manager, step, 1)
    assert {version.artifact: 0 for version in manager.list()} == {"r": 0}
    assert len(manager.list("other")) == 1


def test_a_policy_that_fails_harms_no_save(tmp_path):
    class Broken:
        def keeps(self, group):
            raise Invalid("This policy is broken")

    manager, told = checkpoints(tmp_path, policy=Broken())
    assert save(manager, 1, 1).ref == "r:1"
    assert any(isinstance(event, Warn) and "is broken" in event.message for event in told)


def test_a_policy_text_that_makes_no_sense(tmp_path):
    with pytest.raises(Invalid):
        checkpoints(tmp_path, policy="--keep-lst 3")
