"""Repositories of the local hub: files, commits and branches, as the hub tells of them"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

LFS_SUFFIXES = (".safetensors", ".bin", ".gguf", ".pt", ".pth", ".onnx", ".h5", ".model", ".zip", ".tar", ".gz")
LFS_SIZE = 10_000_000
Content = Path | Mapping[str, bytes]


def in_lfs(path: str, size: int) -> bool:
    """What the hub keeps in LFS: by the usual .gitattributes, and whatever is large"""
    return path.endswith(LFS_SUFFIXES) or size >= LFS_SIZE


@dataclass(frozen=True)
class Held:
    """One file of a commit; `oid` is what git calls it, for a file in LFS that of its pointer"""

    path: str
    local: Path
    size: int
    sha256: str
    oid: str
    lfs: bool

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.oid

    def node(self, *, expand: bool, commit: str) -> dict[str, Any]:
        """As the tree tells it"""
        found: dict[str, Any] = {"type": "file", "oid": self.oid, "size": self.size, "path": self.path}
        if self.lfs:
            found["lfs"] = {"oid": self.sha256, "size": self.size, "pointerSize": 134}
        if expand:
            found["lastCommit"] = {"id": commit, "title": "Add", "date": "2026-01-01T00:00:00.000Z"}
            found["securityFileStatus"] = None
        return found

    def sibling(self, *, blobs: bool) -> dict[str, Any]:
        """As the model's page tells it"""
        found: dict[str, Any] = {"rfilename": self.path}
        if blobs:
            found |= {"size": self.size, "blobId": self.oid}
            if self.lfs:
                found["lfs"] = {"sha256": self.sha256, "size": self.size, "pointerSize": 134}
        return found


def hold(path: str, local: Path, lfs: Callable[[str, int], bool] = in_lfs) -> Held:
    """Look at a file"""
    size = local.stat().st_size
    git, sha256 = hashlib.sha1(b"blob %d\0" % size), hashlib.sha256()
    large = lfs(path, size)
    with local.open("rb") as file:
        while data := file.read(1 << 20):
            sha256.update(data)
            if not large:
                git.update(data)
    if large:
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256.hexdigest()}\nsize {size}\n".encode()
        git = hashlib.sha1(b"blob %d\0" % len(pointer) + pointer)
    return Held(path, local, size, sha256.hexdigest(), git.hexdigest(), large)


@dataclass
class HubRepo:
    """One model of the local hub"""

    id: str
    folder: Path
    card: Mapping[str, Any] | None = None
    gated: str | bool = False
    private: bool = False
    granted: frozenset[str] = frozenset()
    lfs: Callable[[str, int], bool] = in_lfs
    commits: dict[str, dict[str, Held]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)

    def commit(self, content: Content, *, branch: str = "main", keep: bool = True) -> str:
        """Put files on a branch, beside those that are there; the new commit id"""
        before = self.commits.get(self.refs.get(branch, ""), {}) if keep else {}
        files = before | {one.path: one for one in self._taken(content)}
        told = [self.id, len(self.commits), *sorted((one.path, one.oid) for one in files.values())]
        sha = hashlib.sha1(json.dumps(told).encode()).hexdigest()
        self.commits[sha] = files
        self.refs[branch] = sha
        return sha

    def _taken(self, content: Content) -> Iterator[Held]:
        if isinstance(content, Path):
            for local in sorted(path for path in content.rglob("*") if path.is_file()):
                yield hold(local.relative_to(content).as_posix(), local, self.lfs)
            return
        for path, data in content.items():
            local = self.folder / hashlib.sha256(data).hexdigest()
            local.write_bytes(data)
            yield hold(path, local, self.lfs)

    def resolve(self, revision: str) -> str | None:
        """The commit a revision means"""
        if revision == "HEAD":
            revision = "main"
        if revision in self.refs:
            return self.refs[revision]
        found = [sha for sha in self.commits if sha.startswith(revision)] if len(revision) >= 5 else []
        return found[0] if len(found) == 1 else None

    def info(self, sha: str, *, blobs: bool) -> dict[str, Any]:
        """The model's page"""
        files = self.commits[sha]
        card = self.card if self.card is not None else _front_matter(files.get("README.md"))
        found = {
            "_id": "0" * 24,
            "id": self.id,
            "modelId": self.id,
            "author": self.id.partition("/")[0],
            "sha": sha,
            "lastModified": "2026-01-01T00:00:00.000Z",
            "createdAt": "2026-01-01T00:00:00.000Z",
            "private": self.private,
            "gated": self.gated,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": [],
            "siblings": [files[path].sibling(blobs=blobs) for path in sorted(files)],
        }
        return found | ({"cardData": dict(card)} if card else {})

    def tree(self, sha: str, folder: str, *, recursive: bool, expand: bool) -> list[dict[str, Any]] | None:
        """Files and folders below one folder; None when there is no such folder"""
        start = f"{folder}/" if folder else ""
        below = [one for path, one in sorted(self.commits[sha].items()) if path.startswith(start)]
        if folder and not below:
            return None
        nodes: dict[str, dict[str, Any]] = {}
        for one in below:
            parts = one.path.removeprefix(start).split("/")
            for depth in range(1, len(parts) if recursive else min(len(parts), 2)):
                path = start + "/".join(parts[:depth])
                oid = hashlib.sha1(path.encode()).hexdigest()
                nodes[path] = {"type": "directory", "oid": oid, "size": 0, "path": path}
            if recursive or len(parts) == 1:
                nodes[one.path] = one.node(expand=expand, commit=sha)
        return list(nodes.values())


def _front_matter(readme: Held | None) -> dict[str, Any]:
    if readme is None:
        return {}
    block = re.match(r"---\n(.*?)\n---\n", readme.local.read_text(errors="replace"), re.DOTALL)
    found = yaml.safe_load(block[1]) if block else {}
    return found if isinstance(found, dict) else {}
