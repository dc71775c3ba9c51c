"""Examine: whether a store is well, and what is wrong around it"""

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal

from artifactstore.core.errors import StoreError
from artifactstore.core.units import format_duration, format_size
from artifactstore.depot import Depot, folder_of
from artifactstore.ops.transfer.contact import is_reachable

_LITTLE = 5 << 30
_CLOCK_SKEW = 60_000_000


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at"""

    what: str
    status: Literal["ok", "warn", "fail", "skipped"]
    detail: str


def run(depot: Depot) -> list[Finding]:
    """Look at each thing in turn; a failure of one is a finding, not an end"""
    looks: dict[str, Callable[[Depot], Finding]] = {
        "store": _store,
        "catalog": _catalog,
        "journal": _journal,
        "free space": _space,
        "file system": _file_system,
        "permissions": _permissions,
        "clock": _clock,
        "damage": _damage,
        "leases": _leases,
        "remotes": _remotes,
    }
    return list(_each(depot, looks))


def _each(depot: Depot, looks: dict[str, Callable[[Depot], Finding]]) -> Iterator[Finding]:
    for what, look in looks.items():
        try:
            yield look(depot)
        except StoreError as e:
            yield Finding(what, "fail", e.message)
        except OSError as e:
            yield Finding(what, "fail", f"{e.filename}: {e.strerror}")


def _store(depot: Depot) -> Finding:
    return Finding("store", "ok", f"{depot.blobs.url} ({depot.info.store_id[:8]})")


def _catalog(depot: Depot) -> Finding:
    wrong = depot.catalog.check()
    if wrong:
        detail = f"{depot.catalog.url} is damaged ({wrong[0]}); artstore catalog rebuild makes it anew from its store"
        return Finding("catalog", "fail", detail)
    count, nbytes = depot.catalog.blobs.totals()
    return Finding("catalog", "ok", f"{depot.catalog.url}: {count} blobs, {format_size(nbytes)}")


def _journal(depot: Depot) -> Finding:
    if not depot.read_only:
        depot.check_writable()
    pending = len(depot.catalog.journal.pending(100))
    if pending:
        return Finding("journal", "warn", f"{pending} records not yet beside the blobs; the next write exports them")
    return Finding("journal", "ok", f"up to serial {depot.catalog.journal.head()[0]}")


def _space(depot: Depot) -> Finding:
    free = depot.blobs.free()
    if free is None:
        return Finding("free space", "skipped", "has no meaning for this kind of store")
    return Finding("free space", "warn" if free < _LITTLE else "ok", f"{format_size(free)} free")


def _file_system(depot: Depot) -> Finding:
    path = folder_of(depot.blobs)
    if path is None:
        return Finding("file system", "skipped", "not a local folder")
    usage = shutil.disk_usage(path)
    detail = f"{_type_of(path)}, {format_size(usage.total)} in all"
    if hasattr(os, "statvfs"):
        status = os.statvfs(path)
        if status.f_files and status.f_favail < status.f_files // 100:
            return Finding("file system", "warn", f"{detail}, {status.f_favail} free inodes left")
    return Finding("file system", "ok", detail)


def _type_of(path: Path) -> str:
    mounts = Path("/proc/mounts")
    if not mounts.exists():
        return "unknown type"
    best = ("", "unknown type")
    for line in mounts.read_text().splitlines():
        _, where, kind, *_ = line.split(" ")
        if path.resolve().is_relative_to(where) and len(where) >= len(best[0]):
            best = (where, kind)
    return best[1]


def _permissions(depot: Depot) -> Finding:
    if depot.read_only:
        return Finding("permissions", "skipped", "opened read-only")
    owner = f"doctor-{secrets.token_hex(8)}"
    batch = depot.blobs.batch(owner)
    key = f"tmp/{owner}.probe"
    try:
        batch.write(key, b"probe")
        batch.publish()
        depot.blobs.delete(key)
    finally:
        batch.discard()
    return Finding("permissions", "ok", "objects can be written and removed")


def _clock(depot: Depot) -> Finding:
    skew = abs(depot.catalog.now() - depot.clock())
    if skew > _CLOCK_SKEW:
        from_now = format_duration(timedelta(microseconds=skew))
        return Finding("clock", "warn", f"{from_now} apart from the catalog's; ages in reports may mislead")
    return Finding("clock", "ok", "agrees with the catalog's")


def _damage(depot: Depot) -> Finding:
    blobs, manifests = len(depot.catalog.blobs.damaged()), len(depot.catalog.blobs.damaged_manifests())
    if blobs or manifests:
        found = f"{blobs} damaged blobs and {manifests} damaged manifests known"
        return Finding("damage", "fail", f"{found}; run artstore repair --from a copy")
    return Finding("damage", "ok", "none known; artstore verify reads everything")


def _leases(depot: Depot) -> Finding:
    active = depot.catalog.leases.active()
    if not active:
        return Finding("leases", "ok", "nobody else is at work")
    return Finding(
        "leases", "ok", ", ".join(f"{lease.kind} by pid {lease.pid} on {lease.host}" for lease in active[:5])
    )


def _remotes(depot: Depot) -> Finding:
    if depot.settings.offline:
        return Finding("remotes", "skipped", "offline")
    known = depot.catalog.remotes.list()
    if not known:
        return Finding("remotes", "ok", "none known; artstore remote add makes one")
    away = [info.name for info in known if not is_reachable(depot, info)]
    detail = f"{len(known)} known, {', '.join(away)} away now" if away else f"{len(known)} known, all there"
    return Finding("remotes", "ok", detail)
