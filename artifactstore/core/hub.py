"""Models elsewhere: what a hub's reference means, and what a hub says of a repository and its files"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import unquote

from artifactstore.core.digest import Sha256
from artifactstore.core.errors import Invalid
from artifactstore.core.names import SafePath, refuse_collisions

SCHEME = "hf://"
ENDPOINT = "https://huggingface.co"
UPSTREAM = "upstream"  # the key of a version's metadata under which stands where it is from

# https://huggingface.co/docs/huggingface_hub: validate_repo_id
_PART = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?"
_REPO = re.compile(rf"(?:{_PART}/)?{_PART}")
_REVISION = re.compile(r"[^\s@?#\\\x00-\x1f\x7f]{1,200}")
# the two kinds of revision that huggingface_hub writes with their slashes
_SPECIAL = re.compile(r"(refs/(?:pr|convert)/[^/]+)(?:/(.*))?")
_GIT_OID = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class HubRef:
    """`hf://org/repo[@revision][/file]`; a slash inside a revision is written `%2F`, but in `refs/pr/1`"""

    repo: str
    revision: str | None = None
    file: SafePath | None = None

    def __post_init__(self) -> None:
        if not _REPO.fullmatch(self.repo) or "--" in self.repo or ".." in self.repo or self.repo.endswith(".git"):
            raise Invalid(
                f"Not a repository of the hub: {self.repo[:100]!r}; write hf://org/name[@revision]", code="hub-ref"
            )
        revision = self.revision
        if revision is not None and (not _REVISION.fullmatch(revision) or not revision.isprintable()):
            raise Invalid(f"Not a revision: {revision[:100]!r}; write a branch, a tag or a commit id", code="hub-ref")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raise Invalid when it is none"""
        if not text.startswith(SCHEME) or len(text) > 2000:
            raise Invalid(f"Not a reference to a hub: {text[:100]!r}; write hf://org/name[@revision]", code="hub-ref")
        head, at, tail = text.removeprefix(SCHEME).partition("@")
        if not at:
            org, _, rest = head.partition("/")
            name, _, file = rest.partition("/")
            return cls(f"{org}/{name}" if rest else head, None, SafePath(file) if file else None)
        special = _SPECIAL.fullmatch(tail)
        revision, _, file = (special[1], "", special[2]) if special else tail.partition("/")
        return cls(head, unquote(revision), SafePath(file) if file else None)

    @property
    def default_destination(self) -> str:
        """The folder of a model whose entry names none: `org_name`"""
        return self.repo.replace("/", "_")

    def __str__(self) -> str:
        revision = f"@{self.revision.replace('/', '%2F')}" if self.revision is not None else ""
        return f"{SCHEME}{self.repo}{revision}{f'/{self.file}' if self.file is not None else ''}"


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file elsewhere, and by what its bytes will be known

    sha256: of its bytes, as of a file in LFS. git_oid: the id git gives to its bytes, 40 hex digits, as of others.
    """

    path: SafePath
    size: int
    sha256: Sha256 | None = None
    git_oid: str | None = None

    def __post_init__(self) -> None:
        if self.size < 0:
            raise Invalid(f"{self.path} is said to have {self.size} bytes", code="listing", path=str(self.path))
        if self.git_oid is not None and not _GIT_OID.fullmatch(self.git_oid):
            raise Invalid(f"{self.path}: {self.git_oid[:50]!r} is no id of git", code="listing", path=str(self.path))
        if self.sha256 is None and self.git_oid is None:
            raise Invalid(
                f"No digest of {self.path} is told, so its bytes could not be checked",
                code="listing",
                path=str(self.path),
            )

    @property
    def digest(self) -> str:
        """`sha256:…` or `git:…`"""
        return f"sha256:{self.sha256}" if self.sha256 is not None else f"git:{self.git_oid}"


@dataclass(frozen=True, slots=True)
class Listing:
    """What a place elsewhere says it has: its files, and what should be known before they are taken

    commit: what `revision` meant when it was asked, modified: when it was made, microseconds since 1970 UTC.
    base_models and relation: as the model card declares them.
    """

    source: str
    commit: str | None
    files: tuple[RemoteFile, ...]
    license: str | None = None
    gated: bool = False
    base_models: tuple[str, ...] = ()
    relation: str | None = None
    modified: int | None = None

    def __post_init__(self) -> None:
        refuse_collisions(file.path for file in self.files)

    @property
    def size(self) -> int:
        """Bytes of all its files"""
        return sum(file.size for file in self.files)


def commit_said(metadata: Mapping[str, Any]) -> str | None:
    """The commit of a hub that a version was made of, as its metadata say it"""
    said = metadata.get(UPSTREAM)
    found = said.get("commit") if isinstance(said, Mapping) else None
    return found if isinstance(found, str) else None
