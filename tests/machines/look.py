"""What a catalog tells and what lies in its store, as it is"""

import json
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection

from artifactstore.blobs.layout import BLOBS, MANIFESTS, TMP, TRASH
from artifactstore.core.digest import Digest
from artifactstore.depot import Depot
from artifactstore.ops.transfer.fetch import fetch_file, load_manifest

_PRESENT = ("live", "condemned")


class Row(NamedTuple):
    """The row of a physical object"""

    kind: str
    digest: Digest
    state: str
    inc: str
    key: str
    size: int
    condemned_at: int | None


@dataclass(frozen=True)
class Look:
    """A catalog at one moment. told: as `Model.visible` says it; needs: the blobs that active versions hold rows of"""

    told: dict[str, Any]
    objects: list[Row]
    needs: dict[Digest, set[Digest]]
    retired_by: dict[Digest, int]


def look(depot: Depot) -> Look:
    # statements as text: told so often, they cost a tenth of composed ones
    return depot.catalog.database.read(_look)


def _look(connection: Connection) -> Look:
    def rows(statement: str) -> list[Any]:
        return connection.exec_driver_sql(statement).all()

    versions = rows(
        "SELECT v.id, v.digest, a.name, v.number, v.state, v.swept_at, v.retired_by FROM version v"
        " JOIN artifact a ON a.id = v.artifact_id ORDER BY v.id"
    )
    ids = {row.id: Digest(bytes(row.digest)) for row in versions}
    told: dict[str, dict] = {
        "versions": {ids[v.id]: (f"{v.name}:{v.number}", v.state, v.swept_at is not None) for v in versions},
        "aliases": {
            (artifact, name): (ids[at], generation)
            for artifact, name, at, generation in rows(
                "SELECT a.name, alias.name, version_id, generation FROM alias JOIN artifact a ON a.id = artifact_id"
            )
        },
        "pins": {},
        "metrics": {},
        "policies": dict(map(tuple, rows("SELECT pattern, rules FROM policy"))),
        "links": {
            (ids[child], position): ids.get(parent)
            for child, position, parent in rows("SELECT child_id, position, parent_id FROM link")
        },
    }
    for at, why, until in rows("SELECT version_id, why, until FROM version_pin"):
        told["pins"].setdefault(ids[at], {})[why] = until
    for at, name, value in rows("SELECT version_id, name, value FROM metric"):
        told["metrics"].setdefault(ids[at], {})[name] = value
    objects = []
    for kind in ("blob", "manifest"):
        for digest, *rest in rows(f"SELECT digest, state, inc, key, size, condemned_at FROM {kind} ORDER BY id"):
            objects.append(Row(kind, Digest(bytes(digest)), *rest))
    needs: dict[Digest, set[Digest]] = {}
    for at, digest in rows("SELECT version_id, digest FROM version_blob JOIN blob ON blob.id = blob_id"):
        needs.setdefault(ids[at], set()).add(Digest(bytes(digest)))
    active = {ids[v.id] for v in versions if v.state == "active"}
    return Look(
        told,
        objects,
        {one: blobs for one, blobs in needs.items() if one in active},
        {ids[v.id]: v.retired_by for v in versions if v.state == "retired"},
    )


def records(depot: Depot) -> list[tuple[int, list[dict]]]:
    """Serials and actions of the journal, the newest first"""
    return [(record.serial, json.loads(record.body)["actions"]) for record in depot.catalog.journal.log(1000)]


def assert_there(depot: Depot, rows: list[Row]) -> None:
    """Every object that counts is there, with the bytes that its name promises"""
    for row in rows:
        if row.state in _PRESENT:
            raw = depot.blobs.read(row.key)
            assert len(raw) == row.size
            assert Digest.of(raw) == row.digest


def assert_listed(depot: Depot, rows: list[Row]) -> None:
    """As `assert_there` by one listing, without the bytes"""
    there = dict(size for prefix in (BLOBS, MANIFESTS) for size in depot.blobs.sizes(prefix))
    assert {row.key: row.size for row in rows if row.state in _PRESENT}.items() <= there.items()


def assert_bare(depot: Depot) -> None:
    """Nothing lies in the store that no row names"""
    there = {key for prefix in (BLOBS, MANIFESTS) for key in depot.blobs.keys(prefix)}
    assert there == {row.key for row in look(depot).objects if row.state != "damaged"}
    assert list(depot.blobs.keys(TRASH)) == []
    assert list(depot.blobs.keys(TMP)) == []
    assert depot.blobs.owners() == []


def read_back(depot: Depot, version_id: Digest) -> tuple[bytes, bytes]:
    """The manifest of a version and the bytes of its first file, as a reader gets them; raise what it raises"""
    document = load_manifest(depot, version_id)
    return document.raw, fetch_file(depot, document, document.files[0])
