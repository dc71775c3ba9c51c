"""Dump: everything a catalog means, as lines in an order that no row number decides

Two catalogs that give the same lines mean the same. Left out is what the journal does not hold and a rebuild does not
bring back: leases, when something was loaded or checked, how far a collection has come (what is condemned counts as
live, what is being deleted as gone, what a retired version still holds as let go), and which catalog it is: its id and
the records that say that it was rebuilt.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping
from typing import IO, Any

import sqlalchemy as sa
from sqlalchemy import Connection, Table

from artifactstore.catalog.sql import Database
from artifactstore.catalog.tables import (
    alias,
    alias_history,
    artifact,
    blob,
    copy,
    file,
    journal,
    link,
    manifest,
    metric,
    policy,
    remote,
    store,
    tensor_summary,
    version,
    version_blob,
    version_pin,
)

Line = Mapping[str, Any]
_ROWS = 2000
_KEYS = {"id", "artifact_id", "version_id", "child_id", "parent_id"}


def dump(database: Database) -> Iterator[str]:
    """The lines, each a JSON object that says its `kind`, of one moment; in constant memory"""
    with database.read(_written) as lines:
        lines.seek(0)
        for line in lines:
            yield line.removesuffix("\n")


def _written(connection: Connection) -> IO[str]:
    # aside, as a transaction may have to be run again when part of it would have been told already
    lines = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115  # the reader closes it
    try:
        for line in _lines(connection):
            lines.write(json.dumps(line, sort_keys=True, separators=(",", ":")))
            lines.write("\n")
    except BaseException:
        lines.close()
        raise
    return lines


def _lines(connection: Connection) -> Iterator[Line]:
    tell = _Teller(connection)
    yield from tell("store", sa.select(store.c.store_id.label("store")))
    yield from tell("artifact", sa.select(artifact.c.name), artifact.c.name)
    facts = sa.select(version.c.digest.label("id"), artifact.c.name.label("artifact"), *_own(version, "digest"))
    yield from tell("version", facts.join_from(version, artifact), artifact.c.name, version.c.number)
    for kind, table in (
        ("file", file),
        ("tensors", tensor_summary),
        ("metric", metric),
        ("pin", version_pin),
        ("copy", copy),
    ):
        about = sa.select(version.c.digest.label("version"), *_own(table)).join_from(table, version)
        yield from tell(kind, about, version.c.digest, *_own_keys(table))
    yield from tell("link", _links(), version.c.digest, link.c.position)
    held = sa.select(version.c.digest.label("version"), blob.c.digest.label("blob")).where(version.c.state == "active")
    held = held.join_from(version_blob, version).join(blob, blob.c.id == version_blob.c.blob_id)
    yield from tell("needs", held, version.c.digest, blob.c.digest)
    for table in (blob, manifest):
        state = sa.case((table.c.state == "condemned", "live"), else_=table.c.state).label("state")
        objects = sa.select(table.c.digest.label("id"), table.c.inc, table.c.size, state)
        yield from tell(table.name, objects.where(table.c.state != "deleting"), table.c.digest)
    for table in (alias, alias_history):
        named = (artifact.c.name.label("artifact"), version.c.digest.label("version"))
        moves = sa.select(*named, *_own(table)).join_from(table, artifact, artifact.c.id == table.c.artifact_id)
        moves = moves.outerjoin(version, version.c.id == table.c.version_id)
        yield from tell(table.name, moves, artifact.c.name, table.c.name, table.c.generation)
    yield from tell("policy", sa.select(policy), policy.c.pattern)
    yield from tell("remote", sa.select(remote), remote.c.name)
    yield _head(connection)


class _Teller:
    """Makes lines of the rows of a query"""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._postgres = connection.dialect.name == "postgresql"

    def __call__(self, kind: str, query: sa.Select[Any], *order: sa.ColumnElement[Any]) -> Iterator[Line]:
        ordered = query.order_by(*map(self._stable, order)).execution_options(yield_per=_ROWS)
        for row in self._connection.execute(ordered).mappings():
            yield {"kind": kind, **{name: _plain(value) for name, value in row.items()}}

    def _stable(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        # a database of Postgres may order texts by the rules of a language
        return column.collate("C") if self._postgres and isinstance(column.type, sa.Text) else column


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value


def _own(table: Table, *without: str) -> list[sa.Column[Any]]:
    """Columns that say something on their own"""
    return [column for column in table.c if column.name not in {*_KEYS, *without}]


def _own_keys(table: Table) -> list[sa.Column[Any]]:
    return [column for column in _own(table) if column.primary_key]


def _links() -> sa.Select[Any]:
    parent = version.alias("parent")
    bound = sa.select(version.c.digest.label("child"), parent.c.digest.label("parent"), *_own(link))
    bound = bound.join_from(link, version, version.c.id == link.c.child_id)
    return bound.outerjoin(parent, parent.c.id == link.c.parent_id)


def _head(connection: Connection) -> Line:
    """The last record that changed what the catalog means"""
    records = sa.select(journal).order_by(journal.c.serial.desc()).execution_options(yield_per=1)
    with connection.execute(records) as found:
        for record in found:
            if any(action["do"] != "rebuilt" for action in json.loads(record.body)["actions"]):
                return {"kind": "journal", "serial": record.serial, "txid": record.txid}
    return {"kind": "journal", "serial": 0, "txid": None}
