"""Filesystem: files of versions for whatever opens URLs by fsspec, as `artstore://org/name@prod/config.json`

https://filesystem-spec.readthedocs.io. What is opened is one version: an alias that moves meanwhile changes nothing.
A version that ranks wrote has one file more, `consolidated.safetensors`, with all tensors as if they had lain on one.
"""

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from fsspec.spec import AbstractBufferedFile, AbstractFileSystem

from artifactstore.core.consolidated import PATH, Consolidated, is_offered
from artifactstore.core.digest import Digest
from artifactstore.core.errors import Corrupt, Invalid, NoStore, NotFound
from artifactstore.core.manifest import FileEntry, Manifest
from artifactstore.depot import Depot
from artifactstore.ops.transfer.fetch import load_manifest
from artifactstore.ops.transfer.ranges import Ranges
from artifactstore.ops.transfer.sharded import consolidated
from artifactstore.store import Store

# A reference ends at the first slash after its alias, number or bare name without a folder.
_PATH = re.compile(r"(?P<ref>[^@:]+?[@:][^/]+)(?:/(?P<path>.*))?", re.DOTALL)


class Address(NamedTuple):
    """What a URL names: a reference, and a path in its version, empty for all of it"""

    ref: str
    path: str


@dataclass(frozen=True)
class _Version:
    """A version, and the file of all that its ranks wrote, put together when first asked for"""

    depot: Depot
    manifest: Manifest

    def file(self, path: str) -> FileEntry | Consolidated | None:
        """What lies at a path; raise Corrupt, Invalid where what ranks wrote cannot be one file"""
        found = next((file for file in self.manifest.files if file.path == path), None)
        return found or (self.whole if path == PATH else None)

    @cached_property
    def whole(self) -> Consolidated | None:
        """As `file` of its path, None where there is none"""
        return consolidated(self.depot, self.manifest) if is_offered(self.manifest) else None


class ArtifactFileSystem(AbstractFileSystem):  # type: ignore[misc]  # fsspec is untyped
    """Versions of one store, read only

    store: folder or URL of the store, by default what ARTSTORE_STORE says. catalog: where it is not beside the blobs.
    """

    protocol = "artstore"
    root_marker = ""

    def __init__(self, store: str | None = None, catalog: str | None = None, **options: Any) -> None:
        super().__init__(**options)
        # a URL is opened by strings alone, so this one place of the library looks into the environment
        url = store or os.environ.get("ARTSTORE_STORE")
        if not url:
            raise NoStore("Say which store: storage_options={'store': …}, or set ARTSTORE_STORE")
        self._store = Store.open(url, catalog or os.environ.get("ARTSTORE_CATALOG"), read_only=True)
        # the last one that was asked for: whoever opens a file asks several times
        self._versions: dict[Digest, _Version] = {}

    def ls(self, path: str, detail: bool = True, **_options: Any) -> list[Any]:  # noqa: FBT001, FBT002  # fsspec's own
        """Files and folders of a version"""
        address, version = self._look(path)
        prefix = f"{address.path}/" if address.path else ""
        found: dict[str, dict[str, Any]] = {}
        for file in version.manifest.files:
            if file.path == address.path:
                found[str(file.path)] = _file(address, file)
            elif file.path.startswith(prefix):
                name, slash, _ = file.path[len(prefix) :].partition("/")
                found[prefix + name] = _folder(address, prefix + name) if slash else _file(address, file)
        if address.path in {"", PATH}:
            # what cannot be put together says so when it is opened; the files beside it are well
            with suppress(Corrupt, Invalid):
                if version.whole is not None:
                    found[PATH] = _whole(address, version.whole)
        if not found:
            raise FileNotFoundError(path)
        return list(found.values()) if detail else [entry["name"] for entry in found.values()]

    def info(self, path: str, **_options: Any) -> dict[str, Any]:
        """One file, with its sha256 where it is stored, or folder"""
        address, version = self._look(path)
        file = version.file(address.path)
        if file is not None:
            return _whole(address, file) if isinstance(file, Consolidated) else _file(address, file)
        if address.path and not any(file.path.startswith(f"{address.path}/") for file in version.manifest.files):
            raise FileNotFoundError(path)
        return _folder(address, address.path)

    def _open(self, path: str, mode: str = "rb", **options: Any) -> "ArtifactFile":
        if mode != "rb":
            raise Invalid("Versions never change; add another with artstore add", code="mode")
        return ArtifactFile(self, path, mode, **options)

    def ranges(self, path: str) -> Ranges:
        """A file to be read in parts; raise FileNotFoundError"""
        address, version = self._look(path)
        file = version.file(address.path)
        if file is None:
            raise FileNotFoundError(path)
        if isinstance(file, Consolidated):
            return Ranges(self._store.depot, version.manifest, file.body, file.header)
        return Ranges(self._store.depot, version.manifest, file)

    def _look(self, path: str) -> tuple[Address, _Version]:
        address = parse(self._strip_protocol(path))
        try:
            found = self._store.resolve(address.ref).id
        except NotFound as e:
            raise FileNotFoundError(e.message) from e
        version = self._versions.get(found)
        if version is None:
            version = _Version(self._store.depot, load_manifest(self._store.depot, found))
            self._versions = {found: version}
        return address, version


class ArtifactFile(AbstractBufferedFile):  # type: ignore[misc]  # fsspec is untyped
    """One file of a version, each blob checked before its bytes are given"""

    def __init__(self, fs: ArtifactFileSystem, path: str, mode: str = "rb", **options: Any) -> None:
        self._ranges = fs.ranges(path)
        super().__init__(fs, path, mode, **{**options, "size": self._ranges.size})

    def _fetch_range(self, start: int, end: int) -> bytes:
        return self._ranges.read(start, end)


def parse(path: str) -> Address:
    """`name@alias/file`, `name:3/file`, with or without the file; raise Invalid for what is not"""
    found = _PATH.fullmatch(path.strip("/"))
    if found is None:
        raise Invalid(f"{path!r:.120} is not name@alias/file or name:number/file", code="reference")
    return Address(found["ref"], (found["path"] or "").strip("/"))


def _file(address: Address, file: FileEntry) -> dict[str, Any]:
    name = f"{address.ref}/{file.path}"
    return {"name": name, "size": file.size, "type": "file", "sha256": str(file.sha256)}


def _whole(address: Address, whole: Consolidated) -> dict[str, Any]:
    return {"name": f"{address.ref}/{PATH}", "size": whole.size, "type": "file"}


def _folder(address: Address, path: str) -> dict[str, Any]:
    return {"name": f"{address.ref}/{path}".rstrip("/"), "size": 0, "type": "directory"}
