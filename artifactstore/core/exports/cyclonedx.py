"""CycloneDX 1.6: the model as a bill of materials, https://cyclonedx.org/docs/1.6/json/"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from artifactstore.core.digest import Digest
from artifactstore.core.exports.base import (
    FileFacts,
    ParentFacts,
    Subject,
    VersionFacts,
    link_properties,
    properties,
    shown,
    word,
    words,
)
from artifactstore.core.exports.identity import (
    document_uuid,
    hub_source,
    parent_purl,
    version_purl,
    version_uri,
)
from artifactstore.core.exports.licenses import spdx_license
from artifactstore.core.units import format_moment

_ID = re.compile(r"(?!LicenseRef-)[A-Za-z0-9.-]+")


def document(subject: Subject) -> dict[str, Any]:
    """Always the same for the same version and the same lineage: no clock, no random number"""
    version = subject.version
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{document_uuid('cyclonedx', version)}",
        "version": 1,
        "metadata": {
            "timestamp": format_moment(version.created),
            "tools": {"components": [{"type": "application", "name": "artifactstore"}]},
            "component": _Components(subject).model(version),
            "properties": _properties([("artifactstore:store", subject.store_id)]),
        },
    }


class _Components:
    """Models as components. One that is reached again stands there by name only, so that a document stays small"""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._told: set[Digest] = set()

    def model(self, version: VersionFacts, link: ParentFacts | None = None) -> dict[str, Any]:
        """The model, its files and what it came from"""
        component = _named(version, link)
        if version.id in self._told:
            return component
        self._told.add(version.id)
        more = {
            "bom-ref": version_uri(version.id),
            "licenses": _licenses(version),
            "components": [_file(file) for file in version.files],
            "pedigree": self._pedigree(version),
            "modelCard": _model_card(version),
        }
        return component | {name: value for name, value in more.items() if value}

    def _pedigree(self, version: VersionFacts) -> dict[str, Any]:
        parents = [self._parent(parent) for parent in version.parents]
        return {"ancestors": parents} if parents else {}

    def _parent(self, parent: ParentFacts) -> dict[str, Any]:
        known = self._subject.known(parent)
        return _outside(parent) if known is None else self.model(known, parent)


def _named(version: VersionFacts, link: ParentFacts | None) -> dict[str, Any]:
    told = [*properties(version), *(link_properties(link) if link else ())]
    return {
        "type": "machine-learning-model",
        "name": str(version.artifact),
        "version": str(version.number),
        "hashes": [{"alg": "BLAKE3", "content": str(version.id)}],
        "purl": version_purl(version),
        "properties": _properties(told),
    }


def _outside(parent: ParentFacts) -> dict[str, Any]:
    source = hub_source(parent.ref)
    component: dict[str, Any] = {"type": "machine-learning-model", "name": source.repo if source else parent.ref}
    if source and source.revision:
        component["version"] = source.revision
    if parent.id is not None:
        component["hashes"] = [{"alg": "BLAKE3", "content": str(parent.id)}]
    purl = parent_purl(parent)
    if purl is not None:
        component["purl"] = purl
    return component | {"properties": _properties(link_properties(parent))}


def _file(file: FileFacts) -> dict[str, Any]:
    told = [("artifactstore:size", str(file.size)), ("artifactstore:format", file.format)]
    return {
        "type": "file",
        "name": str(file.path),
        "hashes": [{"alg": "SHA-256", "content": str(file.sha256)}],
        "properties": _properties(told),
    }


def _licenses(version: VersionFacts) -> list[dict[str, Any]]:
    if version.license is None:
        return []
    known = spdx_license(version.license)
    if known is None:
        return [{"license": {"name": version.license, "acknowledgement": "declared"}}]
    # neither an operator nor a reference of one's own is in SPDX's list of ids
    if not _ID.fullmatch(known):
        return [{"expression": known, "acknowledgement": "declared"}]
    return [{"license": {"id": known, "acknowledgement": "declared"}}]


def _model_card(version: VersionFacts) -> dict[str, Any]:
    parameters = {
        "task": word(version.metadata, "pipeline_tag"),
        "architectureFamily": word(version.metadata, "model_type"),
        "modelArchitecture": word(version.metadata, "architecture"),
        "datasets": [{"type": "dataset", "name": name} for name in words(version.metadata, "datasets")],
    }
    metrics = [{"type": name, "value": shown(value)} for name, value in version.metrics.items()]
    card: Mapping[str, Any] = {
        "modelParameters": {name: value for name, value in parameters.items() if value},
        "quantitativeAnalysis": {"performanceMetrics": metrics} if metrics else {},
    }
    return {name: value for name, value in card.items() if value}


def _properties(told: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"name": name, "value": str(value)} for name, value in told]
