"""Arrangement: where the files of a version go below a folder, and what stands beside them"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Self

from artifactstore.core.digest import Digest
from artifactstore.core.errors import Invalid
from artifactstore.core.hub import commit_said
from artifactstore.core.manifest import FileEntry, Manifest
from artifactstore.core.names import SafePath, refuse_collisions

_COMMIT = re.compile(r"[0-9a-f]{40}")
# https://huggingface.co/docs/huggingface_hub: validate_repo_id
_REPO = re.compile(r"(?:[\w-][\w.-]{0,95}/)?[\w-][\w.-]{0,95}", re.ASCII)


class Layout(StrEnum):
    """How the files of a version lie in the folder they are written to"""

    FILES = "files"
    HF_CACHE = "hf-cache"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raise Invalid naming the known ones"""
        try:
            return cls(text)
        except ValueError as e:
            raise Invalid(f"Unknown layout {text!r:.40}; use one of {', '.join(cls)}", code="layout") from e


@dataclass(frozen=True, slots=True)
class Arrangement:
    """Names relative to a folder, of what a version becomes there

    home: the folder in which its files are found by their own paths. places: where the bytes of each go; links: what
    leads to them, written after them; texts: small files, written last.
    """

    home: str
    places: Mapping[SafePath, SafePath]
    links: Mapping[SafePath, SafePath] = field(default_factory=lambda: MappingProxyType({}))
    texts: Mapping[SafePath, str] = field(default_factory=lambda: MappingProxyType({}))

    def unlinked(self) -> Self:
        """The same on a disk that knows no links: the bytes themselves stand in their place"""
        return replace(self, places={**self.places, **self.links}, links={})


def arrange(layout: Layout, manifest: Manifest, files: Iterable[FileEntry], aliases: Iterable[str]) -> Arrangement:
    """The arrangement of some files of a version; raise Invalid when its artifact has no name for a hub"""
    if layout is Layout.HF_CACHE:
        return _hub_cache(manifest, files, aliases)
    return Arrangement("", {file.path: file.path for file in files})


def commit_of(metadata: Mapping[str, Any], version: Digest) -> str:
    """The commit a version was fetched from, else the first 40 hex digits of its id"""
    found = commit_said(metadata)
    return found if found is not None and _COMMIT.fullmatch(found) else str(version)[:40]


def hub_folder(repo: str) -> str:
    """The folder of a repository in a cache: `models--org--name`; raise Invalid for what is no name of one"""
    if not _REPO.fullmatch(repo) or "--" in repo or ".." in repo or repo.endswith((".", "-", ".git")):
        raise Invalid(
            f"{repo!r:.80} is no name a Hugging Face cache can have: it takes name or org/name, each of at most 96 "
            "letters, digits, '.', '_' and '-', without '--'; add the version under such a name",
            code="layout",
        )
    return "--".join(("models", *repo.split("/")))


def _hub_cache(manifest: Manifest, files: Iterable[FileEntry], aliases: Iterable[str]) -> Arrangement:
    """`models--org--name/{blobs,snapshots/COMMIT,refs}`, as huggingface_hub keeps it

    Its own blobs are named by what the hub calls their ETag, which nothing but a later download looks at; here all
    have their sha256. A listing of the commit in `trees` is left out: one of some files would pass for all of them.
    """
    folder = hub_folder(manifest.artifact)
    commit = commit_of(manifest.metadata, manifest.id)
    home = f"{folder}/snapshots/{commit}"
    given = list(files)
    refs = {SafePath(f"{folder}/refs/{name}"): commit for name in dict.fromkeys(("main", *aliases))}
    refuse_collisions(refs)
    return Arrangement(
        home,
        {file.path: SafePath(f"{folder}/blobs/{file.sha256}") for file in given},
        {file.path: SafePath(f"{home}/{file.path}") for file in given},
        refs,
    )
