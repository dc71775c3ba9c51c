"""Collect: bytes that no version needs are condemned, and removed once their grace is over (docs/protocol.md)"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import Any

from artifactstore.blobs.layout import BLOBS, MANIFESTS, parse_object
from artifactstore.catalog.base import Doomed, Tally
from artifactstore.core.digest import Digest
from artifactstore.core.errors import Conflict, NotFound, Refused
from artifactstore.core.events import Progress
from artifactstore.core.units import format_size
from artifactstore.depot import Depot
from artifactstore.journal import export
from artifactstore.lease import Lease, clear_dead

GRACE = timedelta(days=7)
GUARD = 0.2
_REBUILT = timedelta(hours=24)
_NAMES = 10_000
_INTENDED = 500
_MICROSECOND = timedelta(microseconds=1)
Name = tuple[str, Digest, str]


@dataclass(frozen=True, slots=True)
class CollectPlan:
    """What a collection finds due now. total: all bytes at rest; waiting: condemned, the first of them at `since`"""

    due: Tally
    waiting: Tally
    since: int | None
    total: Tally

    def to_json(self) -> dict[str, Any]:
        """With stable keys"""
        return {
            "due_blobs": self.due.count,
            "due_bytes": self.due.nbytes,
            "waiting_blobs": self.waiting.count,
            "waiting_bytes": self.waiting.nbytes,
        }


@dataclass(frozen=True, slots=True)
class CollectReport:
    """What a collection did. strays: keys that are not ours and stay"""

    condemned: Tally
    removed: Tally
    orphans: Tally
    strays: tuple[str, ...]
    waiting: Tally
    since: int | None


def plan(depot: Depot, grace: timedelta = GRACE) -> CollectPlan:
    """Look at what is due, changing nothing"""
    rows = depot.catalog.collections
    waiting, since = rows.waiting()
    return CollectPlan(rows.due(grace // _MICROSECOND), waiting, since, rows.total())


def run(depot: Depot, grace: timedelta = GRACE, *, force: bool = False, orphans: bool = True) -> CollectReport:
    """Condemn what no version needs, remove what is due, and what writers that are gone left behind

    orphans: list the whole store for such leftovers, which takes long in a large one.

    Safe beside any number of savers, readers and collectors, with a grace of zero too. Raise Refused when more than a
    fifth of all bytes would go, or within a day after a rebuild, unless forced.
    """
    depot.check_writable()
    clear_dead(depot)
    with Lease(depot, "collect") as lease:
        try:
            _reap(depot)
            found = _list(depot) if orphans else ([], ())
            return _collect(depot, lease, grace // _MICROSECOND, *found, force=force)
        finally:
            depot.catalog.leases.finish(lease.id)


def _collect(
    depot: Depot, lease: Lease, grace: int, orphans: Sequence[str], strays: tuple[str, ...], *, force: bool
) -> CollectReport:
    rows = depot.catalog.collections
    depot.step("gc.release.before")
    while rows.release():
        depot.step("gc.release.after")
    depot.step("gc.condemn.before")
    condemned = rows.condemn()
    depot.step("gc.condemn.after")
    sizes = _sizes(depot, orphans)
    _guard(depot, rows.due(grace).nbytes + sum(sizes.values()), force=force)
    removed = _sweep(depot, lease, grace)
    gone = _remove_orphans(depot, lease, sizes)
    depot.step("gc.purge.before")
    depot.blobs.purge()
    depot.step("gc.purge.after")
    waiting, since = rows.waiting()
    return CollectReport(condemned, removed, gone, strays, waiting, since)


def _reap(depot: Depot) -> None:
    depot.step("gc.reap.before")
    depot.catalog.leases.expire()
    depot.step("gc.reap.after")


def _sweep(depot: Depot, lease: Lease, grace: int) -> Tally:
    rows = depot.catalog.collections
    total = rows.due(grace).nbytes
    count = nbytes = 0
    _set_aside(depot, lease)
    while doomed := rows.resume(lease.id) or _decide(depot, lease, grace):
        lease.check()
        _export(depot)
        if not rows.decided(lease.id, doomed):
            # deletions taken over are in no record of this command
            raise Conflict(
                "The catalog does not say any more what this collection decided; collect again", code="older"
            )
        for one in doomed:
            depot.step("gc.trash.before")
            depot.blobs.trash(one.key)
            depot.step("gc.trash.after")
        depot.step("gc.drop.before")
        rows.drop(doomed)
        depot.step("gc.drop.after")
        swept = [one for one in doomed if one.kind == "blob"]
        count, nbytes = count + len(swept), nbytes + sum(one.nbytes for one in swept)
        depot.monitor(Progress("sweep", nbytes, total))
    return Tally(count, nbytes)


def _set_aside(depot: Depot, lease: Lease) -> None:
    """Damaged objects that nothing needs any more: their bytes stay in quarantine, their rows go (R8)"""
    unneeded = depot.catalog.collections.unneeded()
    if unneeded:
        _export(depot)
        for one in unneeded:
            depot.blobs.quarantine(one.key)
        depot.catalog.collections.give_up(lease.id, unneeded)


def _decide(depot: Depot, lease: Lease, grace: int) -> list[Doomed]:
    depot.step("gc.intent.before")
    doomed = depot.catalog.collections.doom(lease.id, grace)
    depot.step("gc.intent.after")
    return doomed


def _export(depot: Depot) -> None:
    """What is about to be removed is written down beside the blobs first, or not removed

    Raise Conflict when the store is not this catalog's any more.
    """
    depot.step("gc.export.before")
    export(depot.blobs, depot.catalog)
    depot.acknowledge()
    depot.step("gc.export.after")


def _list(depot: Depot) -> tuple[list[str], tuple[str, ...]]:
    """Keys of objects that no row or pin names, and keys that are not ours; listed before the catalog is asked"""
    orphans: list[str] = []
    strays: list[str] = []
    depot.step("gc.orphans.before")
    for prefix in (BLOBS, MANIFESTS):
        for keys in _batched(depot.blobs.keys(prefix), _NAMES):
            named = {key: _name(key) for key in keys}
            strays += [key for key, name in named.items() if name is None]
            unknown = depot.catalog.collections.orphans([name for name in named.values() if name is not None])
            orphans += [key for key, name in named.items() if name in unknown]
    depot.step("gc.orphans.after")
    return orphans, tuple(strays)


def _batched(keys: Iterable[str], count: int) -> Iterator[Sequence[str]]:
    left = iter(keys)
    while batch := list(islice(left, count)):
        yield batch


def _name(key: str) -> Name | None:
    """(kind, digest, incarnation) of an object of ours"""
    found = parse_object(key)
    return None if found is None else ("manifest" if found.kind == "manifest" else "blob", found.digest, found.inc)


def _sizes(depot: Depot, keys: Sequence[str]) -> dict[str, int]:
    """Bytes under each key that is still there"""
    sizes = {}
    for key in keys:
        with suppress(NotFound):
            sizes[key] = depot.blobs.size(key)
    return sizes


def _guard(depot: Depot, going: int, *, force: bool) -> None:
    """Refuse what looks like a mistake: so much at once, or so soon after a catalog was made anew"""
    rows = depot.catalog.collections
    total = max(rows.total().nbytes, going)
    if force:
        return
    if going > GUARD * total:
        raise Refused(
            f"{format_size(going)} of {format_size(total)} would go, more than {GUARD:.0%}; "
            "look at the plan (artstore gc -n) and say --force if it is right",
            code="guard",
            bytes=going,
            total=total,
        )
    rebuilt = rows.rebuilt_at()
    if going and rebuilt is not None and abs(depot.catalog.now() - rebuilt) * _MICROSECOND < _REBUILT:
        raise Refused(
            "The catalog was rebuilt less than a day ago; look whether all is there (artstore verify), "
            "then wait or say --force",
            code="rebuilt",
        )


def _remove_orphans(depot: Depot, lease: Lease, sizes: Mapping[str, int]) -> Tally:
    count = nbytes = 0
    for some in _batched(sizes, _INTENDED):
        named = {key: name for key in some if (name := _name(key)) is not None}
        depot.step("gc.disown.before")
        gone = depot.catalog.collections.disown(list(named.values()))
        depot.step("gc.disown.after")
        _export(depot)
        for key, name in named.items():
            lease.check()
            if name in gone:
                depot.step("gc.orphan.before")
                depot.blobs.trash(key)
                depot.step("gc.orphan.after")
                count, nbytes = count + 1, nbytes + sizes[key]
    return Tally(count, nbytes)
