"""Origins: where a model comes from: the hub, another store, a folder of this machine, or one file of the web"""

import re
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from artifactstore.core.digest import Sha256
from artifactstore.core.errors import Invalid
from artifactstore.core.hub import HubRef
from artifactstore.core.names import ArtifactName, Reference, SafePath

_STORE = "store+"
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_DRIVE = re.compile(r"[A-Za-z]:[/\\]")
_FORMS = "hf://org/name, https://… with its sha256, store+URL#REF, or a folder such as ./models/mine"


@dataclass(frozen=True, slots=True)
class WebFile:
    """One file of the web, whose content is known beforehand"""

    url: str
    sha256: Sha256

    def __post_init__(self) -> None:
        parts = _split(self.url)
        if parts.scheme != "https" or not parts.hostname:
            raise Invalid(f"Not an address of the web: {self.url[:120]!r}; only https:// is taken", code="url")
        if parts.username is not None or parts.password is not None:
            raise Invalid("A source must not hold a user or password; leave them out of the URL", code="url")
        SafePath(self.file)

    @property
    def file(self) -> str:
        """The name its bytes get"""
        return unquote(_split(self.url).path.rpartition("/")[2])

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True, slots=True)
class StoreRef:
    """A version of another store, which a folder or URL names"""

    url: str
    ref: Reference

    @classmethod
    def parse(cls, text: str) -> Self:
        """`store+URL#REF`: `store+s3://bucket/prefix#org/name@prod`, `store+/mnt/disk/store#name:3`"""
        url, mark, ref = text.removeprefix(_STORE).rpartition("#")
        if not mark or not url or not ref:
            raise Invalid(f"Not a version of a store: {text[:120]!r}; write store+URL#name@alias", code="source")
        return cls(url, Reference.parse(ref))

    def __str__(self) -> str:
        return f"{_STORE}{self.url}#{self.ref.text}"


@dataclass(frozen=True, slots=True)
class Folder:
    """Files that somebody puts into a folder of this machine; one that is not absolute counts from the models' root"""

    path: str

    def __post_init__(self) -> None:
        if not self.path or not self.path.isprintable():
            raise Invalid(f"Not a folder: {self.path[:120]!a}", code="source")

    def __str__(self) -> str:
        return self.path


Origin = HubRef | WebFile | StoreRef | Folder


def parse_origin(text: str, sha256: str | None = None) -> Origin:
    """What a source means; raise Invalid. sha256: in hex, of a file of the web, and of nothing else"""
    if text.lower().startswith(("https:", "http:")):
        if sha256 is None:
            raise Invalid(f"The source {text[:120]!r} needs its sha256, by which its bytes are known", code="source")
        return WebFile(text, Sha256.parse(sha256))
    if sha256 is not None:
        raise Invalid(f"A sha256 belongs to a file of the web, not to {text[:120]!r}", code="source")
    if text.startswith("hf://"):
        return HubRef.parse(text)
    if text.startswith(_STORE):
        return StoreRef.parse(text)
    if _SCHEME.match(text) and not _DRIVE.match(text):
        raise Invalid(f"Not a source: {text[:120]!r}; write {_FORMS}", code="source")
    return Folder(text)


def parse_override(text: str) -> Origin:
    """As `parse_origin`, and a bare `org/name[@rev]` is a repository: a folder begins with `.`, `/` or `~`"""
    if text.startswith(("/", ".", "~")) or _DRIVE.match(text) or "\\" in text:
        return Folder(text)
    return parse_origin(text if _SCHEME.match(text) else f"hf://{text}")


def artifact_of(origin: Origin, name: str) -> ArtifactName:
    """What it is called in a store: a repository by its own name, so that links to it find it; `name` else"""
    if isinstance(origin, HubRef):
        return ArtifactName(origin.repo)
    if isinstance(origin, StoreRef) and origin.ref.artifact is not None:
        return origin.ref.artifact
    return ArtifactName(name)


def _split(url: str) -> Any:
    try:
        return urlsplit(url)
    except ValueError as e:
        raise Invalid(f"Not a URL: {url[:120]!a}", code="url") from e
