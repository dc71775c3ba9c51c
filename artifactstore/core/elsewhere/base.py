"""What readers of other tools' layouts are given, and what they find: versions to be, and what is passed over"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Self

from artifactstore.core.errors import Invalid
from artifactstore.core.lineage import Link
from artifactstore.core.names import AliasName, ArtifactName, SafePath, refuse_collisions

LARGEST_TEXT = 4 << 20  # bytes of a manifest or listing that are read
_SHA256 = re.compile(r"[0-9a-f]{64}")
_GIT_OID = re.compile(r"[0-9a-f]{40}")
_NO_NAME = re.compile(r"[^A-Za-z0-9._/-]+")


class Tool(StrEnum):
    """A tool whose layout is known"""

    HF_CACHE = "hf-cache"
    DIR = "dir"
    OLLAMA = "ollama"
    MLFLOW = "mlflow"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raise Invalid naming the known ones"""
        try:
            return cls(text)
        except ValueError as e:
            raise Invalid(f"Nothing is known of {text!r:.40}; take in from {', '.join(cls)}", code="from") from e


@dataclass(frozen=True, slots=True)
class Entry:
    """A file as a listing tells it

    changed: microseconds since 1970 UTC. hop: of a link, the name in the same listing that it leads to first.
    fault: why its bytes cannot be had.
    """

    size: int
    changed: int
    hop: str | None = None
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Tree:
    """A folder: its files by their paths below it, and the bytes of small ones. read: raises Invalid, NotFound"""

    name: str
    entries: Mapping[str, Entry]
    read: Callable[[str], bytes] = field(repr=False)

    def below(self, folder: str) -> dict[str, Entry]:
        """Files below a folder, by their paths from there, in order"""
        start = f"{folder}/" if folder else ""
        return {path[len(start) :]: entry for path, entry in self.entries.items() if path.startswith(start)}

    def folders(self, folder: str) -> list[str]:
        """Names of folders directly in a folder that hold files somewhere"""
        return sorted({path.partition("/")[0] for path in self.below(folder) if "/" in path})

    def text(self, path: str) -> str:
        """A small file as text, without white space around it; raise Invalid, NotFound"""
        try:
            return self.read(path).decode().strip()
        except UnicodeDecodeError as e:
            raise Invalid(f"{path} is not UTF-8 ({e.reason})", code="utf-8") from e

    def json(self, path: str) -> dict[str, Any]:
        """A small file as a JSON object; raise Invalid, NotFound"""
        try:
            document = json.loads(self.read(path))
        except (ValueError, RecursionError) as e:
            raise Invalid(f"{path} is not JSON: {e!s:.100}", code="json") from e
        if not isinstance(document, dict):
            raise Invalid(f"{path} holds no JSON object", code="json")
        return document


@dataclass(frozen=True, slots=True)
class Found:
    """A version to be

    files: path in the version → path in the tree. digests: what names of files say of their bytes, in hex: 64 digits
    of sha256, or 40 of git's blob. created: microseconds since 1970 UTC.
    """

    artifact: ArtifactName
    place: str
    files: Mapping[SafePath, str]
    created: int
    aliases: tuple[AliasName, ...] = ()
    parents: tuple[Link, ...] = ()
    step: int | None = None
    request_id: str | None = None
    metrics: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    metadata: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    digests: Mapping[SafePath, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Passed:
    """What was not taken in, and why. broken: a person would have wanted it, and something is wrong with it"""

    place: str
    why: str
    broken: bool = True


@dataclass(frozen=True, slots=True)
class Survey:
    """All that a folder holds"""

    found: tuple[Found, ...]
    passed: tuple[Passed, ...] = ()


def found_files(tree: Tree, files: Mapping[str, str]) -> dict[SafePath, str]:
    """Path in the version → path in the tree; raise Invalid for one that cannot be stored or is not there"""
    named = {}
    for path, local in files.items():
        if tree.entries[local].fault is not None:
            raise Invalid(f"{path} {tree.entries[local].fault}", code="link", path=path)
        named[SafePath.from_local(path)] = local
    refuse_collisions(named)
    return named


def newest(tree: Tree, files: Iterable[str]) -> int:
    """When the youngest of some files was last modified, microseconds since 1970 UTC"""
    return max(tree.entries[path].changed for path in files)


def aliases_of(names: Iterable[str]) -> tuple[AliasName, ...]:
    """Those of the names that an alias can have"""
    found = []
    for name in names:
        try:
            found.append(AliasName(name))
        except Invalid:
            continue
    return tuple(sorted(found))


def artifact_of(text: str) -> ArtifactName:
    """The nearest name an artifact can have; raise Invalid when nothing of it is left"""
    parts = (_NO_NAME.sub("-", part).strip(".-_") or part for part in text.split("/"))
    return ArtifactName("/".join(parts))


def is_digest(text: object) -> bool:
    """Whether it is the hex of a sha256 or of a git blob"""
    return isinstance(text, str) and bool(_SHA256.fullmatch(text) or _GIT_OID.fullmatch(text))
