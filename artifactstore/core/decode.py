"""Reading a manifest back: canonical bytes only, every field of the right type, nothing unknown"""

import json
from typing import Any, TypeVar

from artifactstore.core.digest import Digest, Sha256
from artifactstore.core.errors import Corrupt, Invalid
from artifactstore.core.formats.base import TensorInfo
from artifactstore.core.lineage import Link, Relation
from artifactstore.core.manifest import FORMAT, BlobInfo, Extent, FileEntry, Manifest
from artifactstore.core.names import ArtifactName, SafePath
from artifactstore.core.numbers import read_integer

_REQUIRED = {"format", "artifact", "created", "blobs", "files"}
_OPTIONAL = {"parents", "phase", "step", "epoch", "request_id", "license", "metadata"}


def read_manifest(raw: bytes, expected: Digest | None = None) -> Manifest:
    """Parse canonical bytes; raise Corrupt when they are not `expected`, Invalid when they are no manifest"""
    manifest = _parsed(raw) if expected is None else read_known(raw, expected)
    if manifest.raw != raw:
        raise Invalid("A manifest that is not canonical JSON (RFC 8785)", code="manifest")
    return manifest


def read_known(raw: bytes, expected: Digest) -> Manifest:
    """The same of a version that a catalog has, and so was read or written here before, at half the time"""
    if Digest.of(raw) != expected:
        raise Corrupt(
            f"Manifest {expected} does not match its id; run artstore verify", code="manifest", id=str(expected)
        )
    return _parsed(raw).named(expected)


def _parsed(raw: bytes) -> Manifest:
    try:
        return _manifest(json.loads(raw, parse_int=read_integer))
    except Invalid:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as e:
        raise Invalid(f"Not a manifest: {e!s:.200}", code="manifest") from e


T = TypeVar("T")


def _typed(value: object, kind: type[T], what: str) -> T:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise Invalid(f"Manifest: {what} should be {kind.__name__}, found {type(value).__name__}", code="manifest")
    return value


def _number(value: object, what: str) -> float:
    return float(value if isinstance(value, int) and not isinstance(value, bool) else _typed(value, float, what))


def _manifest(document: Any) -> Manifest:
    keys = set(_typed(document, dict, "the document"))
    if document.get("format") != FORMAT:
        raise Invalid(
            f"Manifest format {document.get('format')!r:.20} is not {FORMAT}; a newer artifactstore wrote it",
            code="format",
        )
    if keys - _REQUIRED - _OPTIONAL or _REQUIRED - keys:
        wrong = sorted(keys - _REQUIRED - _OPTIONAL | (_REQUIRED - keys))
        raise Invalid(f"Manifest has unknown or missing keys {wrong}", code="manifest")
    epoch = document.get("epoch")
    return Manifest(
        artifact=ArtifactName(_typed(document["artifact"], str, "artifact")),
        created=_typed(document["created"], int, "created"),
        blobs=tuple(
            BlobInfo(Digest.parse(name), _typed(size, int, "a blob's size")) for name, size in document["blobs"]
        ),
        files=tuple(_file(entry) for entry in document["files"]),
        parents=tuple(read_link(entry) for entry in document.get("parents", ())),
        phase=document.get("phase"),
        step=None if document.get("step") is None else _typed(document["step"], int, "step"),
        epoch=None if epoch is None else _number(epoch, "epoch"),
        request_id=document.get("request_id"),
        license=document.get("license"),
        metadata=_typed(document.get("metadata", {}), dict, "metadata"),
    )


def _file(entry: Any) -> FileEntry:
    wrong = set(entry) - {"path", "size", "sha256", "format", "extents", "tensors"}
    if wrong:
        raise Invalid(f"Manifest: a file has unknown keys {sorted(wrong)}", code="manifest")
    return FileEntry(
        path=SafePath(entry["path"]),
        size=_typed(entry["size"], int, "a file's size"),
        sha256=Sha256.parse(entry["sha256"]),
        format=_typed(entry["format"], str, "a file's format"),
        extents=tuple(Extent(*(_typed(number, int, "an extent") for number in extent)) for extent in entry["extents"]),
        tensors=tuple(_tensor(*tensor) for tensor in entry.get("tensors", ())),
    )


def _tensor(name: object, dtype: object, shape: list[object], begin: object, end: object) -> TensorInfo:
    for number in (*shape, begin, end):
        if type(number) is not int:
            _typed(number, int, "a tensor's shape or place")
    return TensorInfo(
        name=_typed(name, str, "a tensor's name"),
        dtype=_typed(dtype, str, "a tensor's dtype"),
        shape=tuple(shape),  # type: ignore[arg-type]  # looked at above
        begin=begin,  # type: ignore[arg-type]  # as above
        end=end,  # type: ignore[arg-type]  # as above
    )


def read_link(entry: Any) -> Link:
    """A parent as a manifest says it; raise Invalid, KeyError, TypeError for anything else"""
    wrong = set(entry) - {"relation", "ref", "id", "weight", "params"}
    if wrong:
        raise Invalid(f"Manifest: a parent has unknown keys {sorted(wrong)}", code="manifest")
    weight = entry.get("weight")
    return Link(
        relation=Relation.parse(entry["relation"]),
        ref=_typed(entry["ref"], str, "a parent's reference"),
        id=None if "id" not in entry else Digest.parse(entry["id"]),
        weight=None if weight is None else _number(weight, "a parent's weight"),
        params=_typed(entry.get("params", {}), dict, "a parent's parameters"),
    )
