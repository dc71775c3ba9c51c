"""Ingest: files become a version; plan looks at them, run takes them in"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, NoReturn

from artifactstore.catalog.base import Committed
from artifactstore.core.digest import Sha256
from artifactstore.core.errors import Corrupt, Invalid, NoSpace, NotFound
from artifactstore.core.events import Monitor, Warn
from artifactstore.core.formats import index
from artifactstore.core.formats.detect import examine
from artifactstore.core.lineage import Link
from artifactstore.core.manifest import BlobInfo, FileEntry, Manifest
from artifactstore.core.names import ArtifactName, SafePath, refuse_collisions
from artifactstore.core.provenance.base import Provenance
from artifactstore.core.provenance.gather import gather
from artifactstore.core.units import format_size
from artifactstore.depot import Depot
from artifactstore.ops.transfer.cutter import cut_sources, entries
from artifactstore.ops.transfer.held import HeldFile
from artifactstore.ops.transfer.source import LocalFile, LocalReading, Source, looking_at
from artifactstore.ops.transfer.upload import Upload
from artifactstore.session import Session, Tags, in_session

_LARGEST_INDEX = 256 << 20
_PHASE = re.compile(r"phase_[A-Za-z0-9._-]+")
_DIGITS = re.compile(r"(\d+)")


@dataclass(frozen=True, slots=True)
class Labels:
    """What the giver says about a version; part of its manifest. created: microseconds since 1970 UTC"""

    created: int
    phase: str | None = None
    step: int | None = None
    epoch: float | None = None
    request_id: str | None = None
    license: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class IngestPlan:
    """Which sources become which version. expected: what is known of the bytes of some of them beforehand"""

    artifact: ArtifactName
    sources: tuple[Source, ...]
    labels: Labels
    parents: tuple[Link, ...] = ()
    tags: Tags = field(default_factory=Tags)
    expected: Mapping[SafePath, Sha256] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def nbytes(self) -> int:
        """Bytes of all sources"""
        return sum(source.size for source in self.sources)

    def to_json(self) -> dict[str, Any]:
        """For people and programs to read before it runs"""
        return {
            "artifact": str(self.artifact),
            "files": [{"path": str(s.path), "size": s.size, "format": s.info.format} for s in self.sources],
            "logical_bytes": self.nbytes,
            "license": self.labels.license,
            "parents": [link.to_json() for link in self.parents],
        }


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What was taken in: the version, bytes read, bytes that were new"""

    committed: Committed
    read_bytes: int
    new_bytes: int


def look(paths: Sequence[Path], skip: Path | None = None) -> tuple[LocalFile, ...]:
    """The files of these paths as sources in path order; a folder gives its contents

    skip: a folder left out, the store itself. Raise Invalid for what cannot be stored, NotFound for what is not there.
    """
    found: dict[SafePath, Path] = {}
    for path in paths:
        with looking_at(path):
            files = _files(path, skip, prefix=len(paths) > 1)
        for name, local in files:
            if name in found:
                raise Invalid(f"Two files would be {name}: {found[name]} and {local}", code="collision", path=name)
            found[name] = local
    if not found:
        raise Invalid(f"No files under {', '.join(map(str, paths)) or 'no path'}", code="empty")
    return look_at(found)


def look_at(found: Mapping[SafePath, Path]) -> tuple[LocalFile, ...]:
    """Files by their paths in the version as sources in path order; raise Invalid for what cannot be stored"""
    refuse_collisions(found)
    examined = tuple(examine_file(name, found[name]) for name in sorted(found))
    check_indexes(examined)
    return examined


def _files(path: Path, skip: Path | None, *, prefix: bool) -> list[tuple[SafePath, Path]]:
    """(path in the version, file) of one path that was given; prefix: a folder's files keep its name"""
    if not path.exists():
        raise NotFound(f"No such file or folder: {path}", code="file", path=str(path))
    root = path.resolve()
    if not path.is_dir():
        return [(SafePath.from_local(path.name), root)]
    above = PurePosixPath(root.name) if prefix else PurePosixPath()
    return [(SafePath.from_local(str(above / relative)), local) for relative, local in _walk(root, skip)]


def _walk(root: Path, skip: Path | None) -> list[tuple[str, Path]]:
    """(relative POSIX path, file) of a tree, without `.git`, the store, or anything a link leads outside to"""
    found = []
    for folder, names, leaves in os.walk(root, onerror=_cannot_list):
        here = Path(folder)
        for name in names:
            if (here / name).is_symlink():
                raise Invalid(f"{here / name} is a link to a folder; give that folder itself", code="link")
        names[:] = sorted(n for n in names if n != ".git" and (skip is None or (here / n).resolve() != skip.resolve()))
        for leaf in leaves:
            local = here / leaf
            found.append((local.relative_to(root).as_posix(), _inside(local, root)))
    return found


def _cannot_list(error: OSError) -> NoReturn:
    raise error


def _inside(local: Path, root: Path) -> Path:
    if not local.is_symlink():
        return local
    try:
        target = local.resolve(strict=True)
    except (OSError, RuntimeError) as e:
        raise Invalid(f"{local} is a link to nothing; remove it", code="link", path=str(local)) from e
    if not target.is_relative_to(root):
        raise Invalid(
            f"{local} is a link that leaves {root}; copy the file there, or add the folder it leads to", code="link"
        )
    return target


def examine_file(name: SafePath, local: Path) -> LocalFile:
    """A file of this machine as a source; raise Invalid for what cannot be stored, NotFound for what is not there"""
    reading = LocalReading(local)
    try:
        # a link may lead to a file whose own name tells no format, as in a cache of blobs
        info = examine(reading, str(local if local.suffix == PurePosixPath(name).suffix else name))
        return LocalFile(name, local, reading.stamp, info)
    finally:
        reading.abandon()


def check_indexes(files: Sequence[LocalFile | HeldFile]) -> None:
    """Raise Invalid when a sharded model is not what its index says"""
    infos = {str(file.path): file.info for file in files}
    for file in files:
        if not index.is_index(file.path) or file.size > _LARGEST_INDEX:
            continue
        shards = index.parse(read_head(file, file.size), file.path)
        if shards is not None:
            index.check(shards, infos)


def read_head(file: LocalFile | HeldFile, length: int) -> bytes:
    """The first so many bytes of a source"""
    reading = file.open()
    try:
        return reading.read(0, length)
    finally:
        reading.abandon()


def provenance(files: Sequence[LocalFile | HeldFile], monitor: Monitor) -> Provenance:
    """Parents and licence as the files say them: cards, recipes, adapter configs, headers of weights

    What cannot be understood is told to the monitor and passed over.
    """
    return gather(files, read_head, lambda text: monitor(Warn(text)))


def phases(folder: Path) -> list[tuple[str | None, list[Path]]]:
    """(phase, paths) of a `phase_0/ phase_1/ … latest.pt` layout in order of the phases, then (None, what lies beside)

    Empty when the folder has no such layout.
    """
    entries = sorted(folder.iterdir()) if folder.is_dir() else []
    named = [entry for entry in entries if entry.is_dir() and _PHASE.fullmatch(entry.name)]
    beside = [entry for entry in entries if entry not in named and entry.name not in {".git", ".artstore"}]
    ordered = sorted(
        named, key=lambda entry: [int(part) if part.isdigit() else part for part in _DIGITS.split(entry.name)]
    )
    found: list[tuple[str | None, list[Path]]] = [(entry.name, [entry]) for entry in ordered]
    return [*found, (None, beside)] if found and beside else found


def newest_change(files: Sequence[LocalFile]) -> int:
    """When the youngest of the files was last modified, microseconds: the `created` of what they become"""
    return max(file.stamp.mtime_ns for file in files) // 1000


def run(depot: Depot, plan: IngestPlan) -> IngestReport:
    """Take the sources in as one version; the same sources and labels twice give the version that is there

    Raise NoSpace before any work when the bytes cannot fit, Invalid when a source changed while it was read, Corrupt
    when its bytes are not those that were expected.
    """
    check_room(depot, plan.nbytes)
    return in_session(depot, "save", lambda session: _take_in(depot, session, plan))


def _take_in(depot: Depot, session: Session, plan: IngestPlan) -> IngestReport:
    session.build_on(plan.parents)
    memory = depot.settings.memory
    with Upload(session, memory=memory, monitor=depot.monitor, phase="add", total=plan.nbytes) as upload:
        drafts = cut_sources(upload, plan.sources)
        written = upload.finish()
    files, infos = entries(drafts)
    for file in files:
        if plan.expected.get(file.path, file.sha256) != file.sha256:
            raise _unexpected(plan, file)
    manifest = manifest_of(plan.artifact, plan.labels, plan.parents, files, infos)
    blobs = [written[blob.digest] for blob in manifest.blobs]
    committed = session.commit(manifest, blobs, plan.tags, depot.clock())
    return IngestReport(committed, upload.tally.read, upload.tally.written)


def _unexpected(plan: IngestPlan, file: FileEntry) -> Corrupt:
    source = next(source for source in plan.sources if source.path == file.path)
    where = source.local if isinstance(source, LocalFile) else file.path
    return Corrupt(
        f"{where} is damaged: its bytes have the sha256 {file.sha256}, expected {plan.expected[file.path]}; remove it "
        f"and download it again. Nothing of {plan.artifact} was taken in",
        code="file",
        path=str(where),
    )


def manifest_of(
    artifact: ArtifactName,
    labels: Labels,
    parents: tuple[Link, ...],
    files: tuple[FileEntry, ...],
    blobs: tuple[BlobInfo, ...],
) -> Manifest:
    """The manifest of a version with these labels"""
    return Manifest(
        artifact=artifact,
        created=labels.created,
        files=files,
        blobs=blobs,
        parents=parents,
        phase=labels.phase,
        step=labels.step,
        epoch=labels.epoch,
        request_id=labels.request_id,
        license=labels.license,
        metadata=labels.metadata,
    )


def check_room(depot: Depot, nbytes: int) -> None:
    """Raise NoSpace for what cannot fit even if all that is stored already were found again in it"""
    free = depot.blobs.free()
    if free is None:
        return
    _, stored = depot.catalog.blobs.totals()
    need = nbytes - stored
    room = max(free - depot.settings.reserve, 0)
    if need > room:
        raise NoSpace(
            f"{format_size(nbytes)} to add, at least {format_size(need)} of it new; {format_size(free)} are free "
            f"at {depot.blobs.url}, {format_size(depot.settings.reserve)} of them kept back; make room or go elsewhere",
            need=need,
            free=room,
        )
