"""Identity: the names by which other tools know a version and its parents"""

import re
from typing import NamedTuple
from urllib.parse import quote
from uuid import UUID, uuid5

from artifactstore.core.exports.base import ParentFacts, VersionFacts

# Fixed for ever: documents about the same version carry the same UUID
_SPACE = UUID("7d1f0d3e-6c0b-5b86-9d55-3c6f1f0c7a51")
_HUB = re.compile(r"hf://(?P<repo>[^/@\s]+(?:/[^/@\s]+)?)(?:@(?P<revision>[^/\s]+))?(?:/.*)?")


class HubSource(NamedTuple):
    """A model on a hub, and the revision of it that was named"""

    repo: str
    revision: str | None


def hub_source(ref: str) -> HubSource | None:
    """What `hf://org/name@revision/file` means; None for any other reference"""
    found = _HUB.fullmatch(ref)
    return None if found is None else HubSource(found["repo"], found["revision"])


def document_uuid(kind: str, version: VersionFacts) -> UUID:
    """The same for the same version, always"""
    return uuid5(_SPACE, f"{kind}:{version.id}")


def version_uri(version_id: object) -> str:
    """A version under a name that holds in every store, since its id is a digest of its content"""
    return f"urn:artifactstore:version:{version_id}"


def version_purl(version: VersionFacts) -> str:
    """https://github.com/package-url/purl-spec, type generic"""
    return f"pkg:generic/{_path(version.artifact)}@{version.number}?checksum=blake3:{version.id}"


def parent_purl(parent: ParentFacts) -> str | None:
    """Of a parent that is not here, when its reference says where it is: type huggingface"""
    source = hub_source(parent.ref)
    if source is None:
        return None
    version = f"@{quote(source.revision.lower(), safe='')}" if source.revision else ""
    return f"pkg:huggingface/{_path(source.repo)}{version}"


def _path(name: str) -> str:
    return "/".join(quote(part, safe="") for part in name.split("/"))
