"""Run: what a plan says is fetched and taken in, each model as one version, then written out"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from glob import escape
from pathlib import Path
from typing import Any

from artifactstore.catalog.base import VersionInfo
from artifactstore.core import essential
from artifactstore.core.errors import Corrupt, Invalid, NoSpace, Refused, StoreError
from artifactstore.core.events import Warn
from artifactstore.core.hub import UPSTREAM
from artifactstore.core.lineage import Relation
from artifactstore.core.names import SafePath
from artifactstore.core.provenance import card
from artifactstore.core.registry import Model
from artifactstore.core.units import format_size
from artifactstore.depot import Depot
from artifactstore.foreign import open_foreign
from artifactstore.lease import reading
from artifactstore.ops import annotate, checkout, fetch, ingest
from artifactstore.ops.checkout import CheckoutReport
from artifactstore.ops.fetch import Downloads, RemotePlan
from artifactstore.ops.ingest import IngestPlan, Labels
from artifactstore.ops.transfer import carry
from artifactstore.ops.transfer.held import HeldFile
from artifactstore.ops.transfer.source import LocalFile, looking_at
from artifactstore.provision.plan import CarriedPlan, FetchItem, FetchOptions, FetchPlan, alias_of, bounded, told
from artifactstore.session import Tags
from artifactstore.upstream.partial import Partials

# how far the size of a model may be from what its registry says before that is told
_ODD = 1.5


@dataclass(frozen=True, slots=True)
class FetchOutcome:
    """What became of one model. fetched_bytes: came over a network. folder, written_bytes: where it was written out"""

    model: Model
    version: VersionInfo | None = None
    fetched_bytes: int = 0
    folder: Path | None = None
    written_bytes: int = 0
    error: StoreError | None = None

    def to_json(self) -> dict[str, Any]:
        """With stable keys"""
        version = self.version
        return {
            "name": self.model.name,
            "source": str(self.model.origin),
            "id": None if version is None else str(version.id),
            "ref": None if version is None else version.ref,
            "bytes": None if version is None else version.nbytes,
            "fetched_bytes": self.fetched_bytes,
            "folder": None if self.folder is None else str(self.folder),
            "written_bytes": self.written_bytes,
            "error": None if self.error is None else told(self.error),
        }


@dataclass(frozen=True, slots=True)
class FetchReport:
    """What became of each model, in the order of the plan"""

    outcomes: tuple[FetchOutcome, ...]

    @property
    def failed(self) -> tuple[FetchOutcome, ...]:
        """Those that are not here whole"""
        return tuple(one for one in self.outcomes if one.error is not None)

    def check(self) -> None:
        """Raise the first failure, with what the others of its kind say"""
        errors = [one.error for one in self.outcomes if one.error is not None]
        if errors:
            raise joined(errors)


def joined(errors: Sequence[StoreError]) -> StoreError:
    """One error for several: of the kind of the first, and with its facts when it is alone"""
    first = errors[0]
    if len(errors) == 1:
        return first
    alike = [one for one in errors if type(one) is type(first)]
    text = "; ".join(dict.fromkeys(one.message for one in alike))
    more = f"; {len(errors) - len(alike)} more failed otherwise" if len(alike) < len(errors) else ""
    return type(first)(
        text + more, code=first.code.removeprefix(first.kind).lstrip("."), errors=list(map(told, errors))
    )


def run(depot: Depot, plan: FetchPlan, *, checked_out: bool = False) -> FetchReport:
    """Fetch what is missing; checked_out: and write each model to its destination

    Raise NoSpace before any work. A model that fails leaves no version, and the others go on.
    """
    options = bounded(plan.options)
    partials = Partials(options.partials)
    outcomes: list[FetchOutcome] = []
    for batch in _batches(depot, plan, partials):
        with Downloads(depot, partials, jobs=options.jobs, reach=options.reach) as downloads:
            for item in batch:
                if isinstance(item.work, RemotePlan) and item.state == "fetch":
                    downloads.start(item.work)
            outcomes += [_settled(depot, item, downloads, options, checked_out=checked_out) for item in batch]
    return FetchReport(tuple(outcomes))


def _batches(depot: Depot, plan: FetchPlan, partials: Partials) -> list[list[FetchItem]]:
    """All models at once where there is room for what is half fetched beside what is stored, else one after another"""
    begun = [_to_come(item, partials) for item in plan.items]
    room = plan.partials_free
    if plan.free is not None:
        free = max(plan.free - depot.settings.reserve, 0)
        if plan.new_bytes > free:
            raise _no_room(plan.new_bytes, free, depot.blobs.url)
        if plan.together:
            room = free - plan.new_bytes
    if sum(begun) <= room:
        return [list(plan.items)]
    if max(begun) > room:
        need = max(begun) + (plan.new_bytes if plan.together else 0)
        raise _no_room(need, room + need - max(begun), str(partials.folder))
    return [[item] for item in plan.items]


def _to_come(item: FetchItem, partials: Partials) -> int:
    if item.state != "fetch" or not isinstance(item.work, RemotePlan):
        return 0
    return item.fetch_bytes - fetch.begun_bytes(partials, item.work.missing)


def _no_room(need: int, free: int, place: str) -> NoSpace:
    return NoSpace(
        f"{format_size(need)} are needed at {place} and {format_size(free)} are free; make room or go elsewhere",
        need=need,
        free=free,
    )


def _settled(
    depot: Depot, item: FetchItem, downloads: Downloads, options: FetchOptions, *, checked_out: bool
) -> FetchOutcome:
    try:
        if item.error is not None:
            raise item.error
        version = _brought(depot, item, downloads, options)
        fetched = item.fetch_bytes
    except StoreError as e:
        return FetchOutcome(item.model, error=e)
    if not checked_out:
        return FetchOutcome(item.model, version, fetched)
    try:
        folder, report = check_out(depot, item.model, version, options)
    except StoreError as e:
        return FetchOutcome(item.model, version, fetched, error=e)
    return FetchOutcome(item.model, version, fetched, folder, report.written_bytes)


def _brought(depot: Depot, item: FetchItem, downloads: Downloads, options: FetchOptions) -> VersionInfo:
    if item.version is not None:
        return _named(depot, item.model, item.version)
    match item.work:
        case RemotePlan():
            return _take_in(depot, item.model, item.work, downloads, options)
        case IngestPlan():
            _refuse_parts(item.model, item.work.sources)
            return ingest.run(depot, item.work).committed.version
        case CarriedPlan():
            return _carried(depot, item.model, item.work)
    raise AssertionError(item)


def _named(depot: Depot, model: Model, version: VersionInfo) -> VersionInfo:
    """The version, by the alias it will be looked for"""
    lacking = [alias for alias in alias_of(model) if alias not in version.aliases]
    if depot.read_only or not lacking:
        return version
    for alias in lacking:
        annotate.set_alias(depot, version.artifact, alias, version)
    return depot.catalog.versions.get(version.id)


def _carried(depot: Depot, model: Model, work: CarriedPlan) -> VersionInfo:
    with open_foreign(work.url, settings=depot.settings, monitor=depot.monitor) as source:
        carry.run(source, depot, carry.plan(source, depot, [work.version]))
    return _named(depot, model, depot.catalog.versions.get(work.version.id))


def _take_in(depot: Depot, model: Model, work: RemotePlan, downloads: Downloads, options: FetchOptions) -> VersionInfo:
    paths = downloads.wait(work)
    with ExitStack() as held:
        for version in {one.held.version.id for one in work.files if one.held is not None}:
            held.enter_context(reading(depot, version))
        sources = tuple(_source(depot, one, paths) for one in work.files)
        _refuse_parts(model, sources)
        _tell_odd(depot, model, work, sources)
        report = ingest.run(depot, _ingest_plan(depot, model, work, sources, options))
    downloads.discard(work)
    return report.committed.version


def _source(depot: Depot, one: fetch.WantedFile, paths: dict[str, Path]) -> LocalFile | HeldFile:
    if one.held is None:
        # its bytes were just held against what the hub says
        return replace(ingest.examine_file(one.file.path, paths[one.file.digest]), sha256=one.file.sha256)
    return HeldFile.of(depot, one.held.version, one.held.manifest, one.held.entry, one.file.path)


def _refuse_parts(model: Model, sources: Sequence[Any]) -> None:
    """Raise Corrupt for a model that lacks what it cannot be loaded without; what nobody declared may be anything"""
    if not model.declared:
        return
    by_path = {str(source.path): source for source in sources if model.wants(source.path)}
    lost = essential.missing(list(by_path), lambda path: ingest.read_head(by_path[path], by_path[path].size))
    if lost:
        raise Corrupt(
            f"{model.name} from {model.origin} is not whole: it lacks {', '.join(lost)[:500]}; nothing was stored, "
            "check its source and what include and exclude say",
            code="incomplete",
            model=model.name,
            missing=list(lost),
        )


def _tell_odd(depot: Depot, model: Model, work: RemotePlan, sources: Sequence[LocalFile | HeldFile]) -> None:
    try:
        ingest.check_indexes(sources)
    except Invalid as e:
        depot.monitor(Warn(f"{model.name}: {e.message}"))
    if model.size and not model.size / _ODD <= work.nbytes <= model.size * _ODD:
        depot.monitor(
            Warn(
                f"{model.name} has {format_size(work.nbytes)}, its registry expects {format_size(model.size)}; "
                "see what include and exclude should say"
            )
        )


def _ingest_plan(
    depot: Depot, model: Model, work: RemotePlan, sources: tuple[LocalFile | HeldFile, ...], options: FetchOptions
) -> IngestPlan:
    listing, monitor = work.listing, depot.monitor
    said = ingest.provenance(sources, monitor)
    declared = {"base_model": list(listing.base_models), "base_model_relation": listing.relation}
    listed = card.read(declared, listing.source, lambda: Relation.FINETUNE, lambda text: monitor(Warn(text)))
    labels = Labels(
        # the day of the commit, so that fetching it again gives the same version
        created=depot.clock() if listing.modified is None else listing.modified,
        phase=model.phase,
        license=model.license or listing.license or said.license,
        metadata=_metadata(model, work, options),
    )
    parents = listed.beside(said.beside((), model.artifact), model.artifact)
    return IngestPlan(model.artifact, sources, labels, parents, Tags(aliases=alias_of(model)))


def _metadata(model: Model, work: RemotePlan, options: FetchOptions) -> dict[str, Any]:
    listing = work.listing
    upstream: dict[str, Any] = {"source": listing.source}
    if listing.commit is not None:
        upstream |= {"endpoint": options.endpoint, "commit": listing.commit, "gated": listing.gated}
    oids = {str(one.file.path): one.file.git_oid for one in work.files if one.file.git_oid is not None}
    if oids:
        upstream["oids"] = oids
    return {UPSTREAM: upstream, **({"kind": model.kind} if model.kind else {})}


def check_out(depot: Depot, model: Model, version: VersionInfo, options: FetchOptions) -> tuple[Path, CheckoutReport]:
    """Write a model to its destination; what stands there of an earlier version of it is overwritten"""
    folder = options.root / model.destination
    only = [escape(path) for path in wanted_paths(depot, model, version)]
    if options.force:
        return folder, checkout.run(depot, checkout.plan(depot, version, folder, only=only, force=True))
    try:
        plan = checkout.plan(depot, version, folder, only=only)
    except Refused:
        if not _are_earlier(depot, model, version, folder):
            raise
        plan = checkout.plan(depot, version, folder, only=only, force=True)
    return folder, checkout.run(depot, plan)


def wanted_paths(depot: Depot, model: Model, version: VersionInfo) -> list[SafePath]:
    """The files of a version that belong to a model; others of its repository may be with them"""
    return [file.path for file in depot.catalog.versions.files(version.id) if model.wants(file.path)]


def _are_earlier(depot: Depot, model: Model, version: VersionInfo, folder: Path) -> bool:
    """Whether all that is in the way is content of other versions of the model, so that nothing is lost"""
    for file in depot.catalog.versions.files(version.id):
        path = folder / file.path
        if not model.wants(file.path) or not path.is_file() or path.is_symlink():
            continue
        with looking_at(path):
            found = checkout.sha256_of(path)
        if found != file.sha256 and not any(
            one.artifact == version.artifact for one in depot.catalog.versions.holding(found)
        ):
            return False
    return True
