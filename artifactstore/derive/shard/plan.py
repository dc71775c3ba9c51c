"""Plan: how a version's files come to lie in files of at most so many bytes, nothing read but heads"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from artifactstore.catalog.base import VersionInfo
from artifactstore.core import sharding
from artifactstore.core.errors import Invalid, NotFound, Refused
from artifactstore.core.manifest import FileEntry, Manifest
from artifactstore.core.names import SafePath, refuse_collisions
from artifactstore.core.units import format_size
from artifactstore.depot import Depot
from artifactstore.derive.dest import in_the_way
from artifactstore.derive.shard.layout import LaidFile, copied
from artifactstore.derive.shard.models import Division
from artifactstore.ops.transfer.fetch import load_manifest
from artifactstore.ops.transfer.source import looking_at

_PART = re.compile(
    r"(?P<stem>.+?)(?:-\d{5,}-of-\d{5,})?(?:(?P<suffix>\.safetensors|\.gguf)(?:\.index\.json)?|\.onnx_data(?:_\d+)?)"
)


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """Which files are written, the ones that name others last. split: files of the version that come to lie in others

    stale: what of another division lies in the folder and goes once the new files are there.
    """

    version: VersionInfo
    manifest: Manifest
    dest: Path
    ceiling: int
    files: tuple[LaidFile, ...]
    split: tuple[SafePath, ...]
    stale: tuple[Path, ...] = ()
    force: bool = False

    @property
    def nbytes(self) -> int:
        """Bytes of all files"""
        return sum(file.size for file in self.files)

    def to_json(self) -> dict[str, Any]:
        """For people and programs to read before it runs"""
        return {
            "id": str(self.version.id),
            "ref": self.version.ref,
            "dest": str(self.dest),
            "ceiling": self.ceiling,
            "files": [{"path": str(file.path), "size": file.size} for file in self.files],
            "split": [str(path) for path in self.split],
            "bytes": self.nbytes,
        }


def plan(
    depot: Depot, version: VersionInfo, dest: Path, ceiling: int, *, only: Sequence[str] = (), force: bool = False
) -> ShardPlan:
    """Divide a version's files; raise Invalid for what is over the ceiling and cannot be divided

    only: globs of paths, of which one must match. Raise Refused when other content would be overwritten, or another
    division lies in the folder, or the whole, and not `force`.
    """
    manifest = load_manifest(depot, version.id)
    if ceiling <= 0:
        raise Invalid(f"Files of {ceiling} bytes hold nothing; give a size such as 100MB", code="ceiling")
    if any(file.path == sharding.PATH for file in manifest.files):
        raise Invalid(
            f"Ranks wrote {version.ref} in parts; write it out whole with artstore checkout --format safetensors, and "
            "add that",
            code="ranks",
        )
    entries = {f.path: f for f in manifest.files if not only or any(fnmatchcase(f.path, glob) for glob in only)}
    if not entries:
        raise NotFound(f"No file of {version.ref} matches {', '.join(only)}", code="path")
    files, split = _divided(depot, manifest, entries, ceiling)
    refuse_collisions(file.path for file in files)
    stale = _look_at(dest, files, force=force)
    return ShardPlan(version, manifest, dest, ceiling, files, split, stale, force)


def _divided(
    depot: Depot, manifest: Manifest, entries: Mapping[SafePath, FileEntry], ceiling: int
) -> tuple[tuple[LaidFile, ...], tuple[SafePath, ...]]:
    division = Division(depot, manifest, dict(entries), ceiling)
    division.all()
    for path, entry in division.left.items():
        _check_small(entry, ceiling)
        division.files.append(copied(path, entry.size))
    # what names others last
    return tuple(sorted(division.files, key=lambda file: (file.last, str(file.path)))), tuple(division.split)


def _check_small(entry: FileEntry, ceiling: int) -> None:
    if entry.size > ceiling:
        raise Invalid(
            f"{entry.path} has {format_size(entry.size)}, over {ceiling} bytes, and is of no format that can be split; "
            f"leave it out with --only, or give --size {entry.size} or more",
            code="ceiling",
            file=entry.path,
            least=entry.size,
        )


def _look_at(dest: Path, files: Sequence[LaidFile], *, force: bool) -> tuple[Path, ...]:
    """What of another division is there; raise Refused for what is in the way"""
    with looking_at(dest):
        if dest.exists() and not dest.is_dir():
            raise Invalid(f"{dest} is a file; give a folder", code="folder", path=str(dest))
        for file in files:
            path = dest / file.path
            if os.path.lexists(path) and _other(path, file.size) and (path.is_dir() or not force):
                raise in_the_way(path)
        stale = tuple(_stale(dest, files))
    if stale and not force:
        raise Refused(
            f"{stale[0]} is of another division of the same model; choose another folder, or replace it with --force",
            code="overwrite",
            path=str(stale[0]),
        )
    return stale


def _other(path: Path, size: int) -> bool:
    """Whether what is there cannot be a file of this size"""
    return path.is_symlink() or not path.is_file() or path.stat().st_size != size


def _stale(dest: Path, files: Sequence[LaidFile]) -> Iterator[Path]:
    """What would be read together with the files, or instead of them, and lies there from before"""
    ours = {dest / file.path for file in files}
    families = {(path.parent, family) for path in ours if (family := _family(path.name)) is not None}
    for folder, family in sorted(families):
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path not in ours and _family(path.name) == family:
                yield path


def _family(name: str) -> str | None:
    """The file that something is a part of, or the index of, or the whole; None for what is no weights"""
    found = _PART.fullmatch(name)
    return None if found is None else found["stem"] + (found["suffix"] or ".onnx_data")
