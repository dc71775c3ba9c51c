"""Sharing: push, pull, sync and clone between stores of every kind, bit for bit and only what is missing"""

import dataclasses
import math
from datetime import timedelta

import numpy as np
import pytest
import sqlalchemy as sa

from artifactstore.blobs.wrap import Counting
from artifactstore.catalog.tables import version
from artifactstore.core.errors import Corrupt, NotFound, Refused, Unavailable
from artifactstore.core.events import Step, Warn
from artifactstore.ops import collect
from artifactstore.store import Store
from tests.beside import MIB, CountingProxy, aliases, ids, meaning
from tests.ops.test_verify import replace

PAIRS = [("folder", "folder"), ("folder", "moto"), ("folder", "rclone"), ("moto", "folder")]


@pytest.fixture(params=PAIRS, ids="-".join)
def pair(request, beside):
    """A store with a family of models, and a mirror of it"""
    here, there = request.param
    store = beside.store(here)
    beside.family(store)
    store.remote_add("usb", beside.url(there), beside.catalog() if here != "folder" else None)
    return store


@pytest.fixture
def mirrored(beside):
    return beside.mirrored()


def test_push_brings_all_of_it_then_nothing(pair, beside):
    planned = pair.plan_push("usb")
    report = pair.push("usb")
    assert [one.ref for one in report.carried.versions] == ["org/base:1", "org/tuned:1", "other:1"]
    assert (report.carried.blobs, report.carried.nbytes) == (planned.carry.blobs, planned.carry.nbytes)
    mirror = beside.mirror_of(pair)
    assert meaning(mirror) == meaning(pair)
    assert aliases(mirror) == aliases(pair)
    assert mirror.verify().damaged == ()
    beside.checked(mirror, "org/tuned", 2)
    assert pair.plan_push("usb").is_empty
    again = pair.push("usb")
    assert again.plan.is_empty
    assert again.carried.blobs == 0


def test_pull_takes_it_from_there_with_its_names(pair, beside):
    pair.push("usb")
    other = beside.store()
    info = other.remote_add("usb", pair.depot.catalog.remotes.get("usb").url)
    assert (info.mirror, info.catalog) == (False, None)
    report = other.pull("usb")
    assert len(report.carried.versions) == 3
    assert aliases(other) == {
        "org/base@usb/prod": aliases(pair)["org/base@prod"],
        "org/tuned@usb/latest": aliases(pair)["org/tuned@latest"],
    }
    assert other.resolve("org/base").metrics == {"loss": 0.5, "acc": 1.0}
    assert meaning(other) == meaning(pair)
    assert other.verify().damaged == ()
    beside.checked(other, "org/base@usb/prod", 1)
    assert other.pull("usb").plan.is_empty
    other.pull("usb", aliases=True)
    assert aliases(other)["org/base@prod"] == aliases(pair)["org/base@prod"]


def test_a_store_with_a_catalog_of_its_own(beside, postgres_url):
    store, team = beside.store(), beside.store(catalog=postgres_url)
    beside.family(store)
    team.add([beside.model(7)], name="org/base", aliases=["prod"])
    kept = aliases(team)
    store.remote_add("team", team.depot.blobs.url)
    with pytest.raises(Refused, match="--remote-catalog"):
        store.push("team")
    info = store.remote_add("team", team.depot.blobs.url, postgres_url)
    assert (info.mirror, info.catalog) == (False, postgres_url)
    report = store.push("team")
    # numbers are the target's own, and its aliases stay where they are
    assert [one.ref for one in report.carried.versions] == ["org/base:2", "org/tuned:1", "other:1"]
    assert aliases(team) == kept
    store.push("team", aliases=True)
    assert aliases(team)["org/base@prod"] == aliases(store)["org/base@prod"]
    team.add([beside.model(8)], name="new")
    assert [one.ref for one in store.pull("team", ["new"]).carried.versions] == ["new:1"]
    team.alias_set("other", "theirs", "other")
    store.sync("team")
    assert "other@theirs" in aliases(team)
    with pytest.raises(Refused, match="owner of its own"):
        store.sync("team", delete=True)
    with pytest.raises(Refused, match="owner of its own"):
        store.plan_sync("team", delete=True)


def test_a_version_brings_what_it_needs_before_itself(mirrored, beside):
    other = beside.store()
    other.remote_add("usb", mirrored.depot.catalog.remotes.get("usb").url)
    report = other.pull("usb", ["org/tuned"])
    assert [one.ref for one in report.carried.versions] == ["org/base:1", "org/tuned:1"]
    assert set(aliases(other)) == {"org/base@usb/prod", "org/tuned@usb/latest"}
    with pytest.raises(NotFound, match="usb has nothing called 'nope'"):
        other.pull("usb", ["nope"])
    (link,) = other.show("org/tuned")["parents"]
    assert link["version"] == "org/base:1"


def test_only_missing_blobs_are_read_and_written(mirrored, beside):
    mirrored.add([beside.model(1)], name="copy")
    counting = Counting(mirrored.depot.blobs)
    mirrored.depot = dataclasses.replace(mirrored.depot, blobs=counting)
    report = mirrored.push("usb")
    assert [one.ref for one in report.carried.versions] == ["copy:1"]
    assert report.carried.blobs == 0
    # the header, which is looked at to see that the manifest tells the truth
    assert counting.calls["read_into"] == 1
    counting.calls.clear()
    mirrored.push("usb")
    assert counting.calls["read_into"] == 0


def test_metrics_travel_and_only_a_sync_changes_them(mirrored, beside):
    mirror = beside.mirror_of(mirrored)
    mirrored.metric("org/base", {"loss": 0.25, "new": 1.0})
    mirrored.push("usb")
    assert mirror.resolve("org/base").metrics == {"loss": 0.5, "acc": 1.0, "new": 1.0}
    assert mirrored.plan_push("usb").is_empty
    mirrored.sync("usb")
    assert mirror.resolve("org/base").metrics == {"loss": 0.25, "acc": 1.0, "new": 1.0}
    odd = {"nan": math.nan, "inf": math.inf}
    mirrored.add([beside.model(11)], name="odd", metrics=odd)
    mirrored.sync("usb")
    assert str(mirror.resolve("odd").metrics) == str(mirrored.resolve("odd").metrics)
    assert mirrored.plan_sync("usb")[0].is_empty


def test_a_sync_takes_aliases_away_and_a_push_does_not(mirrored, beside):
    mirror = beside.mirror_of(mirrored)
    mirrored.alias_rm("org/base", "prod")
    mirrored.alias_set("other", "prod", "other")
    mirrored.push("usb")
    assert {"org/base@prod", "other@prod"} <= set(aliases(mirror))
    mirrored.sync("usb")
    assert aliases(mirror) == aliases(mirrored)


def test_what_was_retired_there_comes_back_by_its_name_only(mirrored, beside):
    mirror = beside.mirror_of(mirrored)
    version = mirror.resolve("other")
    mirrored.add([beside.model(12)], name="other")
    mirrored.push("usb")
    mirror.depot.catalog.retirements.retire({version.id: "small disk"})
    plan = mirrored.plan_push("usb")
    assert plan.is_empty
    assert [one.ref for one in plan.retired] == ["other:1"]
    report = mirrored.push("usb", ["other:1"])
    assert [one.ref for one in report.carried.versions] == ["other:1"]
    assert report.carried.blobs == 0
    assert version.id in ids(mirror)


def test_damage_is_named_and_what_came_before_it_stays(mirrored, beside):
    other = beside.store()
    other.remote_add("usb", mirrored.depot.catalog.remotes.get("usb").url)
    mirror = beside.mirror_of(mirrored)
    before = {one.digest for one in mirror.depot.catalog.blobs.all(versions=[mirror.resolve("org/base").id])}
    tuned = mirror.depot.catalog.blobs.all(versions=[mirror.resolve("org/tuned").id])
    place = next(one for one in tuned if one.digest not in before and one.size > 1000)
    raw = mirror.depot.blobs.read(place.key)
    replace(mirror, place.key, raw[:-1] + bytes([raw[-1] ^ 1]))
    with pytest.raises(Corrupt, match=place.digest.hex()[:12]) as caught:
        other.pull("usb")
    assert mirror.depot.blobs.url in caught.value.message
    assert [one.ref for one in other.ls()] == ["org/base:1"]
    assert aliases(other) == {}
    assert other.verify().damaged == ()
    # the owner finds it, and its next push brings it back
    assert [one.digest for one in mirror.verify().damaged] == [place.digest]
    plan = mirrored.plan_push("usb")
    assert [one.digest for one in plan.carry.healing] == [place.digest]
    assert mirrored.push("usb").carried.blobs == 1
    assert mirror.verify().damaged == ()
    assert mirrored.plan_push("usb").is_empty
    assert len(other.pull("usb").carried.versions) == 2


def test_a_damaged_manifest_is_refilled_too(mirrored, beside):
    mirror = beside.mirror_of(mirrored)
    (place, *_) = mirror.depot.catalog.blobs.manifests()
    replace(mirror, place.key, None)
    assert len(mirror.verify().damaged) == 1
    mirrored.push("usb")
    assert mirror.verify().damaged == ()
    assert mirrored.push("usb").plan.is_empty


def test_an_unchanged_push_asks_the_same_whatever_there_is(beside, moto_endpoint):
    proxy = CountingProxy(moto_endpoint)
    try:
        spent = [_requests(beside, proxy, moto_endpoint, count) for count in (10, 50)]
    finally:
        proxy.close()
    assert spent[0] == spent[1] < 20


def _requests(beside, proxy, endpoint, count):
    """How many a push takes when all is there already"""
    store = beside.store()
    folder = beside.folder / f"blobs{count}"
    folder.mkdir()
    tensors = {f"t{n}": np.full(MIB if n % 2 else 100, n % 250, dtype=np.uint8) for n in range(count)}
    for name, tensor in tensors.items():
        (folder / f"{name}.bin").write_bytes(tensor.tobytes() + name.encode())
    for path in folder.iterdir():
        store.add([path], name=path.stem)
    url = beside.url("moto").replace(endpoint, proxy.url.removesuffix("/"))
    store.remote_add("s3", url)
    store.push("s3")
    assert len(list(store.depot.catalog.blobs.all())) == count
    proxy.requests = 0
    assert store.push("s3").plan.is_empty
    return proxy.requests


def test_sync_lets_go_of_what_is_gone_here(mirrored, beside):
    mirrored.add([beside.model(9, 4 * MIB)], name="big")
    mirrored.push("usb")
    mirror = beside.mirror_of(mirrored)
    other = mirrored.resolve("other")
    mirrored.add([beside.model(4)], name="other")
    mirrored.sync("usb")
    mirrored.depot.catalog.retirements.retire({other.id: "old"})
    plan, going = mirrored.plan_sync("usb", delete=True)
    assert (plan.is_empty, [one.id for one in going]) == (True, [other.id])
    assert other.id in ids(mirror)
    assert mirrored.sync("usb").removed is None
    report = mirrored.sync("usb", delete=True)
    assert report.removed.retired.versions == (other.id,)
    assert report.to_json()["removed"]["retired"] == [str(other.id)]
    assert ids(mirror) == ids(mirrored)
    assert mirrored.depot.catalog.remotes.held("usb") == ids(mirrored)
    # its bytes wait for the grace
    assert mirror.verify().damaged == ()
    swept = mirrored.sync("usb", delete=True, grace=timedelta(0), force=True).removed.swept
    assert swept.removed.count
    assert mirror.verify().damaged == ()


def test_more_than_a_fifth_goes_by_force_only(mirrored, beside):
    mirror = beside.mirror_of(mirrored)
    old = mirrored.resolve("other")
    mirrored.add([beside.model(4)], name="other")
    mirrored.depot.catalog.retirements.retire({old.id: "old"})
    with pytest.raises(Refused, match="--force"):
        mirrored.sync("usb", delete=True)
    # nothing was brought either
    assert [one.ref for one in mirror.ls("other")] == ["other:1"]
    report = mirrored.sync("usb", delete=True, force=True)
    assert report.removed.retired.versions == (old.id,)
    assert ids(mirror) == ids(mirrored)


def test_what_must_stay_there_stays_and_is_told(mirrored, beside):
    mirror = beside.mirror_of(mirrored)
    mirror.pin("other", "on show")
    gone = {mirrored.resolve(name).id: "old" for name in ("org/tuned", "other")}
    for name, alias in (("org/base", "prod"), ("org/tuned", "latest")):
        mirrored.alias_rm(name, alias)
    mirrored.add([beside.model(5)], name="other")
    mirrored.sync("usb")
    assert mirrored.plan_sync("usb", delete=True)[1] == ()
    lost = _retired(mirrored, gone)
    report = mirrored.sync("usb", delete=True, force=True)
    kept = {one: tuple(map(str, why)) for one, why in report.removed.retired.kept.items()}
    assert report.removed.retired.versions == ()
    # the only version of its artifact, which nothing removes by rule
    assert kept == {
        mirror.resolve("org/tuned").id: ("last version of its artifact",),
        mirror.resolve("other:1").id: ("pinned: on show",),
    }
    assert lost


def _retired(store, versions):
    """Retire them here, though they are the last of their artifacts: as if they never had been here"""
    database = store.depot.catalog.retirements._database
    change = sa.update(version).where(version.c.digest.in_(list(versions)))
    database.write(lambda connection: connection.execute(change.values(state="retired")).rowcount)
    return len(versions)


def test_a_carry_that_died_goes_on(mirrored, beside):
    mirrored.add([beside.model(20, 4 * MIB)], name="big")
    whole = mirrored.plan_push("usb").carry

    class Died(BaseException):
        pass

    def die(event):
        if event == Step("carry.land.after"):
            raise Died

    with pytest.raises(Died):
        _watched(mirrored, die).push("usb")
    assert "big" not in {one.artifact for one in beside.mirror_of(mirrored).ls()}
    rest = mirrored.plan_push("usb").carry
    assert 0 < rest.nbytes <= whole.nbytes - MIB
    # a collection in the mirror takes what no version needs yet
    mirror = beside.mirror_of(mirrored)
    collect.run(mirror.depot, timedelta(0), force=True)
    assert mirrored.plan_push("usb").carry.nbytes == whole.nbytes
    assert mirrored.push("usb").carried.nbytes == whole.nbytes
    assert meaning(mirror) == meaning(mirrored)
    assert mirror.verify().damaged == ()


def _watched(store, monitor):
    return Store(dataclasses.replace(store.depot, monitor=monitor))


def test_a_collection_between_landings_breaks_nothing(mirrored, beside):
    mirrored.add([beside.model(20, 4 * MIB)], name="big")
    mirror = beside.mirror_of(mirrored)
    swept = []

    def collects(event):
        if event == Step("carry.land.after") and len(swept) < 2:
            swept.append(collect.run(mirror.depot, timedelta(0), force=True).removed.count)

    _watched(mirrored, collects).push("usb")
    assert swept[0]
    assert meaning(mirror) == meaning(mirrored)
    assert mirror.verify().damaged == ()


@pytest.mark.parametrize("step", ["carry.land.before", "save.commit.before"])
def test_a_lease_that_is_lost_is_taken_anew(mirrored, beside, step):
    mirrored.add([beside.model(20, 4 * MIB)], name="big")
    mirror = beside.mirror_of(mirrored)
    told = []

    def loses(event):
        if isinstance(event, Warn):
            told.append(event.message)
        if event == Step(step) and not told:
            for lease in mirror.depot.catalog.leases.active():
                mirror.depot.catalog.leases.reap(lease.id)

    _watched(mirrored, loses).push("usb")
    assert "try 2 of 3" in told[0]
    assert meaning(mirror) == meaning(mirrored)
    assert mirror.verify().damaged == ()


def test_no_room_is_told_before_any_work(mirrored, beside):
    mirrored.add([beside.model(30)], name="m")
    tight = Store(dataclasses.replace(mirrored.depot, settings=beside.with_settings(reserve=1 << 60)))
    with pytest.raises(Unavailable, match="make room"):
        tight.push("usb")
