"""Run: a model exported, converted to its level and taken in as a version, which is linked to its source"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from artifactstore.catalog.base import Committed
from artifactstore.core.errors import NotFound
from artifactstore.core.names import Reference, SafePath
from artifactstore.core.recipe.blueprint import Blueprint
from artifactstore.depot import Depot
from artifactstore.derive.merge.beside import beside
from artifactstore.derive.models import Model, holding
from artifactstore.derive.product import moment
from artifactstore.derive.web.config import with_chunks
from artifactstore.derive.web.convert import convert
from artifactstore.derive.web.export import export
from artifactstore.derive.web.graph import DATA, INLINE
from artifactstore.derive.web.levels import FOLDER
from artifactstore.derive.web.plan import TARGET, WebPlan
from artifactstore.ops import checkout, ingest
from artifactstore.ops.ingest import IngestPlan, IngestReport, Labels
from artifactstore.ops.transfer.held import HeldFile
from artifactstore.ops.transfer.source import Source
from artifactstore.ops.transfer.space import check_space


def run(depot: Depot, plan: WebPlan, inline: int = INLINE) -> IngestReport:
    """Make the version that a plan says; once more, and it is the version that is there

    inline: how many bytes of weights may lie in the graph itself. Raise NoSpace before any work, Unavailable where a
    library is missing, Invalid for what the libraries do not know.
    """
    there = _known(depot, plan)
    if there is not None:
        return IngestReport(there, 0, 0)
    with tempfile.TemporaryDirectory(prefix="artstore-web-") as name, holding((plan.model,)):
        work = Path(name)
        check_space(plan.work_nbytes, work)
        ingest.check_room(depot, plan.nbytes)
        base = export(_folder(plan.model, work / "source"), plan.architecture, work / "base")
        (work / FOLDER).mkdir()
        files = convert(base, plan.level, work / FOLDER, inline)
        report = ingest.run(depot, _ingest(depot, plan, files))
    if plan.key is not None:
        depot.catalog.memos.put({plan.key: str(report.committed.version.id).encode()})
    return report


def _known(depot: Depot, plan: WebPlan) -> Committed | None:
    """The version that an earlier run made of the same, if it is there"""
    if plan.key is None:
        return None
    found = depot.catalog.memos.get([plan.key]).get(plan.key)
    if found is None:
        return None
    try:
        version = depot.catalog.versions.resolve(Reference.parse(found.decode()))
    except NotFound:
        return None
    serial, txid = depot.catalog.journal.head()
    return Committed(version, serial, txid, existed=True)


def _folder(model: Model, work: Path) -> Path:
    """A folder in which the model is as transformers reads it"""
    if model.folder is not None:
        return model.folder
    config = model.beside["config.json"]
    assert isinstance(config, HeldFile)
    top = [str(file.path) for file in config.manifest.files if "/" not in file.path and not _is_graph(file.path)]
    checkout.run(config.depot, checkout.plan(config.depot, config.version, work, only=top))
    return work


def _is_graph(path: str) -> bool:
    return path.endswith((".onnx", ".gguf", ".bin", ".pt", ".pth"))


def _ingest(depot: Depot, plan: WebPlan, files: Sequence[Path]) -> IngestPlan:
    nbytes = sum(file.stat().st_size for file in files)
    said = {"level": plan.level.name, "target": TARGET, "bits_per_weight": round(8 * nbytes / max(plan.weights, 1), 4)}
    labels = Labels(
        created=depot.clock() if plan.key is None else moment(depot, plan.key),
        license=plan.model.license,
        metadata={"quantize": said},
    )
    graphs = ingest.look_at({SafePath(f"{FOLDER}/{file.name}"): file for file in files})
    sources: list[Source] = [*_beside(plan, files), *graphs]
    return IngestPlan(plan.artifact, tuple(sorted(sources, key=lambda one: one.path)), labels, (plan.link,))


def _beside(plan: WebPlan, files: Sequence[Path]) -> tuple[Source, ...]:
    """The configuration, which says what transformers.js is to load, and the files of the tokenizer"""
    config = plan.model.read("config.json")
    assert config is not None
    chunks = sum(file.name.endswith(DATA) for file in files)
    texts = {"config.json": with_chunks(config, {plan.level.file: chunks}, plan.level.dtype)}
    return beside((plan.model,), Blueprint((plan.model.ref,), (), donor=0, tokenizer=0), texts)
