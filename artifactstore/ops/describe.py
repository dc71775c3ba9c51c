"""Describe: versions as documents with stable keys"""

import json
from typing import Any

from artifactstore.catalog.base import LinkInfo, PinInfo, Retirement, VersionInfo
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
    return {
        **summary(version),
        "retired": None if version.retired is None else _retired(version.retired),
        "metadata": rows.versions.metadata(version.id),
        "pins": [_pin(pin) for pin in rows.notes.pins(version.id)],
        "parents": [_link(link) for link in rows.versions.parents(version.id)],
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


def _link(link: LinkInfo) -> dict[str, Any]:
    return {
        "relation": link.relation,
        "id": None if link.parent is None else str(link.parent),
        "ref": link.ref,
        "weight": link.weight,
        "position": link.position,
        "params": dict(link.params),
        "declared": link.declared,
        "evidence": link.evidence,
    }


def history(depot: Depot, limit: int) -> list[dict[str, Any]]:
    """Committed records, newest first"""
    records = [json.loads(record.body) for record in depot.catalog.journal.log(limit)]
    return [
        {
            "serial": record["serial"],
            "at": format_moment(record["at"]),
            "actions": [_action(a) for a in record["actions"]],
        }
        for record in records
    ]


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
        "free_bytes": depot.blobs.free(),
        "serial": rows.journal.head()[0],
        "unexported": len(rows.journal.pending(100)),
        "damaged": len(rows.blobs.damaged()) + len(rows.blobs.damaged_manifests()),
        "leases": [
            {"kind": lease.kind, "host": lease.host, "pid": lease.pid, "expires": format_moment(lease.expires)}
            for lease in rows.leases.active()
        ],
    }
