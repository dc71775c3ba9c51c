"""Intake: what another tool keeps becomes versions, each on its own; nothing of it is moved or changed"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artifactstore.catalog.base import Committed, VersionInfo
from artifactstore.core.digest import Sha256
from artifactstore.core.elsewhere.base import Found, Passed, Tool
from artifactstore.core.errors import Corrupt, Invalid, NotFound, StoreError
from artifactstore.core.events import Warn
from artifactstore.core.names import ArtifactName, SafePath
from artifactstore.depot import Depot, folder_of
from artifactstore.ops import ingest, survey
from artifactstore.ops.ingest import IngestPlan, IngestReport
from artifactstore.ops.transfer.fetch import load_manifest
from artifactstore.ops.transfer.source import Source
from artifactstore.session import Tags

_SHA256 = 64
_SMALL = 16 << 20  # bytes of a file that is read to know whether it is here; the hub names larger ones by their sha256


@dataclass(frozen=True, slots=True)
class Arrival:
    """A version to be: how it was found, and what ingest makes of it. git: digests that git gave its small files"""

    found: Found
    plan: IngestPlan
    git: tuple[tuple[Path, str], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """For people and programs to read before it runs"""
        return {
            "place": self.found.place,
            **self.plan.to_json(),
            "aliases": [str(alias) for alias in self.found.aliases],
            "step": self.found.step,
            "request_id": self.found.request_id,
            "metrics": dict(self.found.metrics),
            "metadata": dict(self.found.metadata),
        }


@dataclass(frozen=True, slots=True)
class IntakePlan:
    """All that was found, and what is passed over"""

    tool: Tool
    root: Path
    arrivals: tuple[Arrival, ...]
    passed: tuple[Passed, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of all files"""
        return sum(arrival.plan.nbytes for arrival in self.arrivals)

    def to_json(self) -> dict[str, Any]:
        """For people and programs to read before it runs"""
        return {
            "from": str(self.tool),
            "path": str(self.root),
            "versions": [arrival.to_json() for arrival in self.arrivals],
            "passed": [passed_to_json(one) for one in self.passed],
            "logical_bytes": self.nbytes,
        }


@dataclass(frozen=True, slots=True)
class IntakeReport:
    """What was taken in, and what was passed over when it came to it, too"""

    taken: tuple[tuple[Arrival, IngestReport], ...]
    passed: tuple[Passed, ...]

    @property
    def broken(self) -> bool:
        """Whether something that a person would have wanted was passed over"""
        return any(one.broken for one in self.passed)


def passed_to_json(passed: Passed) -> dict[str, Any]:
    """With stable keys"""
    return {"place": passed.place, "why": passed.why, "broken": passed.broken}


def plan(depot: Depot, tool: Tool, path: Path, *, name: str | None = None) -> IntakePlan:
    """Look through a folder, changing nothing; raise NotFound when it holds nothing of the kind

    name: the artifact, where all that is found is of one, or with a `/` at its end what stands before each of theirs.
    """
    surveyed = survey.run(tool, path, folder_of(depot.blobs))
    if name is not None:
        _check_name(name, path, sorted({str(found.artifact) for found in surveyed.survey.found}))
    arrivals: list[Arrival] = []
    passed = list(surveyed.survey.passed)
    for found in surveyed.survey.found:
        try:
            arrivals.append(_arrival(depot, found, surveyed, name))
        except (Invalid, NotFound) as e:
            passed.append(Passed(found.place, e.message))
    return IntakePlan(tool, path, tuple(arrivals), tuple(passed))


def _check_name(name: str, path: Path, artifacts: list[str]) -> None:
    ArtifactName(name.removesuffix("/"))
    if len(artifacts) > 1 and not name.endswith("/"):
        raise Invalid(
            f"{path} holds {len(artifacts)} models ({artifacts[0]}, {artifacts[1]}, …), which cannot all be {name}; "
            f"leave --as out, or write --as {name}/ to put it before their names",
            code="name",
        )


def _arrival(depot: Depot, found: Found, surveyed: survey.Surveyed, name: str | None) -> Arrival:
    sources = surveyed.sources(found)
    files = ingest.look_at(sources)
    said = ingest.provenance(files, depot.monitor)
    labels = ingest.Labels(
        created=found.created,
        step=found.step,
        request_id=found.request_id,
        license=said.license,
        metadata=found.metadata,
    )
    artifact = _named(found.artifact, name)
    # a card of the hub may name the repository itself as its base, under the name that the hub knows it by
    parents = tuple(link for link in said.beside(found.parents, artifact) if link.ref != f"hf://{found.artifact}")
    expected = {path: Sha256.parse(text) for path, text in found.digests.items() if len(text) == _SHA256}
    git = tuple((sources[path], text) for path, text in found.digests.items() if len(text) != _SHA256)
    tags = Tags(aliases=found.aliases, metrics=found.metrics)
    return Arrival(found, IngestPlan(artifact, files, labels, parents, tags, expected), git)


def _named(artifact: ArtifactName, name: str | None) -> ArtifactName:
    if name is None:
        return artifact
    return ArtifactName(f"{name}{artifact}" if name.endswith("/") else name)


def run(depot: Depot, plan: IntakePlan) -> IntakeReport:
    """Take in one after the other; what is damaged or changes meanwhile is passed over and told

    What was taken in before gives the version that is there. Raise what went wrong when nothing at all could be taken
    in, NoSpace and what else ends the work as it comes; the versions before it stay.
    """
    taken: list[tuple[Arrival, IngestReport]] = []
    passed = list(plan.passed)
    first: StoreError | None = None
    for arrival in plan.arrivals:
        try:
            taken.append((arrival, _take_in(depot, arrival)))
        except (Corrupt, Invalid, NotFound) as e:
            first = first or e
            passed.append(Passed(arrival.found.place, e.message))
            depot.monitor(Warn(e.message))
    if first is not None and not taken:
        raise first
    return IntakeReport(tuple(taken), tuple(passed))


def _take_in(depot: Depot, arrival: Arrival) -> IngestReport:
    held = _held(depot, arrival)
    if held is not None:
        serial, txid = depot.catalog.journal.head()
        return IngestReport(Committed(held, serial, txid, existed=True), 0, 0)
    for local, digest in arrival.git:
        survey.check_git(local, digest)
    return ingest.run(depot, arrival.plan)


def _held(depot: Depot, arrival: Arrival) -> VersionInfo | None:
    """The version that is here already, as the names of large files tell without reading them; None when in doubt

    Where anything is damaged, what is taken in again heals it, so that it is read.
    """
    plan = arrival.plan
    unknown = [file for file in plan.sources if file.path not in plan.expected]
    if any(file.size > _SMALL for file in unknown) or depot.catalog.blobs.damaged():
        return None
    same = [one for one in depot.catalog.versions.list(glob=plan.artifact) if one.created == plan.labels.created]
    if not same:
        return None
    known = {**plan.expected, **{file.path: _sha256(file) for file in unknown}}
    files = {file.path: (file.size, known[file.path]) for file in plan.sources}
    return next((one for one in same if _is_same(depot, one, plan, files)), None)


def _is_same(
    depot: Depot, version: VersionInfo, plan: IngestPlan, files: Mapping[SafePath, tuple[int, Sha256]]
) -> bool:
    if not (set(plan.tags.aliases) <= set(version.aliases) and plan.tags.metrics.items() <= version.metrics.items()):
        return False
    there, labels = load_manifest(depot, version.id), plan.labels
    said = (there.step, there.request_id, there.license, dict(there.metadata), there.parents)
    given = (labels.step, labels.request_id, labels.license, dict(labels.metadata), plan.parents)
    return said == given and {file.path: (file.size, file.sha256) for file in there.files} == files


def _sha256(file: Source) -> Sha256:
    reading = file.open()
    try:
        data = bytearray(file.size)
        reading.fill(0, memoryview(data))
    finally:
        reading.abandon()
    return Sha256.of(data)
