"""Verify: read what is stored, compare it with its name, set aside what is damaged"""

import os
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from artifactstore.catalog.base import Place
from artifactstore.core.digest import Digest
from artifactstore.core.errors import Corrupt, NotFound, StoreError
from artifactstore.core.events import Progress
from artifactstore.core.manifest import MAX_BLOB
from artifactstore.depot import Depot
from artifactstore.ops.transfer.aside import set_aside
from artifactstore.ops.transfer.buffers import BufferPool
from artifactstore.ops.transfer.threads import start_pool

Kind = Literal["missing", "truncated", "corrupt", "unreadable"]


@dataclass(frozen=True, slots=True)
class VerifyPlan:
    """Which objects are read, in which order. limit: stop after this long, None for no limit"""

    blobs: tuple[Place, ...]
    manifests: tuple[Place, ...]
    limit: timedelta | None = None

    @property
    def nbytes(self) -> int:
        """Bytes to be read"""
        return sum(place.stored for place in self.blobs + self.manifests)

    def to_json(self) -> dict[str, Any]:
        """For people and programs to read before it runs"""
        return {"blobs": len(self.blobs), "manifests": len(self.manifests), "bytes": self.nbytes}


@dataclass(frozen=True, slots=True)
class Damage:
    """One damaged blob or manifest and the versions that need it"""

    digest: Digest
    kind: Kind
    versions: tuple[str, ...]
    what: Literal["blob", "manifest"] = "blob"


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What was read and what was wrong. complete: False when the time ran out first"""

    blobs: int
    bytes: int
    damaged: tuple[Damage, ...]
    complete: bool = True


def plan(
    depot: Depot,
    versions: Sequence[Digest] | None = None,
    *,
    share: float | None = None,
    nbytes: int | None = None,
    limit: timedelta | None = None,
) -> VerifyPlan:
    """All objects of these versions, or of the whole store

    share (0 to 1) or nbytes: read only so much, picked at random.
    """
    blobs = list(depot.catalog.blobs.all(versions=versions))
    manifests = list(depot.catalog.blobs.manifests(versions=versions))
    if share is not None:
        nbytes = round(share * sum(place.stored for place in blobs))
    if nbytes is not None or limit is not None:
        random.SystemRandom().shuffle(blobs)
    if nbytes is not None:
        blobs = list(_until(blobs, nbytes))
    return VerifyPlan(tuple(blobs), tuple(manifests), limit)


def _until(places: Sequence[Place], nbytes: int) -> Iterator[Place]:
    taken = 0
    for place in places:
        if taken >= nbytes:
            return
        taken += place.stored
        yield place


def run(depot: Depot, plan: VerifyPlan) -> VerifyReport:
    """Read everything planned; damaged objects are quarantined when the store may be written to"""
    check = _Check(depot, plan)
    with start_pool(min(4, 2 * (os.cpu_count() or 1)), "artstore-verify") as readers:
        list(readers.map(check.manifest, plan.manifests))
        list(readers.map(check.blob, plan.blobs))
    damaged = _settle(depot, check)
    return VerifyReport(check.blobs, check.bytes, damaged, complete=not check.late)


class _Check:
    def __init__(self, depot: Depot, plan: VerifyPlan) -> None:
        self._depot, self._plan = depot, plan
        self._pool = BufferPool(depot.settings.memory)
        self._end = time.monotonic() + plan.limit.total_seconds() if plan.limit is not None else None
        self._lock = threading.Lock()
        self.blobs = self.bytes = 0
        self.late = False
        self.found: list[tuple[Place, Kind, Literal["blob", "manifest"]]] = []

    def blob(self, place: Place) -> None:
        if self._is_over():
            return
        self._check(place, "blob", lambda: self._depot.catalog.blobs.places([place.digest]).values())

    def manifest(self, place: Place) -> None:
        self._check(place, "manifest", lambda: self._depot.catalog.blobs.manifests(versions=[place.digest]))

    def certain(self, what: Literal["blob", "manifest"]) -> list[Place]:
        """Those damaged ones that could be read"""
        return [place for place, kind, found in self.found if found == what and kind != "unreadable"]

    def _is_over(self) -> bool:
        self.late = self.late or (self._end is not None and time.monotonic() >= self._end)
        return self.late

    def _check(self, place: Place, what: Literal["blob", "manifest"], again: Callable[[], Iterable[Place]]) -> None:
        kind = self._compare(place)
        if kind == "corrupt":
            # One bad read is a bad cable or bad memory; two that agree are bad bytes.
            kind = self._compare(place)
        if kind == "missing":
            now = next((one for one in again() if one.state != "deleting"), None)
            if now is None:
                # a collection has taken it since the plan was made
                return
            if now.key != place.key:
                place, kind = now, self._compare(now)
        if kind is None and place.state == "damaged":
            # Its bytes are well but were given up: only a repair makes them count again.
            kind = "missing"
        with self._lock:
            if kind is not None:
                self.found.append((place, kind, what))
            self.blobs += what == "blob"
            self.bytes += place.stored
        self._depot.monitor(Progress("verify", self.bytes, self._plan.nbytes))

    def _compare(self, place: Place) -> Kind | None:
        try:
            size = self._depot.blobs.size(place.key)
            if size < place.start + place.stored:
                return "truncated"
            if size > place.start + place.stored:
                return "corrupt"
            return None if self._digest(place) == place.digest else "corrupt"
        except NotFound:
            return "missing"
        except Corrupt:
            return "truncated"
        except StoreError:
            return "unreadable"

    def _digest(self, place: Place) -> Digest:
        if place.stored > MAX_BLOB:
            return Digest.of(self._depot.blobs.read(place.key, place.start, place.stored))
        buffer = self._pool.take()
        try:
            view = buffer.view[: place.stored]
            self._depot.blobs.read_into(place.key, view, place.start)
            return Digest.of(view)
        finally:
            buffer.drop()


def _settle(depot: Depot, check: _Check) -> tuple[Damage, ...]:
    digests = [place.digest for place, _, what in check.found if what == "blob"]
    needed = depot.catalog.versions.with_blobs(digests) if digests else {}
    damaged = []
    for place, kind, what in check.found:
        refs = needed.get(place.digest, []) if what == "blob" else _refs(depot, place.digest)
        damaged.append(Damage(place.digest, kind, tuple(refs), what))
    if check.found and not depot.read_only:
        set_aside(depot, blobs=check.certain("blob"), manifests=check.certain("manifest"))
    return tuple(sorted(damaged, key=lambda damage: damage.digest))


def _refs(depot: Depot, version: Digest) -> list[str]:
    """None when the version was retired meanwhile"""
    with suppress(NotFound):
        return [depot.catalog.versions.get(version).ref]
    return []
