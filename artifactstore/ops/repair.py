"""Repair: damage is refilled from another store, from plain files, or from what was set aside"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from artifactstore.blobs.layout import blob_key, manifest_key
from artifactstore.catalog.base import Place, Written
from artifactstore.core.decode import read_manifest
from artifactstore.core.digest import Digest
from artifactstore.core.errors import Invalid, NotFound, StoreError
from artifactstore.core.manifest import MAX_BLOB, Extent, FileEntry, Manifest
from artifactstore.depot import Depot
from artifactstore.ops.transfer.fetch import load_manifest
from artifactstore.ops.transfer.source import LocalReading, looking_at
from artifactstore.ops.transfer.strays import StoreAccess, find_bytes
from artifactstore.session import Session, in_session

_BATCH = 64


@dataclass(frozen=True, slots=True)
class RepairPlan:
    """What is known to be damaged, of all versions or of some"""

    blobs: tuple[Place, ...]
    manifests: tuple[Place, ...]

    def to_json(self) -> dict[str, Any]:
        """For people and programs to read before it runs"""
        return {"blobs": [str(p.digest) for p in self.blobs], "manifests": [str(p.digest) for p in self.manifests]}


@dataclass(frozen=True, slots=True)
class RepairReport:
    """What came back, and what nobody offered"""

    healed: tuple[Digest, ...]
    left: tuple[Digest, ...]
    bytes: int


def plan(depot: Depot, versions: Sequence[Digest] | None = None) -> RepairPlan:
    """Everything that verify, or a reader, found damaged"""
    blobs = [place for place in depot.catalog.blobs.all(versions=versions) if place.state == "damaged"]
    manifests = [place for place in depot.catalog.blobs.manifests(versions=versions) if place.state == "damaged"]
    return RepairPlan(tuple(blobs), tuple(manifests))


def run(depot: Depot, plan: RepairPlan, *, store: StoreAccess | None = None, files: Path | None = None) -> RepairReport:
    """Write what a donor has, checked against its name, and make it live

    store: another store's bytes, trusted for nothing but bytes that match; files: a folder of plain model files.
    Without either, incarnations of this store that were set aside or left over are tried.
    """
    found = [
        (place, raw)
        for place in plan.manifests
        if (raw := find_bytes(store or depot.blobs, place.digest, place.size, manifest_key))
    ]
    healed = _heal(depot, manifests=found)
    donors: list[Donor] = [StoreDonor(store or depot.blobs)]
    if files is not None:
        donors = [FilesDonor(depot, files)]
    nbytes = sum(len(raw) for _, raw in found)
    for first in range(0, len(plan.blobs), _BATCH):
        part = plan.blobs[first : first + _BATCH]
        size, digests = _heal_blobs(depot, part, donors)
        nbytes += size
        healed += digests
    depot.export_journal()
    left = {place.digest for place in plan.blobs + plan.manifests} - set(healed)
    return RepairReport(tuple(healed), tuple(sorted(left)), nbytes)


class Donor(Protocol):
    """Somebody who may have the bytes of a blob"""

    def find(self, place: Place) -> bytes | None:
        """Bytes whose digest is the blob's, or None"""


def _heal_blobs(depot: Depot, places: Sequence[Place], donors: Sequence[Donor]) -> tuple[int, list[Digest]]:
    def work(session: Session) -> list[Written]:
        written: list[Written] = []
        for place in places:
            raw = next((raw for donor in donors if (raw := donor.find(place)) is not None), None)
            if raw is None:
                continue
            grant = session.want([place.digest])[0]
            written.append(session.write(grant, raw) if grant.upload else session.found(grant, len(raw)))
        if written:
            session.heal(written)
        return written

    healed = in_session(depot, "repair", work)
    return sum(item.size for item in healed), [item.grant.digest for item in healed]


def _heal(depot: Depot, manifests: Sequence[tuple[Place, bytes]]) -> list[Digest]:
    def work(session: Session) -> int:
        written = [session.write_manifest(place.digest, raw) for place, raw in manifests]
        return session.heal((), written, [read_manifest(raw, place.digest) for place, raw in manifests])

    if manifests:
        in_session(depot, "repair", work)
    return [place.digest for place, _ in manifests]


class StoreDonor:
    """Another store, or this one's leftovers: any incarnation will do whose bytes match"""

    def __init__(self, blobs: StoreAccess) -> None:
        self._blobs = blobs

    def find(self, place: Place) -> bytes | None:
        """Read every incarnation in turn"""
        return find_bytes(self._blobs, place.digest, place.size, blob_key)


class FilesDonor:
    """Plain files: a blob is put together from the runs of every file that shares it, zero between them"""

    def __init__(self, depot: Depot, root: Path) -> None:
        with looking_at(root):
            if not root.exists():
                raise NotFound(f"No such file or folder: {root}", code="file", path=str(root))
            self._files = _sizes(root)
        self._depot = depot
        self._manifests: dict[Digest, Manifest | None] = {}

    def find(self, place: Place) -> bytes | None:
        """Try the files of each version that needs the blob, those of the same size, the same name first"""
        if place.size > MAX_BLOB:
            raise Invalid(f"Blob {place.digest} is larger than any blob may be", code="blob")
        for version in self._depot.catalog.versions.ids_with_blob(place.digest):
            manifest = self._manifest(version)
            for raw in self._assembled(place, manifest) if manifest else ():
                if Digest.of(raw) == place.digest:
                    return bytes(raw)
        return None

    def _manifest(self, version: Digest) -> Manifest | None:
        if version not in self._manifests:
            try:
                self._manifests[version] = load_manifest(self._depot, version)
            except StoreError:
                self._manifests[version] = None
        return self._manifests[version]

    def _assembled(self, place: Place, manifest: Manifest) -> Iterator[bytearray]:
        """What the blob would be, from the best candidate of each file, then from the second best, and so on"""
        wanted = []
        for file in manifest.files:
            runs = [(at, extent) for at, blob, extent in manifest.runs(file) if blob.digest == place.digest]
            if runs:
                wanted.append((runs, self._candidates(file)))
        if not all(candidates for _, candidates in wanted):
            return
        for turn in range(max((len(candidates) for _, candidates in wanted), default=0)):
            raw = bytearray(place.size)
            if all(_copy(candidates[min(turn, len(candidates) - 1)], runs, raw) for runs, candidates in wanted):
                yield raw

    def _candidates(self, file: FileEntry) -> list[Path]:
        same_size = self._files.get(file.size, [])
        return sorted(
            same_size, key=lambda path: (not path.as_posix().endswith(f"/{file.path}"), path.name != file.path)
        )


def _sizes(root: Path) -> dict[int, list[Path]]:
    found: dict[int, list[Path]] = {}
    paths = [root] if root.is_file() else [Path(folder) / name for folder, _, names in os.walk(root) for name in names]
    for path in paths:
        if path.is_file():
            found.setdefault(path.stat().st_size, []).append(path.resolve())
    return found


def _copy(local: Path, runs: Sequence[tuple[int, Extent]], raw: bytearray) -> bool:
    try:
        reading = LocalReading(local)
    except StoreError:
        return False
    try:
        for at, extent in runs:
            reading.fill(at, memoryview(raw)[extent.start : extent.start + extent.length])
    except StoreError:
        return False
    finally:
        reading.abandon()
    return True
