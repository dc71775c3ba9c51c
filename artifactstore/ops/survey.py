"""Survey: what another tool keeps below a folder, read without changing it"""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from artifactstore.core.digest import Sha256
from artifactstore.core.elsewhere import folders, hf_cache, mlflow, ollama
from artifactstore.core.elsewhere.base import LARGEST_TEXT, Entry, Found, Survey, Tool, Tree
from artifactstore.core.errors import Corrupt, Invalid, NotFound
from artifactstore.core.names import SafePath
from artifactstore.ops.transfer.source import LocalReading, looking_at

_CHUNK = 8 << 20
_READERS: Mapping[Tool, Callable[[Tree], Survey]] = MappingProxyType(
    {Tool.HF_CACHE: hf_cache.read, Tool.DIR: folders.read, Tool.OLLAMA: ollama.read, Tool.MLFLOW: mlflow.read}
)
_SHARED = "blobs"  # the folder beside its repositories in which newer hub clients keep what several have


@dataclass(frozen=True, slots=True)
class Surveyed:
    """A folder, what it holds, and the file of this machine that each path in it means"""

    root: Path
    survey: Survey
    files: Mapping[str, Path]

    def sources(self, found: Found) -> dict[SafePath, Path]:
        """Path in the version → file"""
        return {path: self.files[local] for path, local in found.files.items()}


def run(tool: Tool, path: Path, skip: Path | None = None) -> Surveyed:
    """Look through a folder; raise NotFound when it is not there or holds no such thing

    skip: a folder left out, the store itself.
    """
    with looking_at(path):
        if not path.is_dir():
            what = f"No such folder: {path}" if not path.exists() else f"{path} is a file; give the folder"
            raise NotFound(what, code="file", path=str(path))
        root, tops = path.resolve(), None
        if tool is Tool.HF_CACHE and hf_cache.is_repo(root.name):
            root, tops = root.parent, {root.name, _SHARED}
        entries, files = _listed(root, tops, skip)
    read = _reader(files)
    survey = _READERS[tool](Tree(root.name, MappingProxyType(entries), read))
    if not survey.found and not survey.passed:
        raise NotFound(f"{path} holds nothing that --from {tool} knows", code="from", path=str(path))
    return Surveyed(path, survey, files)


def _listed(root: Path, tops: set[str] | None, skip: Path | None) -> tuple[dict[str, Entry], dict[str, Path]]:
    entries: dict[str, Entry] = {}
    files: dict[str, Path] = {}
    for name, top in sorted(_tops(root, tops)):
        # a repository may itself have been moved to another disk, with a link in its place
        real = top.resolve() if top.is_dir() else top
        for relative, local in _walk(real, skip) if top.is_dir() else [("", top)]:
            path = f"{name}/{relative}" if relative else name
            entries[path], files[path] = _looked_at(path, local, (root, real))
    return entries, files


def _tops(root: Path, tops: set[str] | None) -> Iterator[tuple[str, Path]]:
    for entry in root.iterdir():
        if (tops is None or entry.name in tops) and entry.name != ".git":
            yield entry.name, entry


def _walk(root: Path, skip: Path | None) -> Iterator[tuple[str, Path]]:
    """(relative POSIX path, file); links to folders are not followed"""
    avoided = None if skip is None else skip.resolve()
    if root == avoided:
        return
    for folder, names, leaves in os.walk(root):
        here = Path(folder)
        names[:] = sorted(name for name in names if name != ".git" and (here / name) != avoided)
        for leaf in sorted(leaves):
            yield (here / leaf).relative_to(root).as_posix(), here / leaf


def _looked_at(path: str, local: Path, inside: tuple[Path, ...]) -> tuple[Entry, Path]:
    """What a file is, and where its bytes lie"""
    if not local.is_symlink():
        status = local.lstat()
        return Entry(status.st_size, status.st_mtime_ns // 1000), local
    hop = _hop(path.partition("/")[0], local, *inside)
    try:
        target = local.resolve(strict=True)
        status = target.stat()
    except (OSError, RuntimeError):
        return Entry(0, 0, hop, "is a link to nothing; download it again"), local
    if not any(target.is_relative_to(folder) for folder in inside):
        return Entry(status.st_size, status.st_mtime_ns // 1000, hop, f"is a link that leaves {inside[0]}"), target
    return Entry(status.st_size, status.st_mtime_ns // 1000, hop), target


def _hop(top: str, link: Path, root: Path, real: Path) -> str | None:
    """The path in the listing that a link leads to first"""
    first = Path(os.path.normpath(link.parent / link.readlink()))
    if first.is_relative_to(real):
        return f"{top}/{first.relative_to(real).as_posix()}"
    return first.relative_to(root).as_posix() if first.is_relative_to(root) else None


def _reader(files: Mapping[str, Path]) -> Callable[[str], bytes]:
    def read(path: str) -> bytes:
        reading = LocalReading(files[path])
        try:
            if reading.size > LARGEST_TEXT:
                raise Invalid(f"{path} has {reading.size} bytes, at most {LARGEST_TEXT} are read", code="size")
            return reading.read(0, reading.size)
        finally:
            reading.abandon()

    return read


def check_git(local: Path, expected: str) -> None:
    """Raise Corrupt unless a file is the git blob that its name says: 40 hex digits of sha1 over a header and its bytes

    https://git-scm.com/book/en/v2/Git-Internals-Git-Objects
    """
    reading = LocalReading(local)
    try:
        found = hashlib.sha1(f"blob {reading.size}\0".encode(), usedforsecurity=False)
        for begin in range(0, reading.size, _CHUNK):
            found.update(reading.read(begin, min(_CHUNK, reading.size - begin)))
    finally:
        reading.abandon()
    if found.hexdigest() != expected:
        raise damaged(local, found.hexdigest())


def damaged(local: Path, found: str | Sha256) -> Corrupt:
    """The error of a file whose bytes are not those its name or listing says"""
    return Corrupt(
        f"{local} is damaged: its bytes have the digest {found}; remove it and download it again",
        code="file",
        path=str(local),
    )
