"""Session: one write in progress; blobs first, rows last, aliases at the very end

Steps A to F are those of docs/protocol.md.
"""

import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeVar

from artifactstore.blobs.base import BlobBatch
from artifactstore.blobs.layout import blob_key, manifest_key, new_incarnation
from artifactstore.catalog.base import Best, Committed, Draft, Grant, Written
from artifactstore.core.digest import Digest
from artifactstore.core.errors import LeaseLost, StoreError
from artifactstore.core.events import Warn
from artifactstore.core.lineage import Link
from artifactstore.core.manifest import Manifest
from artifactstore.core.names import AliasName
from artifactstore.core.verdict import NEEDED
from artifactstore.depot import Depot
from artifactstore.lease import Lease, clear_dead

T = TypeVar("T")
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Tags:
    """What a commit sets beside the manifest: mutable, so no part of the version's id"""

    aliases: tuple[AliasName, ...] = ()
    best: tuple[Best, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))


class Joined:
    """The lease of a write that another process leads; pins under it count for its commit"""

    def __init__(self, lease_id: str) -> None:
        self.id = lease_id

    def check(self) -> None:
        """It is the leader who knows; when it ended, no pin is granted"""

    def end(self) -> bool:
        """That is for the leader to do"""
        return False


class Session:
    """One write under one lease. `want` and `write` may be called from any thread"""

    def __init__(self, depot: Depot, lease: "Lease | Joined", batch: BlobBatch) -> None:
        self._depot, self._lease, self._batch = depot, lease, batch
        self._lock = threading.Lock()
        self._uploaded: dict[str, str] = {}
        self.settled = False

    def want(self, digests: Iterable[Digest]) -> list[Grant]:
        """Step A: pin what is there, and a new incarnation of what is not"""
        self._lease.check()
        self._depot.step("save.pin.before")
        grants = self._depot.catalog.leases.pin(self._lease.id, [(digest, new_incarnation()) for digest in digests])
        self._depot.step("save.pin.after")
        return grants

    def build_on(self, parents: Iterable[Link]) -> None:
        """Hold what the new version will need until its commit; raise Refused when such a parent was retired"""
        needed = [parent.id for parent in parents if parent.id is not None and parent.relation in NEEDED]
        if needed:
            self._depot.catalog.leases.hold_parents(self._lease.id, needed)

    def write(self, grant: Grant, data: memoryview | bytes) -> Written:
        """Step B: make one blob durable under its own new name"""
        written = Written(grant, len(data), blob_key(grant.digest, grant.inc))
        self._put(written, data, "write")
        return written

    def found(self, grant: Grant, size: int) -> Written:
        """A blob that is there already, as the commit will adopt it"""
        return Written(grant, size, blob_key(grant.digest, grant.inc))

    def commit(self, manifest: Manifest, blobs: Iterable[Written], tags: Tags, taken: int) -> Committed:
        """Steps B to F: publish, write the manifest, commit the rows, export the journal, acknowledge"""
        self._lease.check()
        written = self.write_manifest(manifest.id, manifest.raw)
        self.publish()
        draft = Draft(
            lease=self._lease.id,
            txid=secrets.token_hex(16),
            manifest=manifest,
            manifest_object=written,
            blobs=tuple(blobs),
            taken=taken,
            aliases=tags.aliases,
            best=tags.best,
            metrics=tags.metrics,
        )
        self._depot.step("save.commit.before")
        with self._settling():
            committed = self._depot.catalog.saves.commit(draft)
        self._depot.step("save.commit.after")
        self._drop(committed.lost)
        self._acknowledge()
        return committed

    def heal(
        self, blobs: Iterable[Written], manifests: Iterable[Written] = (), documents: Iterable[Manifest] = ()
    ) -> int:
        """Publish what was written and make it the live incarnation of its digest; the journal serial comes back"""
        self.publish()
        self._depot.step("repair.commit.before")
        txid = secrets.token_hex(16)
        with self._settling():
            saves = self._depot.catalog.saves
            healed = saves.heal(self._lease.id, txid, tuple(blobs), tuple(manifests), tuple(documents))
        self._depot.step("repair.commit.after")
        self._drop(healed.lost)
        self._acknowledge()
        return healed.serial

    @contextmanager
    def _settling(self) -> Iterator[None]:
        try:
            yield
        except StoreError as e:
            # it may have taken place in a catalog that was put back since, and be exported: a collection will know
            self.settled = bool(e.facts.get("doubt"))
            raise
        self.settled = True

    def write_manifest(self, digest: Digest, raw: bytes) -> Written:
        """Step C: a manifest, pinned and written like a blob"""
        self._depot.step("save.manifest.before")
        grant = self._depot.catalog.leases.pin_manifest(self._lease.id, [(digest, new_incarnation())])[0]
        written = Written(grant, len(raw), manifest_key(digest, grant.inc))
        if grant.upload:
            self._put(written, raw, "manifest-write")
        self._depot.step("save.manifest.after")
        return written

    def _put(self, written: Written, data: memoryview | bytes, step: str) -> None:
        self._lease.check()
        self._depot.step(f"save.{step}.before")
        with self._lock:
            self._uploaded[written.grant.inc] = written.key
        self._batch.write(written.key, data)
        self._depot.step(f"save.{step}.after")

    def publish(self) -> None:
        """Make what was written visible under its names, which nobody knows before the commit"""
        self._depot.step("save.publish.before")
        self._batch.publish()
        self._depot.step("save.publish.after")

    def _drop(self, lost: Iterable[Grant]) -> None:
        self._depot.step("save.drop.before")
        try:
            for grant in lost:
                self._depot.blobs.delete(self._uploaded[grant.inc])
        except StoreError as e:
            self._depot.monitor(Warn(f"A needless copy could not be removed, a collection will: {e}"))
        self._depot.step("save.drop.after")

    def _acknowledge(self) -> None:
        self._depot.acknowledge()
        self._depot.step("save.acknowledge.before")

    def clear(self) -> None:
        """Drop what is unpublished; without a commit end the lease, so that it can never happen, and drop the rest"""
        self._batch.discard()
        if not self.settled and self._lease.end():
            for key in self._uploaded.values():
                self._depot.blobs.delete(key)

    @property
    def lease_id(self) -> str:
        """By which others may join this write"""
        return self._lease.id


def in_session(depot: Depot, kind: str, work: Callable[[Session], T]) -> T:
    """What `work` returns after its commit; when its lease was lost it runs again from A, and reuses nothing"""
    attempt = 1
    while True:
        try:
            with open_session(depot, kind) as session:
                return work(session)
        except LeaseLost as e:
            if attempt == _ATTEMPTS:
                raise
            attempt += 1
            depot.monitor(Warn(f"{e.message} (try {attempt} of {_ATTEMPTS})"))


@contextmanager
def open_session(depot: Depot, kind: str) -> Iterator[Session]:
    """A write under a new lease; leaving it without a commit leaves nothing behind"""
    depot.check_writable()
    clear_dead(depot)
    depot.step("save.lease.before")
    with Lease(depot, kind) as lease:
        depot.step("save.lease.after")
        batch = depot.blobs.batch(lease.id)
        session = Session(depot, lease, batch)
        try:
            yield session
        finally:
            _clear(depot, session)


@contextmanager
def join_session(depot: Depot, lease_id: str) -> Iterator[Session]:
    """A part of a write that another process commits: blobs only; what is not published goes when it is left

    What is published and never committed is removed by a collection, as the lease ends.
    """
    session = Session(depot, Joined(lease_id), depot.blobs.batch(lease_id))
    try:
        yield session
    finally:
        _clear(depot, session)


def _clear(depot: Depot, session: Session) -> None:
    """A failure here must not hide the one that led here"""
    try:
        session.clear()
    except StoreError as e:
        depot.monitor(Warn(f"The unfinished write could not be cleared, the next command does it: {e}"))
