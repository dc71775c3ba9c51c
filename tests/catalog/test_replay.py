"""Replay: what each action of a record does to the rows, and what does not fit is refused"""

import dataclasses
import json

import pytest
import rfc8785

from artifactstore.catalog.dump import dump
from artifactstore.catalog.replay import UNKNOWN, Shelf, measure, release, replay, unmeasured
from artifactstore.catalog.tables import (
    alias,
    alias_history,
    blob,
    journal,
    lease_pin,
    link,
    manifest,
    policy,
    version,
    version_blob,
)
from artifactstore.core.digest import Digest
from artifactstore.core.errors import Conflict, Corrupt, Invalid
from artifactstore.core.lineage import Link, Relation
from artifactstore.core.record import Record
from tests.contract.catalog import begin, inc, manifest_of, rows

ONE, TWO = manifest_of(b"1", b"2"), manifest_of(b"2", b"3", created=2, dtype="U8")
A, B, C = (f"{n:016x}" for n in (10, 11, 12))


def record(serial, *actions):
    document = {
        "format": 1,
        "catalog": "catalog",
        "serial": serial,
        "txid": f"{serial:032x}",
        "previous": f"{serial - 1:032x}" if serial > 1 else None,
        "at": serial * 100,
        "actions": list(actions),
    }
    return Record.parse(rfc8785.dumps(document))


def shelf(*manifests, memories=()):
    return Shelf(
        {one.id: one for one in manifests},
        {Digest.parse(one["id"]): one for one in memories},
        lambda digest, inc: f"blobs/{digest}.{inc}",
        lambda digest, inc: f"manifests/{digest}.{inc}.json",
    )


def committed(document, number=1, mark=A, **changes):
    objects = [[str(info.digest), mark, "set"] for info in document.blobs]
    action = {"do": "version", "id": str(document.id), "artifact": "org/m", "number": number, "taken": 5}
    return action | {"manifest": mark, "blobs": objects} | changes


def memory(document, **changes):
    facts = {
        "created": 7,
        "phase": "p",
        "step": 3,
        "epoch": 0.5,
        "request_id": "r",
        "license": "MIT",
        "nbytes": 2,
        "file_count": 1,
        "tensor_count": 0,
        "formats": "raw",
        "dtypes": "",
    }
    return {"do": "forget", "id": str(document.id), "parents": [], **facts} | changes


class Follower:
    """Replays one record after the other"""

    def __init__(self, catalog):
        self.catalog = catalog

    def __call__(self, *actions, known=(ONE, TWO), memories=()):
        serial = self.catalog.journal.head()[0] + 1
        on = shelf(*known, memories=memories)
        self.catalog.database.write(lambda connection: replay(connection, [record(serial, *actions)], on))

    def states(self, table=blob):
        return {row.digest: (row.inc, row.state) for row in rows(self.catalog, table)}


@pytest.fixture
def follow(catalog):
    return Follower(catalog)


def test_the_record_becomes_the_journals_and_the_head(catalog, follow):
    follow(committed(ONE))
    follow({"do": "rebuilt", "from": "x", "serial": 1, "txid": None})
    assert catalog.journal.head() == (2, f"{2:032x}")
    assert catalog.journal.pending() == []
    assert [row.at for row in rows(catalog, journal)] == [100, 200]
    assert json.loads(rows(catalog, journal)[0].body)["actions"] == [committed(ONE)]
    catalog.database.write(lambda connection: replay(connection, [], shelf()))
    assert catalog.journal.head()[0] == 2


def test_a_version_with_its_objects(catalog, follow):
    follow(committed(ONE))
    info = catalog.versions.get(ONE.id)
    assert (info.ref, info.taken, info.nbytes, info.files) == ("org/m:1", 5, 2, 1)
    assert follow.states() == {each.digest: (A, "live") for each in ONE.blobs}
    [place] = catalog.blobs.manifests()
    assert (place.size, place.stored, place.key) == (len(ONE.raw), len(ONE.raw), f"manifests/{ONE.id}.{A}.json")
    assert len(rows(catalog, version_blob)) == 2


def test_of_several_incarnations_the_last_that_was_set_or_adopted_counts(catalog, follow):
    follow(committed(ONE))
    follow(committed(TWO, 2, B, blobs=[[str(Digest.of(b"2")), A, "adopted"], [str(Digest.of(b"3")), B, "set"]]))
    assert [mark for mark, _ in follow.states().values()] == [A, A, B]
    follow({"do": "heal", "blobs": [[str(Digest.of(b"2")), C, "set"]], "manifests": [[str(ONE.id), C, "set"]]})
    assert follow.states()[Digest.of(b"2")] == (C, "live")
    assert follow.states(manifest) == {ONE.id: (C, "live"), TWO.id: (B, "live")}
    assert {row.size for row in rows(catalog, blob)} == {1}


def test_what_is_damaged_is_that_incarnation_only(catalog, follow):
    follow(committed(ONE))
    follow({"do": "damaged", "blobs": [[str(Digest.of(b"1")), A], [str(Digest.of(b"2")), B]]})
    follow({"do": "damaged", "manifests": [[str(ONE.id), A]]})
    assert follow.states() == {Digest.of(b"1"): (A, "damaged"), Digest.of(b"2"): (A, "live")}
    assert follow.states(manifest) == {ONE.id: (A, "damaged")}
    follow({"do": "heal", "blobs": [[str(Digest.of(b"1")), B, "set"]], "manifests": []})
    assert follow.states()[Digest.of(b"1")] == (B, "live")


def retired(follow):
    follow(committed(ONE))
    follow({"do": "retire", "versions": [[str(ONE.id), "old"]]})


def test_a_retirement_and_its_undo(catalog, follow):
    retired(follow)
    [row] = rows(catalog, version)
    assert (row.state, row.retired_at, row.retired_by, row.retired_why) == ("retired", 200, 2, "old")
    follow({"do": "undo", "serial": 2, "versions": [str(ONE.id)]}, known=())
    [row] = rows(catalog, version)
    assert (row.state, row.retired_at, row.retired_by, row.retired_why) == ("active", None, None, None)
    assert len(rows(catalog, version_blob)) == 2


def test_an_undo_takes_again_what_a_collection_let_go(catalog, follow):
    retired(follow)
    catalog.database.write(release)
    assert rows(catalog, version_blob) == []
    follow({"do": "undo", "serial": 2, "versions": [str(ONE.id)]})
    assert len(rows(catalog, version_blob)) == 2


def test_only_retired_versions_let_go(catalog, follow):
    retired(follow)
    follow(committed(TWO, 2, B))
    catalog.database.write(release)
    assert len(rows(catalog, version_blob)) == 2


def test_an_intent_takes_that_incarnation(catalog, follow):
    retired(follow)
    follow({"do": "intent", "blobs": [[str(Digest.of(b"1")), A], [str(Digest.of(b"2")), B]]})
    assert follow.states() == {Digest.of(b"2"): (A, "live")}
    follow(memory(ONE), {"do": "intent", "manifests": [[str(ONE.id), A]]})
    assert follow.states(manifest) == {}
    [row] = rows(catalog, version)
    assert (row.state, row.swept_at, row.metadata) == ("retired", 400, "{}")
    assert catalog.versions.list() == []


def test_what_a_version_needs_is_not_forgotten_by_an_intent(follow):
    follow(committed(ONE))
    follow({"do": "intent", "blobs": [[str(Digest.of(b"1")), A]], "manifests": [[str(ONE.id), A]]})
    assert follow.states() == {Digest.of(b"1"): (A, "damaged"), Digest.of(b"2"): (A, "live")}
    assert follow.states(manifest) == {ONE.id: (A, "damaged")}


def test_a_version_whose_manifest_is_gone_is_remembered(catalog, follow):
    parent = Link(Relation.FINETUNE, "hf://org/p", params={"x": 1}).to_json()
    said = memory(ONE, parents=[parent])
    follow(committed(ONE), known=(), memories=[said])
    follow({"do": "retire", "versions": [[str(ONE.id), "old"]]})
    follow(said, {"do": "intent", "manifests": [[str(ONE.id), A]]})
    [row] = rows(catalog, version)
    assert (row.created, row.phase, row.step, row.epoch, row.request_id, row.license) == (7, "p", 3, 0.5, "r", "MIT")
    assert (row.nbytes, row.file_count, row.formats, row.state, row.swept_at) == (2, 1, "raw", "retired", 300)
    [bound] = rows(catalog, link)
    assert (bound.ref, bound.name, bound.params) == ("hf://org/p", "org/p", '{"x":1}')


def test_a_version_that_came_back_is_described_again(catalog, follow):
    said = memory(ONE)
    follow(committed(ONE), known=(), memories=[said])
    follow({"do": "retire", "versions": [[str(ONE.id), "old"]]})
    follow(said, {"do": "intent", "manifests": [[str(ONE.id), A]]})
    follow(committed(ONE, mark=B))
    assert catalog.versions.get(ONE.id).created == ONE.created
    assert len(catalog.versions.files(ONE.id)) == 1


def test_a_version_that_came_back_with_a_lost_manifest(catalog, follow):
    retired(follow)
    follow(committed(ONE, mark=B), known=())
    assert catalog.versions.get(ONE.id).number == 1


def test_a_lost_manifest_that_is_healed_describes_its_version(catalog, follow):
    follow(committed(TWO, 1, B), known=())
    assert (catalog.versions.get(TWO.id).files, catalog.versions.files(TWO.id)) == (0, [])
    heal = {"do": "heal", "blobs": [], "manifests": [[str(TWO.id), C, "set"]]}
    for _ in range(2):
        follow(heal)
        info = catalog.versions.get(TWO.id)
        assert (info.files, info.nbytes, info.dtypes, info.created) == (1, 2, ("U8",), 2)
        assert len(catalog.versions.files(TWO.id)) == 1
    follow({"do": "heal", "blobs": [], "manifests": [[GONE, C, "set"]]})


def test_sizes_that_no_manifest_tells_are_asked_for(catalog, follow):
    follow(committed(ONE), committed(TWO, 2, B), known=(TWO,))
    found = catalog.database.read(unmeasured)
    assert [(what, place.digest, place.size) for what, place in found] == [
        ("blobs", Digest.of(b"1"), UNKNOWN),
        ("manifests", ONE.id, UNKNOWN),
    ]
    catalog.replays.measure(lambda key: None if key.startswith("blobs") else 9)
    assert catalog.database.read(unmeasured) == []
    assert follow.states()[Digest.of(b"1")] == (A, "damaged")
    assert follow.states(manifest) == {ONE.id: (A, "damaged"), TWO.id: (B, "live")}
    assert {row.digest: row.size for row in rows(catalog, manifest)} == {ONE.id: 9, TWO.id: len(TWO.raw)}


def test_a_blob_of_unknown_size_that_is_here_is_well(catalog, follow):
    follow(committed(ONE), known=())
    found = catalog.database.read(unmeasured)
    catalog.database.write(lambda connection: measure(connection, [(what, place, 1) for what, place in found]))
    assert {state for _, state in follow.states().values()} == {"live"}


def test_aliases_move_and_go(catalog, follow):
    follow(committed(ONE), committed(TWO, 2, B))
    action = {"do": "alias", "artifact": "org/m", "alias": "prod"}
    for generation, one in enumerate((str(ONE.id), str(TWO.id), None, str(ONE.id)), 1):
        follow(action | {"version": one, "generation": generation})
        assert [row.generation for row in rows(catalog, alias)] == ([generation] if one else [])
    moves = rows(catalog, alias_history)
    assert [(row.generation, row.at, row.version_id is None) for row in moves] == [
        (1, 200, False),
        (2, 300, False),
        (3, 400, True),
        (4, 500, False),
    ]


def test_links_metrics_pins_and_policies(catalog, follow):
    child = manifest_of(b"9", parents=(Link(Relation.FINETUNE, "hf://org/m"),))
    follow(committed(ONE), committed(child, 2, B), known=(ONE, child))
    bound = {"do": "link", "child": str(child.id), "position": 0, "parent": str(ONE.id), "evidence": None}
    follow(bound, {"do": "metric", "id": str(ONE.id), "metrics": {"a": 1, "b": "nan", "c": "-inf"}})
    [found] = catalog.versions.parents(child.id)
    assert (found.parent, found.declared) == (ONE.id, True)
    metrics = catalog.versions.get(ONE.id).metrics
    assert (metrics["a"], metrics["b"] != metrics["b"], metrics["c"]) == (1.0, True, float("-inf"))
    follow(*({"do": "pin", "id": str(ONE.id), "why": why, "until": until} for why, until in (("x", None), ("y", 7))))
    assert [(pin.why, pin.at) for pin in catalog.notes.pins()] == [("x", 300), ("y", 300)]
    follow({"do": "unpin", "id": str(ONE.id), "why": "x"})
    assert [pin.why for pin in catalog.notes.pins()] == ["y"]
    follow({"do": "unpin", "id": str(ONE.id), "why": None})
    assert catalog.notes.pins() == []
    for rules in ("--keep-last 3", "--keep-last 4"):
        follow({"do": "policy", "pattern": "org/*", "rules": rules})
    assert [(row.pattern, row.rules) for row in rows(catalog, policy)] == [("org/*", "--keep-last 4")]
    follow({"do": "policy", "pattern": "org/*", "rules": None})
    assert rows(catalog, policy) == []


def test_an_action_of_a_later_release_is_refused(catalog, follow):
    with pytest.raises(Invalid, match=r"Record 1 .*'shine'.*release") as caught:
        follow(committed(ONE), {"do": "shine"})
    assert caught.value.facts == {"serial": 1, "action": "shine"}
    assert rows(catalog, journal) == rows(catalog, version) == []


GONE = str(Digest.of(b"nobody"))


@pytest.mark.parametrize(
    "action",
    [
        {"do": "version"},
        committed(ONE) | {"id": "x"},
        committed(ONE, artifact="../m"),
        committed(ONE, artifact="org/n"),
        committed(ONE, blobs=[]),
        committed(ONE, blobs=[[GONE, A, "set"]]),
        committed(ONE, blobs=[["x", A, "set"]]),
        committed(ONE, blobs=[[GONE, "x", "set"]]),
        committed(ONE, blobs=3),
        committed(ONE, number="x"),
        committed(ONE, number=1),
        committed(ONE, number=None),
        committed(ONE, manifest="../x"),
        {"do": "retire", "versions": [[GONE, "why"]]},
        {"do": "retire", "versions": [3]},
        {"do": "undo", "serial": 1, "versions": [GONE]},
        {"do": "forget", "id": GONE},
        {"do": "damaged", "blobs": ["x"]},
        {"do": "intent", "manifests": [[GONE, "x"]]},
        {"do": "heal", "blobs": [], "manifests": [[3, A, "set"]]},
        {"do": "link", "child": GONE, "position": 0, "parent": GONE, "evidence": None},
        {"do": "alias", "artifact": "org/m", "alias": "prod", "version": GONE, "generation": 1},
        {"do": "alias", "artifact": "org/m", "alias": "prod", "version": None, "generation": 3},
        {"do": "metric", "id": str(TWO.id), "metrics": {"a": "much"}},
        {"do": "metric", "id": str(TWO.id), "metrics": []},
        {"do": "pin", "id": str(TWO.id)},
        {"do": "policy", "pattern": "x"},
    ],
    ids=repr,
)
def test_what_does_not_fit_is_refused_naming_the_record(catalog, follow, action):
    moved = {"do": "alias", "artifact": "org/m", "alias": "prod", "version": str(TWO.id), "generation": 3}
    follow(committed(TWO, 1, B), moved)
    with pytest.raises(Corrupt, match=r"Record 2 .*cannot be replayed") as caught:
        follow(action)
    assert caught.value.facts == {"serial": 2, "txid": f"{2:032x}"}
    assert catalog.journal.head()[0] == 1


def test_a_forward_replay_ends_leases_and_takes_only_what_follows(catalog):
    lease = begin(catalog)
    catalog.leases.pin(lease, [(Digest.of(b"1"), inc())])
    one, two = record(1, committed(ONE)), record(2, committed(TWO, 2, B))
    assert catalog.replays.forward([one], shelf(ONE)) == 1
    assert catalog.leases.active() == rows(catalog, lease_pin) == []
    assert catalog.replays.forward([one], shelf(ONE)) == 0
    assert catalog.replays.forward([one, two], shelf(ONE, TWO)) == 1
    for bad in (record(4), dataclasses.replace(record(3), previous="f" * 32)):
        with pytest.raises(Conflict, match="does not follow record 2") as caught:
            catalog.replays.forward([bad], shelf())
        assert caught.value.code == "conflict.catalog-parted"
    assert catalog.replays.manifests([ONE.id, TWO.id, Digest.of(b"x")]) == {
        one.id: f"manifests/{one.id}.{mark}.json" for one, mark in ((ONE, A), (TWO, B))
    }


def test_the_rows_are_those_the_records_were_made_of(catalog, follow):
    follow(committed(ONE))
    follow(committed(TWO, 2, B))
    told = [json.loads(line) for line in dump(catalog.database)]
    assert {line["kind"] for line in told} == {
        *("store", "artifact", "version", "file", "tensors", "needs", "blob", "manifest", "journal")
    }
