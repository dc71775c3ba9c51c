"""SPDX 3.0.1: the model as a bill of materials with the AI profile, https://spdx.github.io/spdx-spec/v3.0.1/"""

import itertools
import re
from collections.abc import Iterable
from typing import Any

from artifactstore.core.exports.base import (
    FileFacts,
    ParentFacts,
    Subject,
    VersionFacts,
    link_properties,
    outside_name,
    properties,
    shown,
    word,
    words,
)
from artifactstore.core.exports.identity import document_uuid, hub_source, parent_purl, version_purl, version_uri
from artifactstore.core.exports.licenses import spdx_license
from artifactstore.core.lineage import Relation
from artifactstore.core.units import format_moment

Element = dict[str, Any]

_PROFILES = ["core", "software", "simpleLicensing", "expandedLicensing", "ai", "extension"]
_NO_ASSERTION = "expandedlicensing_NoAssertionLicense"
# The same weights in another form
_VARIANTS = {Relation.QUANTIZE, Relation.CONVERT, Relation.RESHARD}


def document(subject: Subject) -> dict[str, Any]:
    """Always the same for the same version and the same lineage: no clock, no random number"""
    graph = _Graph(subject)
    graph.build()
    return {
        "@context": "https://spdx.org/rdf/3.0.1/spdx-context.jsonld",
        "@graph": [graph.creation(), graph.head(), *graph.elements],
    }


class _Graph:
    """The elements of one document, each with an id under the document's own"""

    def __init__(self, subject: Subject) -> None:
        name = re.sub(r"[^A-Za-z0-9.-]", "-", subject.version.artifact)
        self._subject = subject
        self._base = f"https://spdx.org/spdxdocs/{name}-{document_uuid('spdx', subject.version)}"
        self._outside: dict[str, str] = {}
        self._datasets: dict[str, str] = {}
        self._numbers = itertools.count(1)
        self.elements: list[Element] = []

    def creation(self) -> Element:
        """When and by whom"""
        return {
            "type": "CreationInfo",
            "@id": "_:creation",
            "specVersion": "3.0.1",
            "created": format_moment(self._subject.version.created),
            "createdBy": [self._id("store")],
            "createdUsing": [self._id("tool")],
        }

    def head(self) -> Element:
        """The document itself"""
        return {
            "type": "SpdxDocument",
            "spdxId": self._base,
            "creationInfo": "_:creation",
            "name": self._subject.version.ref,
            "profileConformance": _PROFILES,
            "rootElement": [self._package_id(self._subject.version)],
            "element": [element["spdxId"] for element in self.elements],
        }

    def build(self) -> None:
        """Every element but those two"""
        self._add("Agent", "store", name=f"artifactstore store {self._subject.store_id}")
        self._add("Tool", "tool", name="artifactstore")
        for number, (name, parent) in enumerate(self._subject.outside().items(), 1):
            self._outside[name] = self._add_outside(f"outside-{number}", parent)
        for version in self._subject.versions:
            self._add_package(version)
            self._add_files(version)
            self._add_licenses(version)
            self._add_datasets(version)
        for version in self._subject.versions:
            self._add_links(version)

    def _id(self, name: str) -> str:
        return f"{self._base}#{name}"

    def _package_id(self, version: VersionFacts) -> str:
        return self._id(f"version-{version.id}")

    def _add(self, kind: str, element_name: str, **fields: Any) -> str:
        element = {"type": kind, "spdxId": self._id(element_name), "creationInfo": "_:creation"}
        self.elements.append(element | {name: value for name, value in fields.items() if value})
        return element["spdxId"]

    def _relate(self, kind: str, origin: str, targets: list[str], **fields: Any) -> None:
        related = {"from": origin, "relationshipType": kind, "to": targets}
        self._add("Relationship", f"relationship-{next(self._numbers)}", **related, **fields)

    def _add_package(self, version: VersionFacts) -> None:
        kinds = [word(version.metadata, name) for name in ("architecture", "model_type", "pipeline_tag")]
        self._add(
            "ai_AIPackage",
            f"version-{version.id}",
            name=str(version.artifact),
            software_packageVersion=str(version.number),
            software_packageUrl=version_purl(version),
            software_downloadLocation=version_uri(version.id),
            software_primaryPurpose="model",
            suppliedBy=self._id("store"),
            releaseTime=format_moment(version.created),
            verifiedUsing=[{"type": "Hash", "algorithm": "blake3", "hashValue": str(version.id)}],
            ai_typeOfModel=list(dict.fromkeys(kind for kind in kinds if kind)),
            ai_metric=[
                {"type": "DictionaryEntry", "key": name, "value": shown(value)}
                for name, value in version.metrics.items()
            ],
            extension=_extension(properties(version)),
        )

    def _add_files(self, version: VersionFacts) -> None:
        files = [
            self._add("software_File", f"file-{version.id}-{number}", **_file(file))
            for number, file in enumerate(version.files, 1)
        ]
        self._relate("contains", self._package_id(version), files, completeness="complete")

    def _add_licenses(self, version: VersionFacts) -> None:
        declared = _NO_ASSERTION
        if version.license is not None:
            declared = self._add(
                "simplelicensing_LicenseExpression",
                f"license-{version.id}",
                simplelicensing_licenseExpression=_expression(version.license),
                comment=f"Given as {version.license}",
            )
        self._relate("hasDeclaredLicense", self._package_id(version), [declared])
        # nobody looked into the files
        self._relate("hasConcludedLicense", self._package_id(version), [_NO_ASSERTION])

    def _add_datasets(self, version: VersionFacts) -> None:
        names = words(version.metadata, "datasets")
        for name in names:
            if name not in self._datasets:
                self._datasets[name] = self._add(
                    "dataset_DatasetPackage",
                    f"dataset-{len(self._datasets) + 1}",
                    name=name,
                    dataset_datasetType=["noAssertion"],
                    software_primaryPurpose="data",
                )
        if names:
            self._relate("trainedOn", self._package_id(version), [self._datasets[name] for name in names])

    def _add_outside(self, element_name: str, parent: ParentFacts) -> str:
        source = hub_source(parent.ref)
        hashes = [] if parent.id is None else [{"type": "Hash", "algorithm": "blake3", "hashValue": str(parent.id)}]
        return self._add(
            "software_Package",
            element_name,
            name=source.repo if source else parent.ref,
            software_packageVersion=source.revision if source else None,
            software_packageUrl=parent_purl(parent),
            software_primaryPurpose="model",
            verifiedUsing=hashes,
        )

    def _add_links(self, version: VersionFacts) -> None:
        child = self._package_id(version)
        for parent in version.parents:
            known = self._subject.known(parent)
            above = self._outside[outside_name(parent)] if known is None else self._package_id(known)
            told = {"comment": str(parent.relation), "extension": _extension(link_properties(parent))}
            if parent.relation in _VARIANTS:
                self._relate("hasVariant", above, [child], **told)
            else:
                self._relate("descendantOf", child, [above], **told)


def _file(file: FileFacts) -> dict[str, Any]:
    return {
        "name": str(file.path),
        "software_fileKind": "file",
        "verifiedUsing": [{"type": "Hash", "algorithm": "sha256", "hashValue": str(file.sha256)}],
    }


def _expression(text: str) -> str:
    """A licence that SPDX does not list is a reference of one's own"""
    return spdx_license(text) or f"LicenseRef-{re.sub(r'[^A-Za-z0-9.-]+', '-', text)}"


def _extension(told: Iterable[tuple[str, str]]) -> list[Element]:
    entries = [
        {"type": "extension_CdxPropertyEntry", "extension_cdxPropName": name, "extension_cdxPropValue": str(value)}
        for name, value in told
    ]
    return [{"type": "extension_CdxPropertiesExtension", "extension_cdxProperty": entries}]
