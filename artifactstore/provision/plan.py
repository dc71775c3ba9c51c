"""Plan: what of each model is here, what is to be fetched, and whether there is room"""

import re
import shutil
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from artifactstore import depot as depots
from artifactstore.catalog.base import VersionInfo
from artifactstore.core.errors import NotFound, Offline, StoreError
from artifactstore.core.hub import ENDPOINT, HubRef
from artifactstore.core.names import AliasName
from artifactstore.core.origin import Folder, StoreRef, WebFile
from artifactstore.core.registry import Model
from artifactstore.depot import Depot
from artifactstore.foreign import open_foreign
from artifactstore.ops import fetch, ingest
from artifactstore.ops.fetch import LATEST, RemotePlan
from artifactstore.ops.ingest import IngestPlan, Labels
from artifactstore.ops.transfer import carry
from artifactstore.ops.transfer.source import LocalFile
from artifactstore.ops.transfer.threads import start_pool
from artifactstore.session import Tags
from artifactstore.upstream.base import Upstream
from artifactstore.upstream.reach import Reach

_COMMIT = re.compile(r"[0-9a-f]{40}")
_HELP = "bring it by: artstore fetch {name} with a network, artstore pull REMOTE, or a bundle"


@dataclass(frozen=True, slots=True)
class FetchOptions:
    """How models are fetched

    partials: the folder for what is half fetched. root: the folder that relative folders and destinations lie below.
    endpoint: the hub; token: sent to it and nowhere else. jobs: files at once. timeout: seconds for everything. force:
    fetch what is here again, and overwrite other content in destinations.
    """

    partials: Path
    root: Path = field(default_factory=Path)
    endpoint: str = ENDPOINT
    token: str | None = field(default=None, repr=False)
    jobs: int = 4
    timeout: float | None = None
    force: bool = False
    reach: Reach = field(default_factory=Reach)

    def within(self, timeout: float | None) -> "FetchOptions":
        """The same with so many seconds for everything, None for no bound"""
        return replace(self, timeout=timeout)


@dataclass(frozen=True, slots=True)
class CarriedPlan:
    """A version that another store has"""

    url: str
    version: VersionInfo
    carry: carry.CarryPlan


@dataclass(frozen=True, slots=True)
class FetchItem:
    """What becomes of one model. version: it is here, whole. error: why it cannot be had"""

    model: Model
    work: RemotePlan | IngestPlan | CarriedPlan | None = None
    version: VersionInfo | None = None
    error: StoreError | None = None

    @property
    def state(self) -> str:
        """`held`, `fetch` or `failed`"""
        return "failed" if self.error is not None else "held" if self.version is not None else "fetch"

    @property
    def nbytes(self) -> int | None:
        """Bytes of the model, None where nobody has said"""
        if self.version is not None:
            return self.version.nbytes
        if isinstance(self.work, CarriedPlan):
            return self.work.version.nbytes
        return self.model.size if self.work is None else self.work.nbytes

    @property
    def fetch_bytes(self) -> int:
        """Bytes that come over a network"""
        if self.version is not None:
            return 0
        if isinstance(self.work, RemotePlan):
            return sum(file.size for file in self.work.missing)
        return self.work.carry.nbytes if isinstance(self.work, CarriedPlan) else 0

    @property
    def new_bytes(self) -> int:
        """Bytes that the store may take more"""
        if self.version is None and isinstance(self.work, IngestPlan):
            return self.work.nbytes
        return self.fetch_bytes

    @property
    def license(self) -> str | None:
        """As the registry says, else its source"""
        if self.model.license is not None or not isinstance(self.work, RemotePlan):
            return self.model.license or (self.version.license if self.version is not None else None)
        return self.work.listing.license

    @property
    def gated(self) -> bool | None:
        """Whether it must be asked for at its source, None where nobody has said"""
        return self.work.listing.gated if isinstance(self.work, RemotePlan) else self.model.gated

    def to_json(self) -> dict[str, Any]:
        """With stable keys"""
        held = None if self.nbytes is None or self.state == "failed" else self.nbytes - self.new_bytes
        return {
            "name": self.model.name,
            "artifact": str(self.model.artifact),
            "destination": str(self.model.destination),
            "source": str(self.model.origin),
            "license": self.license,
            "gated": self.gated,
            "state": self.state,
            "id": None if self.version is None else str(self.version.id),
            "commit": self.work.listing.commit if isinstance(self.work, RemotePlan) else None,
            "bytes": self.nbytes,
            "held_bytes": held,
            "fetch_bytes": self.fetch_bytes,
            "error": None if self.error is None else told(self.error),
        }


def told(error: StoreError) -> dict[str, Any]:
    """An error as JSON has it"""
    return {"error": error.code, "message": error.message, "facts": error.facts}


@dataclass(frozen=True, slots=True)
class FetchPlan:
    """What `run` will do. free: bytes free where the store is, None where that has no meaning; partials_free likewise

    together: the store and what is half fetched lie on one disk.
    """

    items: tuple[FetchItem, ...]
    options: FetchOptions
    free: int | None
    partials_free: int
    together: bool

    @property
    def fetch_bytes(self) -> int:
        """Bytes that come over a network; those of one content once"""
        return _once(self.items)

    @property
    def new_bytes(self) -> int:
        """Bytes that the store may take more"""
        others = (item.new_bytes for item in self.items if not isinstance(item.work, RemotePlan))
        return _once(item for item in self.items if isinstance(item.work, RemotePlan)) + sum(others)

    @property
    def free_after(self) -> int | None:
        """Bytes free where the store is, when all is fetched"""
        return None if self.free is None else self.free - self.new_bytes

    def to_json(self) -> dict[str, Any]:
        """For people and programs to read before it runs"""
        return {
            "models": [item.to_json() for item in self.items],
            "fetch_bytes": self.fetch_bytes,
            "new_bytes": self.new_bytes,
            "free_bytes": self.free,
            "free_after_bytes": self.free_after,
        }


def _once(items: Iterable[FetchItem]) -> int:
    chosen = [item for item in items if item.state == "fetch"]
    files = {
        file.digest: file.size for item in chosen if isinstance(item.work, RemotePlan) for file in item.work.missing
    }
    return sum(files.values()) + sum(item.fetch_bytes for item in chosen if not isinstance(item.work, RemotePlan))


def plan(depot: Depot, models: Sequence[Model], options: FetchOptions) -> FetchPlan:
    """Ask every source, several at once, and look into the store; what a model's source raises is its item's error"""
    options = bounded(options)
    with start_pool(max(1, min(options.jobs, len(models))), "artstore-plan") as pool:
        items = tuple(pool.map(partial(_look, depot, options=options), models))
    place, folder = _standing(options.partials), depots.folder_of(depot.blobs)
    together = folder is not None and _standing(folder).stat().st_dev == place.stat().st_dev
    return FetchPlan(items, options, depot.blobs.free(), shutil.disk_usage(place).free, together)


def _standing(folder: Path) -> Path:
    """The folder, or the nearest above it that is there"""
    folder = folder.absolute()
    return next(path for path in (folder, *folder.parents) if path.exists())


def bounded(options: FetchOptions) -> FetchOptions:
    """The same with the end of its time as a moment: from now, unless that was said before"""
    if options.timeout is None or options.reach.until is not None:
        return options
    return replace(options, reach=replace(options.reach, until=time.monotonic() + options.timeout))


def _look(depot: Depot, model: Model, options: FetchOptions) -> FetchItem:
    try:
        match model.origin:
            case Folder(path):
                return _folder(depot, model, options.root / Path(path).expanduser())
            case StoreRef():
                return _store(depot, model, model.origin)
            case _ if depot.settings.offline:
                return _offline(depot, model)
            case _:
                found = fetch.plan(depot, model, _upstream(model.origin, options), force=options.force)
                return FetchItem(model, found, found.version)
    except StoreError as e:
        return FetchItem(model, error=e)


def _upstream(origin: HubRef | WebFile, options: FetchOptions) -> Upstream:
    # urllib3 opens a socket when it is imported, to see whether there is IPv6
    from artifactstore.upstream.guard import Place  # noqa: PLC0415
    from artifactstore.upstream.hub import HubUpstream  # noqa: PLC0415
    from artifactstore.upstream.web import WebUpstream  # noqa: PLC0415

    if isinstance(origin, WebFile):
        return WebUpstream(origin.url, origin.sha256, reach=options.reach)
    # the whole list, as what is here of this commit may be more than one file
    repo = replace(origin, file=None)
    reach = options.reach
    if options.endpoint != ENDPOINT:
        # whoever names a mirror in the house may call it by a public name
        reach = replace(reach, trusted=reach.trusted | {Place.of(options.endpoint).host})
    return HubUpstream(repo, endpoint=options.endpoint, token=options.token, reach=reach)


def _offline(depot: Depot, model: Model) -> FetchItem:
    version = fetch.find_version(depot, model)
    if version is None:
        raise missing(model)
    lost = fetch.lacking(depot, model, version)
    if lost:
        raise Offline(
            f"{model.name} is here as {version.ref}, without {', '.join(lost)}; {_HELP.format(name=model.name)}",
            model=model.name,
            missing=list(lost),
        )
    return FetchItem(model, version=version)


def missing(model: Model) -> Offline:
    """The error for a model that is not here where no network may be used"""
    return Offline(
        f"{model.name} ({model.origin}) is not here; {_HELP.format(name=model.name)}",
        model=model.name,
        source=str(model.origin),
    )


def _folder(depot: Depot, model: Model, folder: Path) -> FetchItem:
    if not folder.is_dir() or not any(folder.iterdir()):
        raise NotFound(
            f"{model.name} is a local model and {folder} is empty; put its files there", code="folder", path=str(folder)
        )
    sources = tuple(file for file in ingest.look([folder], depots.folder_of(depot.blobs)) if model.wants(file.path))
    said = ingest.provenance(sources, depot.monitor)
    labels = Labels(
        created=ingest.newest_change(sources),
        phase=model.phase,
        license=model.license or said.license,
        metadata={"kind": model.kind} if model.kind else {},
    )
    parents = said.beside((), model.artifact)
    work = IngestPlan(model.artifact, sources, labels, parents, Tags(aliases=(LATEST,)))
    return FetchItem(model, work, _same(depot, model, sources, labels.created))


def _same(depot: Depot, model: Model, sources: Sequence[LocalFile], created: int) -> VersionInfo | None:
    """The version made of files of these names, sizes and times"""
    files = [(file.path, file.size) for file in sources]
    for version in fetch.versions_of(depot, model.artifact):
        if version.created == created and version.files == len(files):
            stored = [(file.path, file.size) for file in depot.catalog.versions.files(version.id)]
            if stored == files:
                return version
    return None


def _store(depot: Depot, model: Model, origin: StoreRef) -> FetchItem:
    with open_foreign(origin.url, settings=depot.settings, monitor=depot.monitor) as source:
        version = source.catalog.versions.resolve(origin.ref)
        work = carry.plan(source, depot, [version])
    held = None if work.versions else depot.catalog.versions.get(version.id)
    return FetchItem(model, CarriedPlan(origin.url, version, work), held)


def alias_of(model: Model) -> tuple[AliasName, ...]:
    """The alias by which a model is found again: its revision where that is a name, else `latest`"""
    if model.revision is None:
        return (LATEST,)
    try:
        return () if _COMMIT.fullmatch(model.revision) else (AliasName(model.revision),)
    except StoreError:
        return ()
