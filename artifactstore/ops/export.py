"""Export: a version and its lineage as documents for other tools, and a list of checksums held against one"""

import json
from contextlib import suppress
from pathlib import Path

from artifactstore.catalog.base import LinkInfo, VersionInfo
from artifactstore.core.digest import Digest
from artifactstore.core.errors import Invalid, NotFound
from artifactstore.core.exports import checksums, cyclonedx, model_card, prov, spdx
from artifactstore.core.exports.base import FileFacts, Kind, ParentFacts, Subject, TensorFacts, VersionFacts
from artifactstore.core.graph import parents_in
from artifactstore.core.lineage import Relation
from artifactstore.core.names import ArtifactName
from artifactstore.depot import Depot

# What is farther away is named by the last link, and not described
_LEVELS = 16
_LARGEST_LIST = 64 << 20
_DOCUMENTS = {Kind.CYCLONEDX: cyclonedx.document, Kind.SPDX: spdx.document, Kind.PROV: prov.document}


def run(depot: Depot, version: VersionInfo, kind: Kind) -> str:
    """One document as text. What it tells of metadata goes out as it is"""
    root, store = _facts(depot, version), depot.info.store_id
    match kind:
        case Kind.CHECKSUMS:
            return checksums.text(Subject(root, {}, store))
        case Kind.MODEL_CARD:
            return model_card.text(Subject(root, _outlines(depot, root), store))
        case _:
            subject = Subject(root, _ancestors(depot, root), store)
            return json.dumps(_DOCUMENTS[kind](subject), indent=2) + "\n"


def compare(depot: Depot, version: VersionInfo, path: Path) -> checksums.ChecksumReport:
    """Hold a list of checksums against what the catalog has recorded, without reading a blob

    Raise NotFound when the list is not there, Invalid when it is none.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(_LARGEST_LIST + 1)
        listed = checksums.parse(raw.decode()) if len(raw) <= _LARGEST_LIST else None
    except FileNotFoundError as e:
        raise NotFound(f"No such file: {path}", code="file", path=str(path)) from e
    except OSError as e:
        raise Invalid(f"Cannot read {path}: {e.strerror}", code="file", path=str(path)) from e
    except UnicodeDecodeError as e:
        raise Invalid(f"{path} is not text; name a list that sha256sum wrote", code="checksums", path=str(path)) from e
    if listed is None:
        raise Invalid(f"{path} is over 64 MiB; name a list that sha256sum wrote", code="checksums", path=str(path))
    return checksums.compare(listed, _files(depot, version.id))


def _outlines(depot: Depot, root: VersionFacts) -> dict[Digest, VersionFacts]:
    """All ancestors that are here, with their names and links alone: a line of resumed versions may be long"""
    graph = depot.catalog.versions.graph(root.id, up=True, down=False)
    links = parents_in(graph.up)
    return {
        node.id: VersionFacts(
            id=node.id,
            # a version that is here has all three
            artifact=ArtifactName(node.artifact or ""),
            number=node.number or 0,
            created=node.created or 0,
            parents=[
                ParentFacts(Relation(edge.relation), edge.ref, edge.parent, edge.weight, evidence=edge.evidence)
                for edge in links.get(node.id, ())
            ],
        )
        for node in graph.nodes.values()
        if node.state == "active" and node.id is not None and node.id != root.id
    }


def _ancestors(depot: Depot, root: VersionFacts) -> dict[Digest, VersionFacts]:
    """The ancestors that are here and near enough, the nearest first"""
    found: dict[Digest, VersionFacts] = {}
    level = [root]
    for _ in range(_LEVELS):
        above: dict[Digest, VersionFacts] = {}
        for parent in (parent.id for version in level for parent in version.parents if parent.id is not None):
            if parent == root.id or parent in found or parent in above:
                continue
            # one that has been retired meanwhile is named by its link still
            with suppress(NotFound):
                above[parent] = _facts(depot, depot.catalog.versions.get(parent))
        found |= above
        level = list(above.values())
    return found


def _facts(depot: Depot, version: VersionInfo) -> VersionFacts:
    rows = depot.catalog.versions
    return VersionFacts(
        id=version.id,
        artifact=version.artifact,
        number=version.number,
        created=version.created,
        phase=version.phase,
        step=version.step,
        epoch=version.epoch,
        request_id=version.request_id,
        license=version.license,
        metadata=rows.metadata(version.id),
        metrics=version.metrics,
        files=_files(depot, version.id),
        tensors=[TensorFacts(one.dtype, one.count, one.nbytes) for one in rows.tensors(version.id)],
        parents=[_parent(link) for link in rows.parents(version.id)],
    )


def _files(depot: Depot, version_id: Digest) -> list[FileFacts]:
    return [FileFacts(one.path, one.size, one.sha256, one.format) for one in depot.catalog.versions.files(version_id)]


def _parent(link: LinkInfo) -> ParentFacts:
    return ParentFacts(Relation(link.relation), link.ref, link.parent, link.weight, link.params, link.evidence)
