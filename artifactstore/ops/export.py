"""Export: a version and its lineage as documents for other tools, and a list of checksums held against one"""

import dataclasses
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from artifactstore.catalog.base import LinkInfo, VersionInfo
from artifactstore.core.digest import Digest
from artifactstore.core.errors import Invalid, NotFound
from artifactstore.core.exports import checksums, cyclonedx, model_card, prov, spdx
from artifactstore.core.exports.base import FileFacts, Kind, ParentFacts, Subject, TensorFacts, VersionFacts
from artifactstore.core.lineage import Relation
from artifactstore.depot import Depot

# What is farther away is named by the last link, and not described
_LEVELS = 16
_LARGEST_LIST = 64 << 20
_DOCUMENTS = {Kind.CYCLONEDX: cyclonedx.document, Kind.SPDX: spdx.document, Kind.PROV: prov.document}


def run(depot: Depot, version: VersionInfo, kind: Kind) -> str:
    """One document as text. What it tells of metadata goes out as it is"""
    root = _facts(depot, version)
    ancestors: dict[Digest, VersionFacts] = {}
    subject = Subject(root, ancestors, depot.info.store_id)
    match kind:
        case Kind.CHECKSUMS:
            return checksums.text(subject)
        case Kind.MODEL_CARD:
            # a line of resumed versions may be long, and a card tells no more of it than where it began
            for level in _climb(depot, root, ancestors, _outline):
                if any(True for below in level for _ in model_card.bases_of(subject, below)):
                    break
            return model_card.text(subject)
        case _:
            for _ in islice(_climb(depot, root, ancestors, _facts), _LEVELS):
                pass
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


def _climb(
    depot: Depot,
    root: VersionFacts,
    ancestors: dict[Digest, VersionFacts],
    tell: Callable[[Depot, VersionInfo], VersionFacts],
) -> Iterator[list[VersionFacts]]:
    """Note the parents of one level after another; each level once its parents are noted"""
    level = [root]
    while level:
        above: dict[Digest, VersionFacts] = {}
        for parent in (parent.id for version in level for parent in version.parents if parent.id is not None):
            if parent == root.id or parent in ancestors or parent in above:
                continue
            # one that has been retired meanwhile is named by its link still
            with suppress(NotFound):
                above[parent] = tell(depot, depot.catalog.versions.get(parent))
        ancestors |= above
        yield level
        level = list(above.values())


def _facts(depot: Depot, version: VersionInfo) -> VersionFacts:
    rows = depot.catalog.versions
    return dataclasses.replace(
        _outline(depot, version),
        metadata=rows.metadata(version.id),
        files=_files(depot, version.id),
        tensors=[TensorFacts(one.dtype, one.count, one.nbytes) for one in rows.tensors(version.id)],
    )


def _outline(depot: Depot, version: VersionInfo) -> VersionFacts:
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
        metrics=version.metrics,
        parents=[_parent(link) for link in depot.catalog.versions.parents(version.id)],
    )


def _files(depot: Depot, version_id: Digest) -> list[FileFacts]:
    return [FileFacts(one.path, one.size, one.sha256, one.format) for one in depot.catalog.versions.files(version_id)]


def _parent(link: LinkInfo) -> ParentFacts:
    return ParentFacts(Relation(link.relation), link.ref, link.parent, link.weight, link.params, link.evidence)
