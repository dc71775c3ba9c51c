"""Fetch: which files of a model elsewhere are not here yet, and those brought to this machine"""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from artifactstore.catalog.base import VersionInfo
from artifactstore.core import essential
from artifactstore.core.digest import Digest
from artifactstore.core.errors import NotFound, StoreError, Unavailable
from artifactstore.core.events import Event, Progress
from artifactstore.core.hub import UPSTREAM, HubRef, Listing, RemoteFile, commit_said
from artifactstore.core.manifest import FileEntry, Manifest
from artifactstore.core.names import AliasName, ArtifactName
from artifactstore.core.registry import Model
from artifactstore.depot import Depot
from artifactstore.ops.transfer.fetch import fetch_file, load_manifest
from artifactstore.ops.transfer.threads import start_pool
from artifactstore.upstream.base import Upstream
from artifactstore.upstream.download import fill
from artifactstore.upstream.partial import Partial, PartialKey, Partials
from artifactstore.upstream.reach import Reach

LATEST = AliasName("latest")
_WORTH_A_SEARCH = 1 << 16


@dataclass(frozen=True, slots=True)
class HeldEntry:
    """A file that a version in the store has"""

    version: VersionInfo
    manifest: Manifest
    entry: FileEntry


@dataclass(frozen=True, slots=True)
class WantedFile:
    """A file of a model, and where the store has its bytes, None where they must be fetched"""

    file: RemoteFile
    held: HeldEntry | None = None


@dataclass(frozen=True, slots=True)
class RemotePlan:
    """What of a model elsewhere is here. version: all of it is, as this version"""

    upstream: Upstream
    listing: Listing
    files: tuple[WantedFile, ...]
    version: VersionInfo | None = None

    @property
    def missing(self) -> tuple[RemoteFile, ...]:
        """Files whose bytes must be fetched; those of one content once"""
        found = {one.file.digest: one.file for one in reversed(self.files) if one.held is None}
        return tuple(reversed(found.values()))

    @property
    def nbytes(self) -> int:
        """Bytes of all its files"""
        return sum(one.file.size for one in self.files)


def plan(depot: Depot, model: Model, upstream: Upstream, *, force: bool = False) -> RemotePlan:
    """Ask what there is now, and look for it in the store; force: as if nothing were here

    Raise what the upstream does, NotFound when it has no file that the model wants.
    """
    listing = upstream.list()
    chosen = {file.path for file in listing.files if model.wants(file.path)}
    if not chosen:
        raise NotFound(f"{listing.source} has no {_described(model)}", code="files", source=listing.source)
    versions = versions_of(depot, model.artifact)
    if listing.commit is None:
        files = [file for file in listing.files if file.path in chosen]
        same = _same(depot, versions, files)
    else:
        same = next((one for one in versions if _commit(depot, one) == listing.commit), None)
        # what of this commit is here stays with what is added to it
        chosen |= {file.path for file in depot.catalog.versions.files(same.id)} if same is not None else set()
        files = [file for file in listing.files if file.path in chosen]
    if force:
        return RemotePlan(upstream, listing, tuple(map(WantedFile, files)))
    if same is not None and same.files == len(files) and not lacking(depot, model, same):
        return RemotePlan(upstream, listing, tuple(map(WantedFile, files)), same)
    shelf = _Shelf(depot, versions)
    wanted = tuple(WantedFile(file, shelf.find(file)) for file in files)
    return RemotePlan(upstream, listing, wanted)


def _described(model: Model) -> str:
    if isinstance(model.origin, HubRef) and model.origin.file is not None:
        return f"file {model.origin.file}"
    globs = ", ".join((*model.include, *(f"not {glob}" for glob in model.exclude)))
    return f"files that match {globs}" if globs else "files"


def _same(depot: Depot, versions: Sequence[VersionInfo], files: Sequence[RemoteFile]) -> VersionInfo | None:
    """The version that is these files and nothing else, for a source that has no commits"""
    wanted = {(file.path, file.sha256) for file in files}
    for version in versions:
        if version.files == len(wanted) and wanted == {
            (file.path, file.sha256) for file in depot.catalog.versions.files(version.id)
        }:
            return version
    return None


def versions_of(depot: Depot, artifact: ArtifactName) -> Sequence[VersionInfo]:
    """The versions of an artifact, the newest first"""
    return depot.catalog.versions.list(glob=artifact, sort="number:desc")


def _said(depot: Depot, version: VersionInfo) -> Mapping[str, Any]:
    """What a version says of where it was fetched"""
    said = depot.catalog.versions.metadata(version.id).get(UPSTREAM)
    return said if isinstance(said, dict) else {}


def _commit(depot: Depot, version: VersionInfo) -> str | None:
    return commit_said(depot.catalog.versions.metadata(version.id))


class _Shelf:
    """Finds files in the store: by their sha256, or by the id that git gave to those that were fetched

    The ids of the artifact's own versions are known; larger files are looked for in all others.
    """

    def __init__(self, depot: Depot, versions: Sequence[VersionInfo]) -> None:
        self._depot = depot
        self._manifests: dict[Digest, Manifest] = {}
        self._oids: dict[str, tuple[VersionInfo, str]] = {}
        for version in reversed(versions):
            self._note(version)

    def _note(self, version: VersionInfo) -> None:
        oids = _said(self._depot, version).get("oids")
        if isinstance(oids, dict):
            self._oids |= {str(oid): (version, path) for path, oid in oids.items()}

    def find(self, file: RemoteFile) -> HeldEntry | None:
        """Where its bytes are; None when they are nowhere, or damaged"""
        if file.sha256 is not None:
            for version in self._depot.catalog.versions.holding(file.sha256):
                held = self._entry(version, lambda entry: entry.sha256 == file.sha256)
                if held is not None:
                    return held
        if file.git_oid is None:
            return None
        if file.git_oid not in self._oids and file.size >= _WORTH_A_SEARCH:
            for version in self._depot.catalog.versions.search(file.git_oid):
                self._note(version)
        found = self._oids.get(file.git_oid)
        return None if found is None else self._entry(found[0], lambda entry: entry.path == found[1])

    def _entry(self, version: VersionInfo, fits: Callable[[FileEntry], bool]) -> HeldEntry | None:
        if version.id not in self._manifests:
            self._manifests[version.id] = load_manifest(self._depot, version.id)
        manifest = self._manifests[version.id]
        entry = next((entry for entry in manifest.files if fits(entry)), None)
        if entry is None or _unsound(self._depot, [blob.digest for _, blob, _ in manifest.runs(entry)]):
            return None
        return HeldEntry(version, manifest, entry)


def _unsound(depot: Depot, digests: Sequence[Digest]) -> int:
    """How many blobs are damaged or gone"""
    places = depot.catalog.blobs.places(digests)
    return sum(one not in places or places[one].state == "damaged" for one in digests)


def find_version(depot: Depot, model: Model) -> VersionInfo | None:
    """The version of a model that is here, without asking its source; None when there is none

    A revision is one by its alias or commit; without one the version counts that `latest` names, else the newest.
    """
    versions = versions_of(depot, model.artifact)
    if model.revision is not None:
        named = (one for one in versions if model.revision in one.aliases or _commit(depot, one) == model.revision)
        return next(named, None)
    return next((one for one in versions if LATEST in one.aliases), versions[0] if versions else None)


def lacking(depot: Depot, model: Model, version: VersionInfo) -> tuple[str, ...]:
    """What a version lacks to be the whole model: essential files, and blobs that are damaged or gone"""
    manifest = load_manifest(depot, version.id)
    entries = {str(file.path): file for file in manifest.files if model.wants(file.path)}
    bad = _unsound(depot, [blob.digest for blob in manifest.blobs])
    if bad:
        return (f"{bad} of its blobs, which are damaged",)
    if not model.declared:
        return () if entries else (f"a file that is wanted of {model.name}",)
    return essential.missing(list(entries), lambda path: fetch_file(depot, manifest, entries[path]))


class Downloads:
    """Files on their way, several at once; each stays held by this process until the block ends

    What came of a file is kept for the next time, unless `discard` says that it was taken in.
    """

    def __init__(self, depot: Depot, partials: Partials, *, jobs: int, reach: Reach) -> None:
        self._depot, self._partials, self._reach = depot, partials, reach
        self._pool = start_pool(max(1, jobs), "artstore-download")
        self._files: dict[str, Future[Partial]] = {}
        self._uses: Counter[str] = Counter()
        self._done: dict[str, int] = {}
        self._total = 0
        self._lock = threading.Lock()
        self._over = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._pool.shutdown(wait=True, cancel_futures=True)
        for future in self._files.values():
            if not future.cancelled() and future.exception() is None:
                future.result().close()

    def start(self, plan: RemotePlan) -> None:
        """Begin with the files of a plan, behind those that were begun before; one content is fetched once"""
        for file in plan.missing:
            self._uses[file.digest] += 1
            if file.digest not in self._files:
                self._total += file.size
                self._files[file.digest] = self._pool.submit(self._fetch, plan.upstream, file)

    def wait(self, plan: RemotePlan) -> dict[str, Path]:
        """The whole and verified files of a plan by digest; raise the first failure of one, giving up the others"""
        try:
            return {file.digest: self._files[file.digest].result().path for file in plan.missing}
        except StoreError:
            for file in plan.missing:
                if self._uses[file.digest] == 1:
                    self._files[file.digest].cancel()
            raise

    def discard(self, plan: RemotePlan) -> None:
        """Remove the files of a plan that no other needs: they were taken in"""
        for file in plan.missing:
            self._uses[file.digest] -= 1
            if not self._uses[file.digest]:
                self._files[file.digest].result().discard()

    def _fetch(self, upstream: Upstream, file: RemoteFile) -> Partial:
        held = self._partials.claim(PartialKey.of(upstream.source, file))
        try:
            fill(upstream, file, held, reach=replace(self._reach, monitor=partial(self._hear, file.digest)))
        except BaseException:
            held.close()
            raise
        return held

    def _hear(self, digest: str, event: Event) -> None:
        if self._over.is_set():
            raise Unavailable("The fetch was ended; what came is kept", code="ended")
        if not isinstance(event, Progress):
            self._depot.monitor(event)
            return
        with self._lock:
            self._done[digest] = event.done
            done = sum(self._done.values())
        self._depot.monitor(Progress("fetch", done, self._total))


def begun_bytes(partials: Partials, files: Iterable[RemoteFile]) -> int:
    """Bytes of these files that an earlier try has brought"""
    there = {one.key.digest: one.nbytes for one in partials.stale(timedelta(days=-1)) if one.key is not None}
    return sum(min(there.get(file.digest, 0), file.size) for file in files)
