"""Dump: the same meaning gives the same lines, another gives others, whatever rows and moments are behind"""

import json
import tracemalloc

import pytest
import sqlalchemy as sa

from artifactstore.catalog.base import Written
from artifactstore.catalog.dump import dump
from artifactstore.catalog.tables import alias_history, artifact, blob, journal, policy, store, version, version_blob
from artifactstore.core.digest import Digest
from artifactstore.core.lineage import Link, Relation
from artifactstore.core.names import AliasName, ArtifactName
from tests.contract.catalog import LATEST, again, begin, manifest_of, save, set_state

ONE = manifest_of(b"1", b"2", phase="p", metadata={"ü": [1.5, None]})
TWO = manifest_of(b"2", b"3", created=2, dtype="U8", parents=(Link(Relation.RESUME, "one", ONE.id, 0.25),))


def lines(catalog):
    return list(dump(catalog.database))


def told(catalog, kind):
    return [line for line in map(json.loads, lines(catalog)) if line["kind"] == kind]


@pytest.fixture
def filled(catalog):
    save(catalog, ONE, aliases=(LATEST,), metrics={"loss": 0.5, "odd": float("nan")})
    save(catalog, TWO, aliases=(LATEST,))
    catalog.notes.pin(ONE.id, "kept")
    catalog.policies.set("org/*", "--keep-last 3")
    return catalog


def test_everything_is_told_once_and_in_order(filled):
    kinds = [json.loads(line)["kind"] for line in lines(filled)]
    assert kinds == [
        "store",
        "artifact",
        *["version"] * 2,
        *["file"] * 2,
        "tensors",
        *["metric"] * 2,
        "pin",
        "link",
        *["needs"] * 4,
        *["blob"] * 3,
        *["manifest"] * 2,
        "alias",
        *["alias_history"] * 2,
        "policy",
        "journal",
    ]
    assert [line["number"] for line in told(filled, "version")] == [1, 2]
    [link] = told(filled, "link")
    assert (link["child"], link["parent"], link["weight"], link["evidence"]) == (
        str(TWO.id),
        str(ONE.id),
        0.25,
        "tensors",
    )
    assert {line["name"]: line["value"] for line in told(filled, "metric")} == {"loss": 0.5, "odd": None}
    assert told(filled, "journal")[0]["serial"] == 4
    for kind in ("needs", "blob", "manifest", "file"):
        assert lines(filled) == lines(filled)
        found = [json.dumps(line, sort_keys=True) for line in told(filled, kind)]
        assert len(set(found)) == len(found)


def test_an_empty_catalog(catalog):
    assert [json.loads(line) for line in lines(catalog)] == [
        {"kind": "store", "store": "store"},
        {"kind": "journal", "serial": 0, "txid": None},
    ]


def test_no_line_holds_a_row_number(filled):
    for line in map(json.loads, lines(filled)):
        assert not {"artifact_id", "version_id", "child_id", "parent_id", "blob_id"} & line.keys()
        assert not isinstance(line.get("id"), int)


def change(catalog, statement):
    catalog.database.write(lambda connection: connection.execute(statement))


def test_what_only_one_catalog_knows_is_left_out(filled):
    before = lines(filled)
    begin(filled)
    filled.versions.loaded(ONE.id, 7)
    filled.blobs.checked([Digest.of(b"1")], 7)
    set_state(filled, b"1", "condemned")
    change(filled, sa.update(journal).values(exported=True))
    assert lines(filled) == before


def test_what_is_being_deleted_counts_as_gone(filled):
    before = lines(filled)
    place = filled.blobs.places([Digest.of(b"1")])[Digest.of(b"1")]
    lease = begin(filled)
    [grant] = filled.leases.pin(lease, [(Digest.of(b"9"), "9" * 16)])
    set_state(filled, b"1", "damaged")
    written = Written(grant, 1, f"blobs/xx/{grant.digest}.{grant.inc}")
    filled.saves.heal(lease, "f" * 32, [written])
    assert len(told(filled, "blob")) == 4
    set_state(filled, b"9", "deleting")
    change(filled, sa.update(blob).where(blob.c.digest == place.digest).values(state="live"))
    assert [line for line in lines(filled) if '"journal"' not in line] == [
        line for line in before if '"journal"' not in line
    ]


def test_what_a_retired_version_still_holds_counts_as_let_go(filled):
    filled.aliases.remove(ArtifactName("org/m"), LATEST)
    filled.notes.unpin(ONE.id)
    assert filled.retirements.retire({ONE.id: "old"}).versions == (ONE.id,)
    before = lines(filled)
    assert len(told(filled, "needs")) == 2
    assert filled.collections.release() == 2
    assert lines(filled) == before


def test_the_last_record_that_changed_something_is_told(filled):
    head = told(filled, "journal")
    body = {"actions": [{"do": "rebuilt", "from": "x", "serial": 4, "txid": None}]}
    row = {
        "serial": 5,
        "txid": "e" * 32,
        "previous": None,
        "at": 1,
        "body": json.dumps(body).encode(),
        "exported": True,
    }
    change(filled, sa.insert(journal).values(row))
    change(filled, sa.update(store).values(head_serial=5, head_txid="e" * 32))
    assert told(filled, "journal") == head
    filled.aliases.set(ArtifactName("org/m"), AliasName("x"), ONE.id)
    assert told(filled, "journal") != head


@pytest.mark.parametrize(
    "statement",
    [
        sa.update(version).where(version.c.number == 1).values(step=1),
        sa.update(version).where(version.c.number == 1).values(retired_why="x"),
        sa.update(blob).values(inc="f" * 16),
        sa.delete(version_blob),
        sa.update(alias_history).values(at=3),
        sa.update(policy).values(rules="x"),
        sa.insert(artifact).values(name="org/z"),
    ],
    ids=str,
)
def test_another_meaning_gives_other_lines(filled, statement):
    before = lines(filled)
    change(filled, statement)
    assert lines(filled) != before


def test_names_come_in_one_order_on_every_database(catalog):
    names = ["org/B", "org/a", "org/b_a", "org/A", "z", "org/a-b", "org/a.b"]
    for number, name in enumerate(names):
        save(catalog, manifest_of(b"%d" % number, name=name))
    assert [line["name"] for line in told(catalog, "artifact")] == sorted(names)


def test_both_databases_tell_the_same(sqlite_catalog, postgres_catalog):
    found = []
    for catalog in (sqlite_catalog, postgres_catalog):
        save(catalog, ONE, aliases=(LATEST,), metrics={"loss": 0.1, "big": 1e300})
        save(catalog, TWO)
        left_out = {"inc", "at", "txid"}
        found.append([{k: v for k, v in json.loads(line).items() if k not in left_out} for line in lines(catalog)])
    assert found[0] == found[1]


def test_it_is_of_one_moment(filled):
    other = again(filled)
    telling = dump(filled.database)
    first = next(telling)
    save(other, manifest_of(b"later", name="later"))
    assert "later" not in "".join([first, *telling])
    assert "later" in "".join(lines(filled))
    other.close()


def test_memory_does_not_grow_with_the_catalog(sqlite_catalog):
    contents = [b"%d" % number for number in range(4000)]
    save(sqlite_catalog, manifest_of(*contents[:40]))
    for number in range(3):
        save(sqlite_catalog, manifest_of(*contents, created=number + 2))

    def peak():
        tracemalloc.start()
        count = sum(1 for _ in dump(sqlite_catalog.database))
        _, top = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return count, top

    peak()
    count, top = peak()
    for number in range(6):
        save(sqlite_catalog, manifest_of(*contents, created=number + 20))
    more, higher = peak()
    assert more > count + 20_000
    assert higher < top * 1.5
