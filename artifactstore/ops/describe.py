"""Describe: versions as documents with stable keys"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from artifactstore.catalog.base import LinkInfo, PinInfo, Retirement, VersionInfo
from artifactstore.core.digest import Digest
from artifactstore.core.units import format_moment
from artifactstore.depot import Depot


def summary(version: VersionInfo) -> dict[str, Any]:
    """A version as `ls` tells it"""
    return {
        "id": str(version.id),
        "ref": version.ref,
        "artifact": str(version.artifact),
        "number": version.number,
        "state": version.state,
        "created": format_moment(version.created),
        "taken": format_moment(version.taken),
        "phase": version.phase,
        "step": version.step,
        "epoch": version.epoch,
        "request_id": version.request_id,
        "aliases": [str(alias) for alias in version.aliases],
        "metrics": dict(version.metrics),
        "license": version.license,
        "formats": list(version.formats),
        "dtypes": list(version.dtypes),
        "tensors": version.tensors,
        "logical_bytes": version.nbytes,
        "last_load": None if version.last_load is None else format_moment(version.last_load),
    }


def details(depot: Depot, version: VersionInfo) -> dict[str, Any]:
    """A version as `show` tells it: parents, files, pins and unique bytes too; of a retired one how it went"""
    rows = depot.catalog
    parents = rows.versions.parents(version.id)
    names = rows.versions.refs([link.parent for link in parents if link.parent is not None])
    return {
        **summary(version),
        "retired": None if version.retired is None else _retired(version.retired),
        "metadata": rows.versions.metadata(version.id),
        "pins": [_pin(pin) for pin in rows.notes.pins(version.id)],
        "parents": [_link(link, names) for link in parents],
        "children_count": len(rows.versions.children(version.id)),
        "files": [
            {"path": str(file.path), "size": file.size, "sha256": str(file.sha256), "format": file.format}
            for file in rows.versions.files(version.id)
        ],
        "unique_bytes": rows.usage.unique([version.id])[version.id],
    }


def _retired(how: Retirement) -> dict[str, Any]:
    return {
        "at": None if how.at is None else format_moment(how.at),
        "serial": how.serial,
        "why": how.why,
        "swept": None if how.swept is None else format_moment(how.swept),
    }


def _pin(pin: PinInfo) -> dict[str, Any]:
    return {"why": pin.why, "until": None if pin.until is None else pin.until.isoformat()}


def _link(link: LinkInfo, names: Mapping[Digest, str]) -> dict[str, Any]:
    """ref: as it was declared; version: the reference of what it is bound to here"""
    return {
        "relation": link.relation,
        "id": None if link.parent is None else str(link.parent),
        "ref": link.ref,
        "version": None if link.parent is None else names.get(link.parent),
        "weight": link.weight,
        "position": link.position,
        "params": dict(link.params),
        "declared": link.declared,
        "evidence": link.evidence,
    }


def history(depot: Depot, limit: int) -> list[dict[str, Any]]:
    """Committed records, newest first; refs: the versions they name, by id"""
    records = [json.loads(record.body) for record in depot.catalog.journal.log(limit)]
    named = [sorted({one for action in record["actions"] for one in _named(action)}) for record in records]
    names = depot.catalog.versions.refs([Digest.parse(one) for one in sorted(set().union(*named))])
    refs = {str(digest): ref for digest, ref in names.items()}
    return [
        {
            "serial": record["serial"],
            "at": format_moment(record["at"]),
            "actions": [_action(a) for a in record["actions"]],
            "refs": {one: refs[one] for one in ids if one in refs},
        }
        for record, ids in zip(records, named, strict=True)
    ]


def _named(action: Mapping[str, Any]) -> Iterator[str]:
    """Ids of the versions that an action is about"""
    for key in ("id", "version", "child", "parent"):
        if action.get(key) is not None:
            yield action[key]
    for one in (one for key in ("versions", "held", "gone") for one in action.get(key, ())):
        yield one if isinstance(one, str) else one[0]


def _action(action: dict[str, Any]) -> dict[str, Any]:
    """Without the list of blobs, which is long and tells a person nothing"""
    return {key: value for key, value in action.items() if key != "blobs"} | (
        {"blobs": len(action["blobs"])} if "blobs" in action else {}
    )


def status(depot: Depot) -> dict[str, Any]:
    """The store in one document"""
    rows = depot.catalog
    blobs, stored = rows.blobs.totals()
    return {
        "store": depot.blobs.url,
        "store_id": depot.info.store_id,
        "catalog": rows.url,
        "versions": rows.usage.totals().versions,
        "blobs": blobs,
        "stored_bytes": stored,
        "waiting_bytes": rows.collections.waiting()[0].nbytes,
        "free_bytes": depot.blobs.free(),
        "serial": rows.journal.head()[0],
        "unexported": len(rows.journal.pending(100)),
        "damaged": len(rows.blobs.damaged()) + len(rows.blobs.damaged_manifests()),
        "leases": [
            {"kind": lease.kind, "host": lease.host, "pid": lease.pid, "expires": format_moment(lease.expires)}
            for lease in rows.leases.active()
        ],
    }
