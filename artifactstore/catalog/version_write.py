"""Version rows written: a new one, one that comes back, and the memory that stays of one that is gone"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import rfc8785
import sqlalchemy as sa
from sqlalchemy import Connection, Row

from artifactstore.catalog.batches import insert_new
from artifactstore.catalog.journal import Action
from artifactstore.catalog.links import insert_links, link_documents
from artifactstore.catalog.tables import file, load, tensor_summary, version, version_blob, version_pin
from artifactstore.core.digest import Digest
from artifactstore.core.manifest import Manifest

_ACTIVE: dict[str, Any] = {
    "state": "active",
    "retired_at": None,
    "retired_by": None,
    "retired_why": None,
    "swept_at": None,
}
# what stays of a version when its manifest is gone
REMEMBERED = (
    *("created", "phase", "step", "epoch", "request_id", "license"),
    *("nbytes", "file_count", "tensor_count", "formats", "dtypes"),
)


def next_number(connection: Connection, artifact: int) -> int:
    """The number of the next version of an artifact; numbers are never used again"""
    last = sa.select(sa.func.max(version.c.number)).where(version.c.artifact_id == artifact)
    return (connection.execute(last).scalar() or 0) + 1


def insert_version(connection: Connection, document: Manifest, *, artifact: int, number: int, taken: int) -> int:
    """The row of a new version, with its files and tensors described; its blobs are `hold`'s"""
    values: dict[str, Any] = {"digest": document.id, "artifact_id": artifact, "number": number, "taken": taken}
    key = connection.execute(sa.insert(version), values | _facts(document) | {"state": "active"}).inserted_primary_key
    assert key is not None
    row: int = key[0]
    _describe(connection, row, document)
    return row


def insert_memory(connection: Connection, action: Action, *, artifact: int, number: int, taken: int) -> int:
    """The row of a version whose manifest is gone, from what a `forget` action says"""
    facts = {name: action[name] for name in REMEMBERED}
    values = {"digest": Digest.parse(action["id"]), "artifact_id": artifact, "number": number, "taken": taken}
    state = {"state": "retired", "metadata": "{}"}
    key = connection.execute(sa.insert(version), values | facts | state).inserted_primary_key
    assert key is not None
    row: int = key[0]
    return row


def bring_back(connection: Connection, row: int, document: Manifest) -> None:
    """Make a retired version active again under its old number, and describe it again when it was swept"""
    swept = connection.execute(sa.select(version.c.swept_at).where(version.c.id == row)).scalar()
    facts = _facts(document) if swept is not None else {}
    connection.execute(sa.update(version).where(version.c.id == row).values(_ACTIVE | facts))
    if swept is not None:
        _describe(connection, row, document)


def complete(connection: Connection, document: Manifest) -> None:
    """Describe a version whose manifest was lost when its row was made, and is here again; nothing for any other"""
    described = sa.exists().where(file.c.version_id == version.c.id)
    bare = sa.select(version.c.id).where(version.c.digest == document.id, version.c.swept_at.is_(None), ~described)
    row = connection.execute(bare).scalar()
    if row is not None:
        connection.execute(sa.update(version).where(version.c.id == row).values(_facts(document)))
        _describe(connection, row, document)
        if not link_documents(connection, row):
            insert_links(connection, row, document.id, document.parents)


def hold(connection: Connection, row: int, blobs: Sequence[int]) -> None:
    """The version needs these blob rows, some of which it may hold already"""
    rows = [{"version_id": row, "blob_id": blob} for blob in sorted(blobs)]
    insert_new(connection, version_blob, rows)


def memory(connection: Connection, row: Row[Any]) -> dict[str, Any]:
    """What the journal tells of a version whose manifest goes or is damaged"""
    facts = {name: getattr(row, name) for name in REMEMBERED}
    return {"id": str(Digest(row.digest)), **facts, "parents": link_documents(connection, row.id)}


def forget(connection: Connection, row: int, at: int) -> None:
    """Keep of a version what REMEMBERED and its links say; its manifest is about to go"""
    for table in (file, tensor_summary, load, version_pin):
        connection.execute(sa.delete(table).where(table.c.version_id == row))
    connection.execute(sa.update(version).where(version.c.id == row).values(swept_at=at, metadata="{}"))


def _facts(document: Manifest) -> dict[str, Any]:
    summary = _summary(document)
    return {
        "created": document.created,
        "phase": document.phase,
        "step": document.step,
        "epoch": document.epoch,
        "request_id": document.request_id,
        "license": document.license,
        "nbytes": document.nbytes,
        "file_count": len(document.files),
        "tensor_count": sum(count for count, _ in summary.values()),
        "formats": ",".join(sorted({entry.format for entry in document.files})),
        "dtypes": ",".join(sorted(summary, key=lambda dtype: (-summary[dtype][1], dtype))),
        "metadata": rfc8785.dumps(dict(document.metadata)).decode(),
    }


def _summary(document: Manifest) -> dict[str, tuple[int, int]]:
    count: Counter[str] = Counter()
    nbytes: Counter[str] = Counter()
    for entry in document.files:
        for tensor in entry.tensors:
            count[tensor.dtype] += 1
            nbytes[tensor.dtype] += tensor.end - tensor.begin
    return {dtype: (count[dtype], nbytes[dtype]) for dtype in count}


def _describe(connection: Connection, row: int, document: Manifest) -> None:
    files = [
        {
            "version_id": row,
            "position": position,
            "path": entry.path,
            "size": entry.size,
            "sha256": entry.sha256,
            "format": entry.format,
        }
        for position, entry in enumerate(document.files)
    ]
    connection.execute(sa.insert(file), files)
    tensors = [
        {"version_id": row, "dtype": dtype, "count": count, "nbytes": nbytes}
        for dtype, (count, nbytes) in _summary(document).items()
    ]
    if tensors:
        connection.execute(sa.insert(tensor_summary), tensors)
