"""Inspect: what a bundle carries, from whom, and whether it is whole"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from artifactstore.blobs.layout import BLOBS, MANIFESTS, parse_object
from artifactstore.core.bundle import Named
from artifactstore.core.decode import read_manifest
from artifactstore.core.digest import Digest
from artifactstore.core.errors import Corrupt, Invalid
from artifactstore.core.events import Monitor, Progress, silent
from artifactstore.core.manifest import MAX_BLOB
from artifactstore.ops.transfer.buffers import BufferPool
from artifactstore.ops.transfer.bundled import Bundle, Told, open_bundle
from artifactstore.ops.transfer.signature import Signature


@dataclass(frozen=True, slots=True)
class Content:
    """A version in a bundle. nbytes: of its files; left_out: bytes of its blobs that the other side should have"""

    version: Named
    nbytes: int
    license: str | None
    aliases: tuple[str, ...]
    left_out: int


@dataclass(frozen=True, slots=True)
class Wrong:
    """An object that is not what its name says, and where it stands in the stream"""

    key: str
    digest: Digest
    offset: int
    kind: Literal["corrupt"] = "corrupt"


@dataclass(frozen=True, slots=True)
class BundleInfo:
    """What is in a bundle. store: the one it is from. damaged: None when blobs were not looked at"""

    paths: tuple[Path, ...]
    nbytes: int
    store: str
    versions: tuple[Content, ...]
    base: tuple[Named, ...]
    signature: Signature
    damaged: tuple[Wrong, ...] | None

    @property
    def is_delta(self) -> bool:
        """Whether it counts on versions at the other side"""
        return bool(self.base)

    def to_json(self) -> dict[str, Any]:
        """For people and programs"""
        damaged = self.damaged and [
            {"digest": str(one.digest), "kind": one.kind, "offset": one.offset} for one in self.damaged
        ]
        return {
            "files": [str(path) for path in self.paths],
            "bytes": self.nbytes,
            "store": self.store,
            "versions": [
                {
                    "id": str(one.version.id),
                    "ref": one.version.ref,
                    "size": one.nbytes,
                    "license": one.license,
                    "aliases": list(one.aliases),
                    "left_out_bytes": one.left_out,
                }
                for one in self.versions
            ],
            "complete": not self.is_delta,
            "base": [{"id": str(one.id), "ref": one.ref} for one in self.base],
            "signature": {
                "state": self.signature.state,
                "key": self.signature.key,
                "by": None if self.signature.by is None else self.signature.by.name,
            },
            "damaged": None if damaged is None else list(damaged),
        }


def run(path: Path, *, trusted: Path | None = None, verify: bool = False, monitor: Monitor = silent) -> BundleInfo:
    """Look into a bundle without a store; verify: read every blob. Raise as `open_bundle`"""
    with open_bundle(path, trusted) as bundle:
        versions = tuple(_content(bundle, one) for one in bundle.versions)
        damaged = tuple(_damage(bundle, monitor)) if verify else None
        paths, nbytes = tuple(bundle.blobs.paths), bundle.blobs.nbytes
        label = bundle.label
        return BundleInfo(paths, nbytes, label.store, versions, label.base, bundle.signature, damaged)


def _content(bundle: Bundle, told: Told) -> Content:
    try:
        document = read_manifest(bundle.blobs.read(told.manifest), told.id)
    except (Corrupt, Invalid) as e:
        raise Corrupt(
            f"The manifest of {told.ref} in {bundle.blobs.url} is damaged at byte {bundle.blobs.offset(told.manifest)}",
            code="manifest",
            offset=bundle.blobs.offset(told.manifest),
        ) from e
    missing = set(told.left_out)
    left_out = sum(blob.size for blob in document.blobs if blob.digest in missing)
    return Content(Named(told.id, told.ref), document.nbytes, document.license, told.aliases, left_out)


def _damage(bundle: Bundle, monitor: Monitor) -> Iterator[Wrong]:
    pool = BufferPool(0)
    buffer = pool.take()
    done = 0
    for key, size in chain(bundle.blobs.sizes(BLOBS), bundle.blobs.sizes(MANIFESTS)):
        name = parse_object(key)
        assert name is not None
        view = buffer.view[:size] if size <= MAX_BLOB else memoryview(bytearray(size))
        bundle.blobs.read_into(key, view)
        if Digest.of(view) != name.digest:
            yield Wrong(key, name.digest, bundle.blobs.offset(key))
        done += size
        monitor(Progress("verify", done, bundle.blobs.nbytes))
    buffer.drop()
    pool.close()
