"""Retirement: what must stay stays, what goes can come back, each in one record"""

import json
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from artifactstore.catalog.tables import journal, version, version_blob
from artifactstore.core.digest import Digest
from artifactstore.core.errors import LeaseLost, NotFound, Refused
from artifactstore.core.lineage import Link, Relation
from artifactstore.core.names import AliasName
from tests.contract.catalog import begin, bodies, check_chain, drafted, manifest_of, rows, save, set_state


@pytest.fixture
def line(catalog):
    """Four versions of one artifact, the last of them the newest; all share one blob"""
    made = [save(catalog, manifest_of(b"shared", bytes([n]), created=n, step=n)) for n in range(1, 5)]
    return [one.version.id for one in made]


def retire(catalog, *ids):
    return catalog.retirements.retire(dict.fromkeys(ids, "test"))


def states(catalog):
    return [row.state for row in rows(catalog, version)]


def blobs_of(catalog, *ids):
    return {one: [Digest.of(b"shared"), Digest.of(bytes([n]))] for one, n in ids}


def test_what_goes_is_no_longer_found_and_can_be_looked_up(catalog, line):
    done = retire(catalog, line[0], line[1])
    assert (set(done.versions), done.kept) == ({line[0], line[1]}, {})
    assert states(catalog) == ["retired", "retired", "active", "active"]
    with pytest.raises(NotFound):
        catalog.versions.get(line[0])
    first = rows(catalog, version)[0]
    assert (first.retired_why, first.retired_by) == ("test", done.serial)
    action = bodies(catalog)[-1]["actions"][0]
    assert action["do"] == "retire"
    assert {one for one, _ in action["versions"]} == {str(line[0]), str(line[1])}
    check_chain(catalog)


def test_nothing_to_retire_writes_nothing(catalog, line):
    before = catalog.journal.head()
    assert retire(catalog, Digest.of(b"none")).versions == ()
    assert catalog.journal.head() == before


@pytest.mark.parametrize("hold", ["alias", "pin", "lease", "adapter", "merge", "quantize"])
def test_what_must_stay_stays_and_is_told(catalog, line, hold):
    first = line[0]
    match hold:
        case "alias":
            catalog.aliases.set(catalog.versions.get(first).artifact, AliasName("prod"), first)
        case "pin":
            catalog.notes.pin(first, "paper")
        case "lease":
            catalog.leases.hold(begin(catalog, "read"), first)
        case relation:
            save(catalog, manifest_of(b"child", name="org/c", parents=(Link(Relation(relation), "org/m:1", first),)))
    done = retire(catalog, first, line[1])
    assert done.versions == (line[1],)
    [(kept, reasons)] = done.kept.items()
    assert kept == first
    assert {"alias": "alias prod", "pin": "pinned: paper", "lease": "in use: read (process 7 on h/1)"}.get(
        hold,
        f"{ {'adapter': 'base of adapter', 'merge': 'merge source of', 'quantize': 'quantization source of'}.get(hold) } org/c:1",
    ) in reasons


def test_a_resumed_version_does_not_need_its_parent(catalog, line):
    save(catalog, manifest_of(b"child", name="org/c", parents=(Link(Relation.RESUME, "org/m:1", line[0]),)))
    assert retire(catalog, line[0]).versions == (line[0],)


def test_what_a_kept_version_needs_at_any_distance_stays(catalog, line):
    chain = [line[0]]
    for n in range(8):
        parents = (Link(Relation.ADAPTER, "x", chain[-1]),)
        chain.append(save(catalog, manifest_of(b"m%d" % n, name=f"org/a{n}", parents=parents)).version.id)
        save(catalog, manifest_of(b"x%d" % n, name=f"org/a{n}", created=9))
    catalog.notes.pin(chain[-1], "paper")
    done = retire(catalog, *chain[:-1])
    assert (done.versions, set(done.kept)) == ((), set(chain[:-1]))


def test_a_child_that_goes_too_holds_nothing(catalog, line):
    child = save(catalog, manifest_of(b"c", name="org/c", parents=(Link(Relation.ADAPTER, "org/m:1", line[0]),)))
    save(catalog, manifest_of(b"d", name="org/c", created=9))
    assert set(retire(catalog, line[0], child.version.id).versions) == {line[0], child.version.id}


def test_an_expired_pin_and_an_ended_lease_hold_nothing(catalog, line):
    catalog.notes.pin(line[0], "old", datetime(2001, 1, 1, tzinfo=UTC))
    lease = begin(catalog, "read")
    catalog.leases.hold(lease, line[0])
    catalog.leases.reap(lease)
    assert retire(catalog, line[0]).versions == (line[0],)


def test_the_last_of_an_artifact_stays(catalog, line):
    done = retire(catalog, *line)
    assert set(done.versions) == set(line[:3])
    assert done.kept == {line[3]: ("last version of its artifact",)}
    assert retire(catalog, line[3]).kept == {line[3]: ("last version of its artifact",)}


def test_undo_brings_back_what_its_record_retired(catalog, line):
    done = retire(catalog, line[0], line[1])
    catalog.collections.release()
    catalog.collections.condemn()
    assert catalog.retirements.undoable(done.serial) == {line[0]: False, line[1]: False}
    catalog.retirements.restore(done.serial, blobs_of(catalog, (line[0], 1), (line[1], 2)))
    assert states(catalog) == ["active"] * 4
    assert len(rows(catalog, version_blob)) == 8
    assert all(place.state == "live" for place in catalog.blobs.all())
    assert bodies(catalog)[-1]["actions"] == [
        {"do": "undo", "serial": done.serial, "versions": [str(line[0]), str(line[1])]}
    ]
    assert catalog.retirements.undoable(done.serial) == {}
    assert rows(catalog, version)[0].retired_by is None


@pytest.mark.parametrize("state", ["deleting", "damaged"])
def test_undo_refuses_when_bytes_are_gone_and_names_them(catalog, line, state):
    done = retire(catalog, line[0])
    catalog.collections.release()
    set_state(catalog, bytes([1]), state)
    with pytest.raises(Refused, match=Digest.of(bytes([1])).hex()[:12]) as caught:
        catalog.retirements.restore(done.serial, blobs_of(catalog, (line[0], 1)))
    assert caught.value.code == "refused.gone"
    assert states(catalog)[0] == "retired"


def test_a_version_that_came_back_by_itself_is_left_alone(catalog, line):
    done = retire(catalog, line[0], line[1])
    again = save(catalog, manifest_of(b"shared", bytes([1]), created=1, step=1))
    assert (again.version.number, again.existed) == (1, False)
    assert catalog.retirements.undoable(done.serial) == {line[1]: False}


def test_a_record_that_is_not_there(catalog, line):
    with pytest.raises(NotFound, match="no record 99"):
        catalog.retirements.undoable(99)


def test_survey_sees_active_versions_and_all_that_holds_them(catalog, line):
    retire(catalog, line[0])
    catalog.notes.pin(line[1], "paper")
    child = save(catalog, manifest_of(b"c", name="org/c", parents=(Link(Relation.MERGE, "org/m:2", line[1]),)))
    seen = catalog.retirements.survey()
    assert {one.id for one in seen.candidates} == {*line[1:], child.version.id}
    assert seen.held == {line[1]: ("pinned: paper",)}
    assert [(need.child, need.parent, need.child_ref) for need in seen.needs] == [
        (child.version.id, line[1], "org/c:1")
    ]
    assert {one.artifact for one in catalog.retirements.survey("org/c").candidates} == {"org/c"}


def test_a_parent_that_was_retired_meanwhile_is_refused(catalog, line):
    retire(catalog, line[0])
    lease = begin(catalog)
    with pytest.raises(Refused, match="was retired"):
        catalog.leases.hold_parents(lease, [line[0]])
    catalog.leases.hold_parents(lease, [line[1], Digest.of(b"elsewhere")])
    assert retire(catalog, line[1]).versions == ()
    catalog.leases.reap(lease)
    with pytest.raises(LeaseLost):
        catalog.leases.hold_parents(lease, [line[1]])


def test_a_version_saved_again_needs_what_it_was_built_on(catalog, line):
    draft = manifest_of(b"c", name="org/c", parents=(Link(Relation.ADAPTER, "hf://org/m", None),))
    child = save(catalog, draft).version.id
    save(catalog, manifest_of(b"d", name="org/c"))
    save(catalog, manifest_of(bytes([5]), created=5))
    serial = retire(catalog, child, line[3]).serial
    with pytest.raises(Refused, match=rf"needs org/m:4.*undo {serial}$"):
        save(catalog, draft)
    set_swept = sa.update(version).where(version.c.digest == line[3]).values(swept_at=1)
    catalog.database.write(lambda connection: connection.execute(set_swept))
    assert save(catalog, draft).version.id == child


def test_a_parent_that_came_and_went_while_its_child_was_written_is_refused(catalog, line):
    above = manifest_of(b"above", created=9)
    lease = begin(catalog)
    catalog.leases.hold_parents(lease, [above.id])
    parents = (Link(Relation.MERGE, "above", above.id),)
    draft = drafted(catalog, lease, manifest_of(b"c", name="org/c", parents=parents))
    save(catalog, above)
    save(catalog, manifest_of(b"newer", created=10))
    assert retire(catalog, above.id).versions == (above.id,)
    with pytest.raises(Refused, match="needs org/m:5"):
        catalog.saves.commit(draft)


def test_the_reason_stands_in_the_record(catalog, line):
    catalog.retirements.retire({line[0]: "older than 30d (47d), no rule keeps it"})
    body = catalog.database.rows(sa.select(journal.c.body).order_by(journal.c.serial.desc()))[0].body
    assert json.loads(body)["actions"][0]["versions"] == [[str(line[0]), "older than 30d (47d), no rule keeps it"]]
