"""Collection: each step touches what nothing needs, and nothing else"""

import secrets

import pytest
import sqlalchemy as sa

from artifactstore.catalog.tables import blob, file, manifest, version, version_blob
from artifactstore.core.digest import Digest
from artifactstore.core.lineage import Link, Relation
from tests.contract.catalog import begin, bodies, inc, manifest_of, rows, save, set_state

DAY = 86_400_000_000


@pytest.fixture
def gone(catalog):
    """One of two versions is retired; `shared` is the other's too"""
    old = save(catalog, manifest_of(b"old", b"shared", created=1))
    save(catalog, manifest_of(b"new", b"shared", created=2))
    catalog.retirements.retire({old.version.id: "test"})
    return old.version.id


def state(catalog, content, table=blob):
    digest = content if isinstance(content, Digest) else Digest.of(content)
    found = catalog.database.rows(sa.select(table.c.state).where(table.c.digest == digest))
    return found[0].state if found else None


def release_all(catalog):
    while catalog.collections.release():
        pass


def sweep(catalog, grace=0):
    lease = begin(catalog, "collect")
    doomed = []
    while found := catalog.collections.doom(lease, grace):
        doomed += found
        catalog.collections.drop(found)
    return doomed


def test_what_only_a_retired_version_held_goes_in_the_end(catalog, gone):
    release_all(catalog)
    tally = catalog.collections.condemn()
    assert (tally.count, tally.nbytes) == (1, 3)
    assert (state(catalog, b"old"), state(catalog, b"shared"), state(catalog, b"new")) == ("condemned", "live", "live")
    assert state(catalog, gone, manifest) == "condemned"
    doomed = sweep(catalog)
    assert {one.kind for one in doomed} == {"blob", "manifest"}
    assert (state(catalog, b"old"), state(catalog, gone, manifest)) == (None, None)
    assert rows(catalog, version)[0].swept_at is not None
    assert rows(catalog, file, file.c.version_id == 1) == []
    actions = [action for body in bodies(catalog) for action in body["actions"]]
    assert [action["do"] for action in actions][-3:] == ["forget", "intent", "intent"]
    forgotten = actions[-3]
    assert (forgotten["id"], forgotten["nbytes"], forgotten["parents"]) == (str(gone), 9, [])


def test_before_the_release_nothing_is_condemned_but_the_manifest(catalog, gone):
    assert catalog.collections.condemn().count == 0
    assert state(catalog, gone, manifest) == "condemned"


def test_release_leaves_active_versions_alone(catalog, gone):
    release_all(catalog)
    assert {row.version_id for row in rows(catalog, version_blob)} == {2}


def test_what_is_not_due_stays(catalog, gone):
    release_all(catalog)
    catalog.collections.condemn()
    assert sweep(catalog, DAY) == []
    assert catalog.collections.due(DAY).count == 0
    assert catalog.collections.due(0).count == 1
    waiting, since = catalog.collections.waiting()
    assert (waiting.count, waiting.nbytes) == (1, 3)
    assert since is not None


def test_what_a_clock_condemned_that_ran_ahead_waits_from_now_on(catalog, gone):
    release_all(catalog)
    catalog.collections.condemn()
    ahead = catalog.now() + 400 * DAY
    for table in (blob, manifest):
        year = sa.update(table).where(table.c.state == "condemned").values(condemned_at=ahead)
        catalog.database.write(lambda connection, year=year: connection.execute(year))
    assert sweep(catalog) == []
    assert catalog.collections.condemn().count == 1
    assert catalog.collections.due(DAY).count == 0
    assert len(sweep(catalog)) == 2


def test_a_pin_of_an_active_lease_saves_from_every_step(catalog, gone):
    release_all(catalog)
    lease = begin(catalog)
    catalog.leases.pin(lease, [(Digest.of(b"old"), inc())])
    assert catalog.collections.condemn().count == 0
    catalog.leases.reap(lease)
    catalog.collections.condemn()
    other = begin(catalog)
    catalog.leases.pin(other, [(Digest.of(b"old"), inc())])
    assert [one.kind for one in sweep(catalog)] == ["manifest"]
    catalog.leases.reap(other)
    assert [one.kind for one in sweep(catalog)] == ["blob"]


@pytest.mark.parametrize("state_of_delta", ["live", "condemned", "deleting", "damaged"])
def test_the_base_of_a_delta_in_any_state_stays(catalog, gone, state_of_delta):
    release_all(catalog)
    save(catalog, manifest_of(b"delta", name="org/d"))
    based = sa.update(blob).where(blob.c.digest == Digest.of(b"delta"))
    catalog.database.write(lambda connection: connection.execute(based.values(base=Digest.of(b"old"))))
    set_state(catalog, b"delta", state_of_delta)
    catalog.collections.condemn()
    assert state(catalog, b"old") == "live"


def test_saving_the_same_again_takes_the_condemned_back(catalog, gone):
    release_all(catalog)
    catalog.collections.condemn()
    again = save(catalog, manifest_of(b"old", b"shared", created=1))
    assert again.version.number == 1
    assert (state(catalog, b"old"), state(catalog, gone, manifest)) == ("live", "live")
    assert sweep(catalog) == []


def test_a_swept_version_comes_back_whole_under_its_number(catalog, gone):
    before = catalog.database.rows(sa.select(version).where(version.c.digest == gone))[0]._asdict()
    release_all(catalog)
    catalog.collections.condemn()
    sweep(catalog)
    again = save(catalog, manifest_of(b"old", b"shared", created=1))
    assert (again.version.number, again.version.files) == (1, 1)
    [found] = catalog.versions.files(gone)
    assert found.size == 9
    after = catalog.database.rows(sa.select(version).where(version.c.digest == gone))[0]._asdict()
    retired = ("retired_at", "retired_by", "retired_why")
    assert after == before | {"state": "active"} | dict.fromkeys(retired)


def test_a_dead_collectors_work_is_taken_over_and_a_living_ones_is_not(catalog, gone):
    release_all(catalog)
    catalog.collections.condemn()
    dead, heir = begin(catalog, "collect"), begin(catalog, "collect")
    doomed = catalog.collections.doom(dead, 0)
    assert catalog.collections.resume(heir) == []
    catalog.leases.reap(dead)
    assert catalog.collections.resume(heir) == doomed
    assert catalog.collections.resume(heir) == []
    catalog.collections.drop(doomed)
    assert state(catalog, gone, manifest) is None


def test_dropping_hits_the_exact_incarnation_only(catalog, gone):
    release_all(catalog)
    catalog.collections.condemn()
    lease = begin(catalog, "collect")
    doomed = [*catalog.collections.doom(lease, 0), *catalog.collections.doom(lease, 0)]
    save(catalog, manifest_of(b"old", name="org/other"))
    catalog.collections.drop(doomed)
    assert state(catalog, b"old") == "live"


def test_two_collectors_never_get_the_same(catalog):
    for n in range(3):
        save(catalog, manifest_of(bytes([n]), created=n))
    catalog.retirements.retire({row.digest: "test" for row in rows(catalog, version)[:2]})
    release_all(catalog)
    catalog.collections.condemn()
    one, other = begin(catalog, "collect"), begin(catalog, "collect")
    first, second = catalog.collections.doom(one, 0), catalog.collections.doom(other, 0)
    assert not set(first) & set(second)
    assert {each.kind for each in (*first, *second)} == {"manifest", "blob"}


def test_orphans_are_names_without_row_and_pin(catalog):
    save(catalog, manifest_of(b"1"))
    [row] = rows(catalog, blob)
    lease = begin(catalog)
    [grant] = catalog.leases.pin(lease, [(Digest.of(b"2"), inc())])
    known, pinned = ("blob", Digest(row.digest), row.inc), ("blob", grant.digest, grant.inc)
    stale = ("blob", Digest(row.digest), secrets.token_hex(8))
    unknown = ("manifest", Digest.of(b"3"), secrets.token_hex(8))
    names = [known, pinned, stale, unknown]
    assert catalog.collections.orphans(names) == {stale, unknown}
    catalog.leases.reap(lease)
    assert catalog.collections.orphans(names) == {stale, unknown, pinned}
    assert catalog.collections.orphans([]) == set()


def test_damaged_objects_nothing_needs_are_let_go(catalog, gone):
    release_all(catalog)
    set_state(catalog, b"old", "damaged")
    set_state(catalog, b"new", "damaged")
    unneeded = catalog.collections.unneeded()
    assert [one.digest for one in unneeded] == [Digest.of(b"old")]
    lease = begin(catalog, "collect")
    catalog.collections.give_up(lease, unneeded)
    assert (state(catalog, b"old"), state(catalog, b"new")) == ("deleting", "damaged")
    catalog.collections.drop(unneeded)
    assert state(catalog, b"old") is None


def test_links_of_a_swept_version_are_remembered(catalog):
    base = save(catalog, manifest_of(b"base", name="org/base"))
    parents = (
        Link(Relation.MERGE, "org/base:1", base.version.id, 0.5, {"method": "ties"}),
        Link(Relation.MERGE, "hf://org/far"),
    )
    child = save(catalog, manifest_of(b"child", name="org/c", parents=parents, created=1))
    save(catalog, manifest_of(b"later", name="org/c", created=2))
    catalog.retirements.retire({child.version.id: "test"})
    release_all(catalog)
    catalog.collections.condemn()
    sweep(catalog)
    [forgotten] = [a for body in bodies(catalog) for a in body["actions"] if a["do"] == "forget"]
    assert forgotten["parents"] == [link.to_json() for link in parents]
    assert catalog.retirements.retire({base.version.id: "test"}).kept == {
        base.version.id: ("last version of its artifact",)
    }
