"""The manifest: everything immutable about one version, as canonical JSON whose BLAKE3 is the version's id"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, Self

import rfc8785

from artifactstore.core.digest import Digest, Sha256
from artifactstore.core.errors import Invalid
from artifactstore.core.formats.base import TensorInfo
from artifactstore.core.lineage import Link
from artifactstore.core.names import ArtifactName, SafePath, check_label, refuse_collisions
from artifactstore.core.numbers import check_finite, check_integer

FORMAT = 1
MAX_BLOB = 64 << 20


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """A blob by its digest and size in bytes"""

    digest: Digest
    size: int

    def __post_init__(self) -> None:
        if not 0 < self.size <= MAX_BLOB:
            raise Invalid(f"Blob {self.digest} has {self.size} bytes; 1 to {MAX_BLOB} are allowed", code="blob")


@dataclass(frozen=True, slots=True)
class Extent:
    """`length` bytes from `start` of the manifest's blob number `blob`"""

    blob: int
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file: concatenating its extents gives it back"""

    path: SafePath
    size: int
    sha256: Sha256
    format: str
    extents: tuple[Extent, ...]
    tensors: tuple[TensorInfo, ...] = ()


@dataclass(frozen=True)
class Manifest:
    """One version. created: microseconds since 1970 UTC. metadata: any JSON value by name

    `labels` are the checkpoint's own words: phase, step, epoch, request_id, license.
    """

    artifact: ArtifactName
    created: int
    files: tuple[FileEntry, ...]
    blobs: tuple[BlobInfo, ...]
    parents: tuple[Link, ...] = ()
    phase: str | None = None
    step: int | None = None
    epoch: float | None = None
    request_id: str | None = None
    license: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        for label in ("phase", "request_id", "license"):
            value = getattr(self, label)
            if value is not None:
                check_label(value, label.replace("_", " "))
        check_integer(self.created, "Time of creation")
        if self.step is not None:
            check_integer(self.step, "Step")
        if self.epoch is not None:
            check_finite(self.epoch, "Epoch")
        if not self.files:
            raise Invalid("A version holds at least one file", code="empty")
        refuse_collisions(file.path for file in self.files)
        if len({blob.digest for blob in self.blobs}) != len(self.blobs):
            raise Invalid("A manifest names each blob once", code="manifest")
        for file in self.files:
            _check_extents(file, self.blobs)

    @cached_property
    def raw(self) -> bytes:
        """RFC 8785 canonical JSON"""
        try:
            return rfc8785.dumps(_to_json(self))
        except (ValueError, RecursionError) as e:
            raise Invalid(f"Metadata cannot be written as JSON: {e!s:.200}", code="metadata") from e

    @cached_property
    def id(self) -> Digest:
        """The version id"""
        return Digest.of(self.raw)

    def named(self, version: Digest) -> Self:
        """The same, whose id is known from where it was read"""
        self.__dict__["id"] = version
        return self

    @property
    def nbytes(self) -> int:
        """Bytes of all files"""
        return sum(file.size for file in self.files)

    def runs(self, file: FileEntry) -> Iterator[tuple[int, BlobInfo, Extent]]:
        """(offset in the file, blob, extent) in file order"""
        offset = 0
        for extent in file.extents:
            yield offset, self.blobs[extent.blob], extent
            offset += extent.length


def _check_extents(file: FileEntry, blobs: tuple[BlobInfo, ...]) -> None:
    total = 0
    for extent in file.extents:
        if not 0 <= extent.blob < len(blobs) or extent.start < 0 or extent.length <= 0:
            raise Invalid(f"{file.path}: an extent names no bytes of a blob", code="manifest", file=file.path)
        if extent.start + extent.length > blobs[extent.blob].size:
            raise Invalid(f"{file.path}: an extent leaves its blob", code="manifest", file=file.path)
        total += extent.length
    if total != file.size:
        raise Invalid(
            f"{file.path}: extents give {total} bytes, the file has {file.size}", code="manifest", file=file.path
        )
    for tensor in file.tensors:
        if not 0 <= tensor.begin <= tensor.end <= file.size:
            raise Invalid(f"{file.path}: tensor {tensor.name!r:.80} leaves its file", code="manifest", file=file.path)


def _to_json(manifest: Manifest) -> dict[str, Any]:
    optional = {
        "parents": [link.to_json() for link in manifest.parents],
        "phase": manifest.phase,
        "step": manifest.step,
        "epoch": manifest.epoch,
        "request_id": manifest.request_id,
        "license": manifest.license,
        "metadata": dict(manifest.metadata),
    }
    return {
        "format": FORMAT,
        "artifact": str(manifest.artifact),
        "created": manifest.created,
        "blobs": [[str(blob.digest), blob.size] for blob in manifest.blobs],
        "files": [_file_to_json(file) for file in manifest.files],
        **{key: value for key, value in optional.items() if value not in (None, [], {})},
    }


def _file_to_json(file: FileEntry) -> dict[str, Any]:
    document = {
        "path": str(file.path),
        "size": file.size,
        "sha256": str(file.sha256),
        "format": file.format,
        "extents": [[extent.blob, extent.start, extent.length] for extent in file.extents],
    }
    if file.tensors:
        document["tensors"] = [[t.name, t.dtype, list(t.shape), t.begin, t.end] for t in file.tensors]
    return document
