"""Carry: versions from one store into another, parents first, only what is missing, checked on arrival

It is a save of the target (PROTOCOL, other stores): blobs, then the manifest, then the rows; numbers are the target's
own. What arrived is committed every few hundred megabytes, as a repair commits, so that one that was killed goes on:
a blob that no version needs yet counts as there until a collection takes it.
"""

import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from typing import Self

from artifactstore.catalog.base import Committed, Grant, Place, VersionInfo, Written
from artifactstore.catalog.objects import PRESENT
from artifactstore.core.decode import read_manifest
from artifactstore.core.digest import Digest
from artifactstore.core.errors import Corrupt, Invalid, NoSpace
from artifactstore.core.events import Progress
from artifactstore.core.manifest import MAX_BLOB, BlobInfo, Manifest
from artifactstore.core.units import format_size
from artifactstore.depot import Depot
from artifactstore.lease import reading
from artifactstore.ops.transfer.buffers import BufferPool
from artifactstore.ops.transfer.claims import check_claims
from artifactstore.ops.transfer.fetch import manifest_bytes, read_blob
from artifactstore.ops.transfer.threads import start_pool
from artifactstore.session import Session, Tags, in_session

_THREADS = 8


@dataclass(frozen=True, slots=True)
class CarryPlan:
    """Which versions a store lacks, parents first, and what of their bytes

    healing, manifests: what is known to be damaged there and is sound in the source.
    """

    versions: tuple[VersionInfo, ...]
    blobs: int
    nbytes: int
    healing: tuple[BlobInfo, ...] = ()
    manifests: tuple[Digest, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Nothing is lacking and nothing is damaged"""
        return not (self.versions or self.healing or self.manifests)


@dataclass(frozen=True, slots=True)
class CarryReport:
    """What arrived: versions as the target numbers them; blobs and bytes that had to be moved"""

    versions: tuple[VersionInfo, ...]
    blobs: int
    nbytes: int


def plan(source: Depot, target: Depot, versions: Sequence[VersionInfo]) -> CarryPlan:
    """Look at what `run` would move, changing nothing; versions: parents before children"""
    known = target.catalog.versions.active([one.id for one in versions])
    lacking = tuple(one for one in versions if one.id not in known)
    damaged = [place.digest for place in target.catalog.blobs.damaged()]
    sound = {place.digest: place.size for place in source.catalog.blobs.places(damaged).values() if _is_there(place)}
    count, nbytes = len(sound), sum(sound.values())
    for part in _parts(source.catalog.blobs.all(versions=[one.id for one in lacking]) if lacking else ()):
        there = target.catalog.blobs.places([place.digest for place in part])
        missing = [p for p in part if p.digest not in sound and not _is_there(there.get(p.digest))]
        count += len(missing)
        nbytes += sum(place.size for place in missing)
    healing = tuple(BlobInfo(digest, size) for digest, size in sorted(sound.items()))
    return CarryPlan(lacking, count, nbytes, healing, tuple(_sound_manifests(source, target)))


def _sound_manifests(source: Depot, target: Depot) -> Iterator[Digest]:
    damaged = [place.digest for place in target.catalog.blobs.damaged_manifests()]
    if damaged:
        found = source.catalog.blobs.manifests(versions=damaged)
        yield from sorted(place.digest for place in found if _is_there(place))


def run(source: Depot, target: Depot, plan: CarryPlan) -> CarryReport:
    """Bring the versions over, each whole or not at all, and each with its metrics; aliases are the caller's

    Raise NoSpace before any work, Corrupt naming what is damaged in the source; what was committed before it stays.
    """
    _check_space(target, plan)
    with _Carrier(source, target, plan.nbytes) as carrier:
        carrier.heal(plan)
        versions = tuple(carrier.bring(version).version for version in plan.versions)
        return CarryReport(versions, carrier.blobs, carrier.nbytes)


def _is_there(place: Place | None) -> bool:
    return place is not None and place.state in PRESENT


def _parts(places: Iterable[Place], size: int = 1000) -> Iterator[list[Place]]:
    part: list[Place] = []
    for place in places:
        part.append(place)
        if len(part) == size:
            yield part
            part = []
    if part:
        yield part


def _check_space(target: Depot, plan: CarryPlan) -> None:
    free = target.blobs.free()
    if free is not None and plan.nbytes > max(free - target.settings.reserve, 0):
        raise NoSpace(
            f"{format_size(plan.nbytes)} to bring to {target.blobs.url}, where {format_size(free)} are free, "
            f"{format_size(target.settings.reserve)} of them kept back; make room there",
            need=plan.nbytes,
            free=free,
        )


def _read_manifest(source: Depot, version: Digest) -> Manifest:
    """As its id says and in the one way to write it: what is committed here is written anew"""
    try:
        return read_manifest(manifest_bytes(source, version), version)
    except (Corrupt, Invalid) as e:
        raise Corrupt(
            f"{source.blobs.url}: version {version.hex()[:12]} cannot be taken: {e.message}",
            code="manifest",
            version=str(version),
        ) from e


class _Carrier:
    """Threads and memory for one run"""

    def __init__(self, source: Depot, target: Depot, total: int) -> None:
        self._source, self._target, self._total = source, target, total
        self.blobs = self.nbytes = 0
        self._lock = threading.Lock()
        workers = max(1, min(_THREADS, target.settings.memory // MAX_BLOB))
        self._buffers = BufferPool(target.settings.memory)
        self._threads: ThreadPoolExecutor = start_pool(workers, "artstore-carry")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._buffers.close()

    def heal(self, plan: CarryPlan) -> None:
        """Refill what is known to be damaged in the target"""
        places = self._source.catalog.blobs.places([blob.digest for blob in plan.healing])
        for batch in self._batches(plan.healing, last=True):
            in_session(self._target, "land", partial(self._land, batch=batch, places=places))
        if plan.manifests:
            in_session(self._target, "land", partial(self._land_manifests, plan.manifests))

    def bring(self, version: VersionInfo) -> Committed:
        """One version, held in the source until it is here"""
        with reading(self._source, version.id):
            manifest = self._manifest(version)
            places = self._source.catalog.blobs.places([blob.digest for blob in manifest.blobs])
            check_claims(partial(self._read_either, places), manifest)
            for batch in self._batches(manifest.blobs, last=False):
                in_session(self._target, "land", partial(self._land, batch=batch, places=places))
            return in_session(self._target, "carry", lambda session: self._commit(session, version, manifest, places))

    def _manifest(self, version: VersionInfo) -> Manifest:
        manifest = _read_manifest(self._source, version.id)
        if manifest.artifact != version.artifact:
            raise Corrupt(
                f"{self._source.blobs.url} says {version.id.hex()[:12]} is of {version.artifact}, its manifest says "
                f"{manifest.artifact}; nothing of it was taken",
                code="artifact",
            )
        return manifest

    def _batches(self, blobs: Sequence[BlobInfo], *, last: bool) -> Iterator[list[BlobInfo]]:
        """What is missing in runs of about the size that may be lost; last: with the one that a commit may bring"""
        there = self._target.catalog.blobs.places([blob.digest for blob in blobs])
        batch: list[BlobInfo] = []
        nbytes = 0
        for blob in blobs:
            if _is_there(there.get(blob.digest)):
                continue
            if nbytes >= self._target.settings.landing:
                yield batch
                batch, nbytes = [], 0
            batch.append(blob)
            nbytes += blob.size
        if last and batch:
            yield batch

    def _land(self, session: Session, *, batch: Sequence[BlobInfo], places: dict[Digest, Place]) -> None:
        self._target.step("carry.land.before")
        session.heal(self._copied(session, batch, places))
        self._target.step("carry.land.after")

    def _land_manifests(self, ids: Sequence[Digest], session: Session) -> None:
        manifests = [_read_manifest(self._source, one) for one in ids]
        session.heal((), [session.write_manifest(one.id, one.raw) for one in manifests], manifests)

    def _commit(
        self, session: Session, version: VersionInfo, manifest: Manifest, places: dict[Digest, Place]
    ) -> Committed:
        session.build_on(manifest.parents)
        written = self._copied(session, manifest.blobs, places)
        return session.commit(manifest, written, Tags(metrics=version.metrics), self._target.clock())

    def _copied(self, session: Session, blobs: Sequence[BlobInfo], places: dict[Digest, Place]) -> list[Written]:
        sizes = {blob.digest: blob for blob in blobs}
        grants = session.want(sizes)
        lacking = [grant for grant in grants if grant.upload]
        there = [session.found(grant, sizes[grant.digest].size) for grant in grants if not grant.upload]
        copies = [self._threads.submit(self._copy, session, sizes, places, grant) for grant in lacking]
        try:
            return [*there, *(each.result() for each in copies)]
        finally:
            for each in copies:
                each.cancel()
            # what is still being written must not outlive the session
            wait(copies)

    def _copy(
        self, session: Session, infos: dict[Digest, BlobInfo], places: dict[Digest, Place], grant: Grant
    ) -> Written:
        info = infos[grant.digest]
        buffer = self._buffers.take()
        try:
            data = buffer.view[: info.size]
            self._read(info, places.get(info.digest), data)
            written = session.write(grant, data)
        finally:
            buffer.drop()
        with self._lock:
            self.blobs += 1
            self.nbytes += info.size
        self._target.monitor(Progress("copy", self.nbytes, max(self._total, self.nbytes)))
        return written

    def _read_either(self, places: dict[Digest, Place], info: BlobInfo, data: memoryview) -> None:
        try:
            self._read(info, places.get(info.digest), data)
        except Corrupt:
            # of what is here already a source that says what is new need have no bytes
            read_blob(self._target, info, None, data)

    def _read(self, info: BlobInfo, place: Place | None, data: memoryview) -> None:
        try:
            read_blob(self._source, info, place, data)
        except Corrupt as e:
            raise Corrupt(f"{self._source.blobs.url}: {e.message}", code=str(e.facts.get("kind", "")), **e.facts) from e
