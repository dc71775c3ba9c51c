"""PROV: how a version came to be, https://www.w3.org/submissions/prov-json/"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from artifactstore.core.exports.base import (
    ParentFacts,
    Subject,
    VersionFacts,
    link_properties,
    outside_name,
    properties,
    shown,
    words,
)
from artifactstore.core.exports.identity import document_uuid, parent_purl, version_uri
from artifactstore.core.lineage import Relation
from artifactstore.core.units import format_moment

# The same weights in another form: neither comes from the other
_ALTERNATES = {Relation.CONVERT, Relation.RESHARD}


def document(subject: Subject) -> dict[str, Any]:
    """Always the same for the same version and the same lineage: no clock, no random number"""
    return _Records(subject).build()


class _Records:
    """The records of one document by kind and name"""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._outside: dict[str, str] = {}
        self._datasets: dict[str, str] = {}
        self._records: defaultdict[str, dict[str, Any]] = defaultdict(dict)

    def build(self) -> dict[str, Any]:
        """The whole document"""
        for number, (name, parent) in enumerate(self._subject.outside().items(), 1):
            entity = f"here:outside-{number}" if parent.id is None else f"version:{parent.id}"
            self._outside[name] = entity
            self._records["entity"][entity] = _outside(parent)
        for version in self._subject.versions:
            self._tell(version)
        prefixes = {
            "artifactstore": "urn:artifactstore:",
            "version": version_uri(""),
            "sha256": "urn:artifactstore:sha256:",
            "here": f"urn:uuid:{document_uuid('prov', self._subject.version)}#",
        }
        return {"prefix": prefixes, **self._records}

    def _relate(self, kind: str, **ends: Any) -> None:
        named = {f"prov:{name}": value for name, value in ends.items() if name != "more"}
        records = self._records[kind]
        records[f"_:{kind}{len(records) + 1}"] = named | ends.get("more", {})

    def _tell(self, version: VersionFacts) -> None:
        entity, activity = f"version:{version.id}", f"here:making-{version.id}"
        told = [*properties(version), *((f"artifactstore:metric:{k}", shown(v)) for k, v in version.metrics.items())]
        label = {"prov:label": version.ref, "prov:type": _name("prov:Collection")}
        self._records["entity"][entity] = label | _attributes(told)
        self._tell_files(version, entity)
        kinds = list(dict.fromkeys(str(parent.relation) for parent in version.parents))
        self._records["activity"][activity] = {"prov:type": kinds} if kinds else {}
        self._relate("wasGeneratedBy", entity=entity, activity=activity, time=format_moment(version.created))
        for name in words(version.metadata, "datasets"):
            self._relate("used", activity=activity, entity=self._dataset(name))
        for parent in version.parents:
            self._tell_link(parent, entity, activity)

    def _tell_files(self, version: VersionFacts, entity: str) -> None:
        for file in version.files:
            name = f"sha256:{file.sha256}"
            # the same content may lie at several paths, here and in other versions
            told = self._records["entity"].setdefault(name, {"artifactstore:path": [], "artifactstore:size": file.size})
            if str(file.path) not in told["artifactstore:path"]:
                told["artifactstore:path"].append(str(file.path))
            self._relate("hadMember", collection=entity, entity=name)

    def _dataset(self, name: str) -> str:
        known = self._datasets.setdefault(name, f"here:dataset-{len(self._datasets) + 1}")
        self._records["entity"][known] = {"prov:label": name, "prov:type": _name("artifactstore:dataset")}
        return known

    def _tell_link(self, parent: ParentFacts, entity: str, activity: str) -> None:
        known = self._subject.known(parent)
        source = self._outside[outside_name(parent)] if known is None else f"version:{known.id}"
        self._relate("used", activity=activity, entity=source, more=_attributes(link_properties(parent)))
        if parent.relation in _ALTERNATES:
            self._relate("alternateOf", alternate1=entity, alternate2=source)
            return
        kind = {"prov:type": _name("prov:Revision")} if parent.relation is Relation.RESUME else {}
        self._relate("wasDerivedFrom", generatedEntity=entity, usedEntity=source, activity=activity, more=kind)


def _outside(parent: ParentFacts) -> dict[str, Any]:
    told = {"prov:label": parent.ref, "artifactstore:id": None if parent.id is None else str(parent.id)}
    told["artifactstore:purl"] = parent_purl(parent)
    return {name: value for name, value in told.items() if value is not None}


def _name(qualified: str) -> dict[str, str]:
    return {"$": qualified, "type": "prov:QUALIFIED_NAME"}


def _attributes(told: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """An attribute's name may hold few characters, so that `artifactstore:metadata:lr` becomes a value `lr=…`"""
    found: dict[str, Any] = {}
    for full, value in told:
        prefix, name, *key = full.split(":", 2)
        if key:
            found.setdefault(f"{prefix}:{name}", []).append(f"{key[0]}={value}")
        else:
            found[f"{prefix}:{name}"] = str(value)
    return found
