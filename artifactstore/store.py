"""Store: the public face, thin verbs over ops"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from artifactstore import depot as depots
from artifactstore import gc, intake
from artifactstore.blobs.open import open_blobs
from artifactstore.catalog.base import AliasInfo, PinInfo, PolicyInfo, UsageRow, VersionInfo
from artifactstore.catalog.usage import GROUPS
from artifactstore.core.arrangement import Layout
from artifactstore.core.digest import Digest
from artifactstore.core.elsewhere.base import Tool
from artifactstore.core.errors import Invalid, NoStore, Unavailable
from artifactstore.core.events import Monitor, silent
from artifactstore.core.exports.base import Kind
from artifactstore.core.exports.checksums import ChecksumReport
from artifactstore.core.graph import Graph
from artifactstore.core.lineage import Link, Relation
from artifactstore.core.names import AliasName, ArtifactName, Reference
from artifactstore.core.selection import Rules
from artifactstore.core.settings import Settings
from artifactstore.either import Either
from artifactstore.foundry import Foundry
from artifactstore.gc import GcPlan, GcReport, SavedPlan
from artifactstore.intake import IntakePlan, IntakeReport
from artifactstore.ops import (
    adopt,
    annotate,
    checkout,
    collect,
    describe,
    diff,
    examine,
    ingest,
    lineage,
    rebuild,
    repair,
    undo,
    verify,
)
from artifactstore.ops.adopt import AdoptReport
from artifactstore.ops.checkout import CheckoutPlan, CheckoutReport
from artifactstore.ops.diff import Measure, VersionDiff
from artifactstore.ops.lineage import Standing
from artifactstore.ops.rebuild import RebuildPlan, RebuildReport
from artifactstore.ops.transfer.source import looking_at
from artifactstore.session import Tags


def _open_store(
    kind: "type[Store]",
    url: str,
    catalog: str | None = None,
    *,
    settings: Settings | None = None,
    monitor: Monitor = silent,
    read_only: bool = False,
) -> "Store":
    """Open a store that exists; raise NoStore"""
    return kind(depots.open_depot(url, catalog, settings=settings, monitor=monitor, read_only=read_only))


class Store(Foundry):
    """One store of model artifacts

    >>> store = Store.open("./models")          # doctest: +SKIP
    >>> store.add(["./bert"], name="bert-base", aliases=["prod"])          # doctest: +SKIP
    >>> store.checkout("bert-base@prod", "./out")          # doctest: +SKIP
    """

    # Store.open(url) opens a store, store.open(ref) a version of it
    open = Either(_open_store, Foundry.open_version)

    @classmethod
    def init(
        cls, url: str, catalog: str | None = None, *, settings: Settings | None = None, monitor: Monitor = silent
    ) -> Self:
        """Make a store in an empty folder or under a prefix; raise Exists when there is one"""
        return cls(depots.init(url, catalog, settings=settings, monitor=monitor))

    @staticmethod
    def catalog_upgrade(url: str, catalog: str | None = None, *, settings: Settings | None = None) -> str:
        """Bring the catalog of a store to the schema of this release; the schema it then has"""
        return depots.upgrade_catalog(url, catalog, settings=settings)

    @staticmethod
    def plan_rebuild(
        url: str,
        catalog: str | None = None,
        *,
        settings: Settings | None = None,
        source: str | None = None,
        until: int | None = None,
    ) -> RebuildPlan:
        """Look at what `catalog_rebuild` would do, changing nothing

        source: the id of the catalog whose records count, where the journal has several. until: the serial of the last
        record to take, where a later one is lost.
        """
        return rebuild.plan(url, catalog, settings=settings, source=source, until=until)

    @staticmethod
    def catalog_rebuild(
        url: str,
        catalog: str | None = None,
        *,
        plan: RebuildPlan | None = None,
        settings: Settings | None = None,
        monitor: Monitor = silent,
    ) -> RebuildReport:
        """Make the catalog of a store anew from its journal and manifests, as planned

        Raise Corrupt, changing nothing, for a journal with a record missing or damaged.
        """
        plan = plan or rebuild.plan(url, catalog, settings=settings)
        return rebuild.run(plan, settings=settings, monitor=monitor)

    def adopt(self, versions: Sequence[Digest]) -> AdoptReport:
        """Commit manifests that lie here and that no record names, as a rebuild finds them"""
        return adopt.run(self.depot, versions)

    def catalog_dump(self) -> Iterator[str]:
        """Everything the catalog means, as lines of JSON in a stable order"""
        return self.depot.catalog.dump()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def resolve(self, ref: str) -> VersionInfo:
        """The version a reference means; raise NotFound, or Invalid when it may mean several"""
        return self.depot.catalog.versions.resolve(Reference.parse(ref))

    def add(
        self,
        paths: Sequence[str | PathLike[str]],
        *,
        name: str,
        aliases: Sequence[str] = (),
        parents: Sequence[Link] = (),
        phase: str | None = None,
        step: int | None = None,
        metrics: Mapping[str, float] | None = None,
        license: str | None = None,  # noqa: A002  # the field's own word
        metadata: Mapping[str, Any] | None = None,
        created: int | None = None,
    ) -> ingest.IngestReport:
        """Take files and folders in as one version

        Parents and a licence that the files name themselves (model card, merge recipe, adapter config, header) are
        taken too, as far as none of that name is given. created: microseconds since 1970 UTC, by default when the
        newest file was modified, so that adding the same files twice gives the same version. Raise Invalid for files
        that cannot be stored, NoSpace.
        """
        return ingest.run(
            self.depot,
            self.plan_add(
                paths,
                name=name,
                aliases=aliases,
                parents=parents,
                phase=phase,
                step=step,
                metrics=metrics,
                license=license,
                metadata=metadata,
                created=created,
            ),
        )

    def plan_add(
        self,
        paths: Sequence[str | PathLike[str]],
        *,
        name: str,
        aliases: Sequence[str] = (),
        parents: Sequence[Link] = (),
        phase: str | None = None,
        step: int | None = None,
        metrics: Mapping[str, float] | None = None,
        license: str | None = None,  # noqa: A002  # the field's own word
        metadata: Mapping[str, Any] | None = None,
        created: int | None = None,
    ) -> ingest.IngestPlan:
        """Look at what `add` would take in, changing nothing"""
        files = ingest.look([Path(path) for path in paths], depots.folder_of(self.depot.blobs))
        said = ingest.provenance(files, self.depot.monitor)
        labels = ingest.Labels(
            created=ingest.newest_change(files) if created is None else created,
            phase=phase,
            step=step,
            license=license or said.license,
            metadata=metadata or {},
        )
        tags = Tags(aliases=tuple(AliasName(alias) for alias in aliases), metrics=metrics or {})
        return ingest.IngestPlan(ArtifactName(name), files, labels, said.beside(parents, name), tags)

    def add_phases(
        self,
        folder: str | PathLike[str],
        *,
        name: str,
        license: str | None = None,  # noqa: A002  # the field's own word
    ) -> list[ingest.IngestReport]:
        """Take a `phase_0/ phase_1/ … latest.pt` folder in: a version a phase, then one of what lies beside them

        The last version gets the alias `latest`. Raise Invalid when the folder has no phases.
        """
        plans = self.plan_phases(folder, name=name, license=license)
        if not plans:
            raise Invalid(f"{folder} has no folders named phase_…", code="layout", path=str(folder))
        return [ingest.run(self.depot, plan) for plan in plans]

    def plan_phases(
        self,
        folder: str | PathLike[str],
        *,
        name: str,
        license: str | None = None,  # noqa: A002  # the field's own word
    ) -> list[ingest.IngestPlan]:
        """Look at what `add_phases` would take in, changing nothing; empty when the folder has no phases"""
        phases = ingest.phases(Path(folder))
        plans = [self.plan_add(paths, name=name, phase=phase, license=license) for phase, paths in phases]
        tags = Tags(aliases=(AliasName("latest"),))
        return [*plans[:-1], *(dataclasses.replace(plan, tags=tags) for plan in plans[-1:])]

    def add_from(self, tool: str, path: str | PathLike[str], *, name: str | None = None) -> IntakeReport:
        """Take in what another tool keeps: `hf-cache`, `dir`, `ollama` or `mlflow`; a version for each it has

        name: the artifact, where all is of one, or with a `/` at its end what stands before their own names. Raise
        NotFound when there is nothing of the kind.
        """
        return intake.run(self.depot, self.plan_add_from(tool, path, name=name))

    def plan_add_from(self, tool: str, path: str | PathLike[str], *, name: str | None = None) -> IntakePlan:
        """Look at what `add_from` would take in, changing nothing"""
        return intake.plan(self.depot, Tool.parse(tool), Path(path), name=name)

    def link(self, ref: str, relation: str = "finetune", weight: float | None = None) -> Link:
        """A link to a version here by any reference, or to something elsewhere by `hf://…`"""
        if "://" in ref:
            return Link(Relation.parse(relation), ref, weight=weight)
        version = self.resolve(ref)
        return Link(Relation.parse(relation), version.ref, version.id, weight)

    def checkout(
        self,
        ref: str,
        dest: str | PathLike[str],
        *,
        only: Sequence[str] = (),
        force: bool = False,
        layout: str = Layout.FILES,
    ) -> CheckoutReport:
        """Write a version's files to a folder, bit for bit; an interrupted one goes on where it ended

        layout: `files`, or `hf-cache` for a folder that serves Hugging Face's libraries as HF_HUB_CACHE, offline too.
        """
        depot, _ = self.find(ref)
        return checkout.run(depot, self.plan_checkout(ref, dest, only=only, force=force, layout=layout))

    def plan_checkout(
        self,
        ref: str,
        dest: str | PathLike[str],
        *,
        only: Sequence[str] = (),
        force: bool = False,
        layout: str = Layout.FILES,
    ) -> CheckoutPlan:
        """Look at what `checkout` would write, changing nothing"""
        kind = Layout.parse(layout)
        depot, version = self.find(ref)
        return checkout.plan(depot, version, Path(dest), only=only, force=force, layout=kind)

    def verify(
        self,
        refs: Sequence[str] = (),
        *,
        share: float | None = None,
        nbytes: int | None = None,
        limit: timedelta | None = None,
    ) -> verify.VerifyReport:
        """Read blobs and manifests back and quarantine what is damaged"""
        plan = verify.plan(self.depot, self._ids(refs), share=share, nbytes=nbytes, limit=limit)
        return verify.run(self.depot, plan)

    def repair(self, refs: Sequence[str] = (), *, source: str | None = None) -> repair.RepairReport:
        """Refill what verify found damaged, from another store (remote, folder or URL) or from plain files"""
        plan = repair.plan(self.depot, self._ids(refs))
        if source is None:
            return repair.run(self.depot, plan)
        known = {info.name: info.url for info in self.depot.catalog.remotes.list()}
        donor = open_blobs(known.get(source, source), self.depot.settings)
        folder = depots.folder_of(donor)
        if folder is not None:
            with looking_at(folder):
                donor = open_blobs(str(depots.home(folder)), self.depot.settings)
        try:
            depots.read_info(donor)
        except NoStore:
            if folder is None:
                raise
            return repair.run(self.depot, plan, files=folder)
        return repair.run(self.depot, plan, store=donor)

    def _ids(self, refs: Sequence[str]) -> list[Digest] | None:
        return [self.resolve(ref).id for ref in refs] or None

    def ls(
        self,
        glob: str | None = None,
        *,
        where: str | Sequence[str] = (),
        sort: str = "created:desc",
        limit: int | None = None,
    ) -> list[VersionInfo]:
        """Versions whose artifact name matches the glob and for which all filters hold, such as `step >= 5000`"""
        filters = [where] if isinstance(where, str) else where
        return self.depot.catalog.versions.list(glob=glob, where=filters, sort=sort, limit=limit)

    def show(self, ref: str) -> dict[str, Any]:
        """One version with its files, parents, pins and unique bytes, as a document with stable keys

        One that was retired is told of as well, by its number or id.
        """
        return describe.details(*self.known(ref))

    def tree(self, ref: str, *, up: bool = True, down: bool = True, depth: int | None = None) -> Graph:
        """What a version came from (`up`) and what came from it (`down`), retired versions too

        depth: how many links away. core/drawing draws it as text, for Graphviz and for Mermaid.
        """
        return lineage.tree(*self.known(ref), up=up, down=down, depth=depth)

    def why(self, ref: str, *, grace: timedelta = collect.GRACE) -> Standing:
        """What keeps a version, each reason followed to its root, and what its stored policy says

        Of a retired one how it went; grace: how long after its collection an undo is reckoned to be possible.
        """
        return lineage.why(*self.known(ref), grace=grace)

    def diff(self, old: str, new: str, *, tensors: bool = False) -> VersionDiff:
        """What is different in `new`; tensors: read those that differ and tell by how much

        Raise Corrupt when what is read is damaged, Unavailable when tensors are asked for and torch is missing.
        """
        depot, (before, after) = self.together(old, new)
        return diff.run(depot, before, after, _measure() if tensors else None)

    def search(self, text: str) -> Sequence[VersionInfo]:
        """Versions that carry the text in a name, label, file path, metadata, alias or digest"""
        if not text.strip():
            raise Invalid("Nothing to search for; give a word", code="search")
        return self.depot.catalog.versions.search(text)

    def alias_set(self, name: str, alias: str, ref: str, *, expected: int | None = None) -> AliasInfo:
        """Point `name@alias` at a version; raise Conflict when its generation is not the `expected` one"""
        return annotate.set_alias(
            self.depot, ArtifactName(name), AliasName(alias), self.resolve(ref), expected=expected
        )

    def alias_rm(self, name: str, alias: str) -> AliasInfo:
        """Remove `name@alias`; its history stays"""
        return annotate.remove_alias(self.depot, ArtifactName(name), AliasName(alias))

    def alias_log(self, name: str, alias: str) -> Sequence[AliasInfo]:
        """Every move of an alias, newest first"""
        return self.depot.catalog.aliases.history(ArtifactName(name), AliasName(alias))

    def metric(self, ref: str, metrics: Mapping[str, float]) -> VersionInfo:
        """Set metrics of a version after the fact"""
        annotate.set_metrics(self.depot, self.resolve(ref), metrics)
        return self.resolve(ref)

    def du(self, by: str = "artifact") -> Sequence[UsageRow]:
        """Bytes by `artifact`, `phase`, `kind` of model or `format`: logical, stored, unique, shared"""
        if by not in GROUPS:
            raise Invalid(f"Cannot group by {by!r:.40}; use one of {', '.join(GROUPS)}", code="group")
        return self.depot.catalog.usage.by(by)  # type: ignore[arg-type]  # narrowed just above

    def frees(self, refs: Sequence[str]) -> int:
        """Bytes at rest that removing these versions together would free, to the byte"""
        ids = list(dict.fromkeys(self.resolve(ref).id for ref in refs))
        return sum(self.depot.catalog.usage.freed(ids))

    def pin(self, ref: str, why: str, until: datetime | None = None) -> PinInfo:
        """Keep a version for a reason, for ever or until an aware moment; the same reason again moves the end"""
        return annotate.pin(self.depot, self.resolve(ref), why, until)

    def unpin(self, ref: str, why: str | None = None) -> int:
        """Take away the pin with this reason, or all of a version; how many. Raise NotFound without any"""
        return annotate.unpin(self.depot, self.resolve(ref), why)

    def plan_gc(
        self, rules: Rules | None = None, *, grace: timedelta = collect.GRACE, until_free: int | None = None
    ) -> GcPlan:
        """Decide what `gc` would retire and sweep, changing nothing; without rules by the stored policies"""
        return gc.plan(self.depot, rules, grace=grace, until_free=until_free)

    def gc(self, plan: GcPlan | None = None, *, force: bool = False) -> GcReport:
        """Retire what a plan says and remove what is due; without a plan by the stored policies

        Raise Refused when more than a fifth of all bytes would go, unless forced.
        """
        return gc.run(self.depot, self.plan_gc() if plan is None else plan, force=force)

    def plan_saved(self, raw: bytes) -> GcPlan:
        """A plan that was written down as JSON, to be run; raise Refused when the store has changed since"""
        return gc.resume(self.depot, SavedPlan.parse(raw))

    def undo(self, serial: int | None = None) -> undo.UndoReport:
        """Take a record back: a retirement, a move of an alias, a pin, its removal; the newest such without a serial

        Raise Refused when something has come between: bytes were swept, the alias has moved on.
        """
        return undo.run(self.depot, serial)

    def policy_set(self, pattern: str, rules: str) -> PolicyInfo:
        """Keep rules of retention for artifacts whose name matches; `rules` are flags of gc as one text"""
        return annotate.set_policy(self.depot, pattern, Rules.parse(rules, stored=True))

    def policy_rm(self, pattern: str) -> None:
        """Forget the rules of a pattern; raise NotFound"""
        annotate.remove_policy(self.depot, pattern)

    def policy_ls(self) -> Sequence[PolicyInfo]:
        """All stored rules, by pattern"""
        return self.depot.catalog.policies.list()

    def log(self, limit: int = 20) -> Sequence[dict[str, Any]]:
        """What was committed, newest first: the journal's records"""
        return describe.history(self.depot, limit)

    def export(self, kind: str, ref: str) -> str:
        """A version as a `model-card`, `cyclonedx`, `spdx`, `prov` or `checksums` document

        Metadata goes out as it is: what is secret does not belong there. Raise Invalid for another kind.
        """
        from artifactstore.ops import export  # noqa: PLC0415  # YAML and lists of licences would be a tenth of start-up

        return export.run(*self.find(ref), Kind.parse(kind))

    def import_checksums(self, file: str | PathLike[str], ref: str) -> ChecksumReport:
        """Hold a CHECKSUMS.sha256 against what is recorded of a version, without reading its bytes"""
        from artifactstore.ops import export  # noqa: PLC0415  # as above

        return export.compare(*self.find(ref), Path(file))

    def status(self) -> dict[str, Any]:
        """The store in one document: where, how much, who is at work, what is damaged"""
        return describe.status(self.depot)

    def doctor(self) -> Sequence[examine.Finding]:
        """What is well and what is not, with the store and around it"""
        return examine.run(self.depot)


def _measure() -> Measure:
    try:
        # torch takes a second to import, and no other verb here needs it
        from artifactstore.tensors.compare import measure  # noqa: PLC0415
    except ImportError as e:
        raise Unavailable(
            f"Comparing tensors needs {e.name}; run: pip install 'artifactstore[torch]'", code="extra"
        ) from e
    return measure
