"""Models: what something is made of, a version of a store or a folder of safetensors, opened by its reference"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from artifactstore.catalog.base import VersionInfo
from artifactstore.core.errors import Invalid, NotFound
from artifactstore.core.formats.base import FileInfo
from artifactstore.core.lineage import Link, Relation
from artifactstore.core.manifest import Manifest
from artifactstore.core.names import SafePath
from artifactstore.depot import Depot
from artifactstore.derive.inputs import Inputs
from artifactstore.finding import Finds
from artifactstore.ops import ingest
from artifactstore.ops.ingest import read_head
from artifactstore.ops.transfer.attested import Attestations
from artifactstore.ops.transfer.fetch import load_manifest
from artifactstore.ops.transfer.held import HeldFile
from artifactstore.ops.transfer.source import LocalFile, MemoryFile
from artifactstore.tensors import pieces

_HUB = "hf://"
_INDEX = ".safetensors.index.json"
_WEIGHTS = ".safetensors"
_PICKLED = (".bin", ".pt", ".pth", ".ckpt")
_LARGEST = 256 << 20


@dataclass(frozen=True, slots=True)
class Model:
    """A model that is there. ref: as it was given; version: None for a folder

    beside: its files other than the weights of its top folder, by path.
    """

    ref: str
    inputs: Inputs
    beside: Mapping[str, LocalFile | HeldFile]
    source: pieces.Source
    version: VersionInfo | None = None
    manifest: Manifest | None = None
    folder: Path | None = None

    @property
    def config(self) -> Mapping[str, Any]:
        """Its config.json, empty where it has none; raise Invalid when that is none"""
        raw = self.read("config.json")
        if raw is None:
            return MappingProxyType({})
        try:
            found = json.loads(raw)
        except ValueError as e:
            raise Invalid(f"config.json of {self.ref} is no JSON: {e}", code="config", model=self.ref) from e
        if not isinstance(found, dict):
            raise Invalid(f"config.json of {self.ref} holds no object", code="config", model=self.ref)
        return found

    def read(self, path: str) -> bytes | None:
        """One of the files beside the weights; None where it has none, raise Invalid for one of over 256 MiB"""
        file = self.beside.get(path)
        if file is None:
            return None
        if file.size > _LARGEST:
            raise Invalid(f"{path} of {self.ref} has {file.size} bytes, too many to be read as a whole", code="large")
        return read_head(file, file.size)

    def link(self, relation: Relation, weight: float | None = None, **params: Any) -> Link:
        """The edge from what is made of it"""
        if self.version is not None:
            return Link(relation, self.version.ref, self.version.id, weight, params)
        return Link(relation, self.ref, None, weight, params)

    def held(self) -> AbstractContextManager[None]:
        """A block in which nothing of it is collected"""
        return self.source.held() if self.version is not None else nullcontext()

    @property
    def license(self) -> str | None:
        """As its version says"""
        return self.version.license if self.version is not None else None


def open_model(store: Finds, ref: str) -> Model:
    """By a reference of the store, `hf://org/name` that is held, or a folder with safetensors

    Raise NotFound; Invalid for weights that are pickled or of another format, which nothing can be made of.
    """
    if _is_path(ref):
        return _of_folder(ref, Path(ref).expanduser())
    try:
        depot, version = store.find(ref.removeprefix(_HUB))
    except (NotFound, Invalid) as e:
        if Path(ref).is_dir():
            return _of_folder(ref, Path(ref))
        if isinstance(e, Invalid):
            raise
        how = f"bring it: artstore fetch {_HUB}{ref.removeprefix(_HUB)}" if "/" in ref else "see artstore ls"
        raise NotFound(f"{ref} is neither in the store nor a folder here; {how}", code="model", model=ref) from e
    return _of_version(depot, ref, version)


def _is_path(ref: str) -> bool:
    return ref.startswith((".", "/", "~")) or (len(ref) > 1 and ref[1] == ":")


def _of_version(depot: Depot, ref: str, version: VersionInfo) -> Model:
    manifest = load_manifest(depot, version.id)
    weights = [file for file in manifest.files if _is_weights(file.path, file.format)]
    if not weights:
        raise _no_weights(ref, [str(file.path) for file in manifest.files])
    source = pieces.of_version(depot, replace(manifest, files=tuple(weights)).named(version.id))
    beside = {
        str(file.path): HeldFile.of(depot, version, manifest, file, file.path)
        for file in manifest.files
        if file not in weights and not _is_index(file.path)
    }
    return Model(ref, Inputs(source, Attestations.of(depot.settings)), beside, source, version, manifest)


def _of_folder(ref: str, folder: Path) -> Model:
    if not folder.is_dir():
        raise NotFound(f"No such folder: {ref}", code="file", path=ref)
    files = ingest.look([folder])
    weights = [file for file in files if _is_weights(file.path, file.info.format)]
    if not weights:
        raise _no_weights(ref, [str(file.path) for file in files])
    source = pieces.of_folder(folder)
    beside = {str(file.path): file for file in files if file not in weights and not _is_index(file.path)}
    return Model(ref, Inputs(source), beside, source, folder=folder.resolve())


def _is_weights(path: str, form: str) -> bool:
    return form == "safetensors" and "/" not in path


def _is_index(path: str) -> bool:
    return path.endswith(_INDEX) and "/" not in path


def _no_weights(ref: str, paths: Sequence[str]) -> Invalid:
    pickled = next((path for path in paths if path.endswith(_PICKLED)), None)
    gguf = next((path for path in paths if path.endswith(".gguf")), None)
    if pickled:
        why = f"its weights are pickled ({pickled}); save them as safetensors first"
    elif gguf:
        why = f"its weights are quantized ({gguf}); take the model it was made from"
    else:
        why = "it has no safetensors files in its top folder"
    return Invalid(f"{ref} cannot be used: {why}", code="weights", model=ref)


@contextmanager
def holding(models: Sequence[Model]) -> Iterator[None]:
    """A block in which nothing of these is collected"""
    if not models:
        yield
        return
    with models[0].held(), holding(models[1:]):
        yield


def text_file(path: str, raw: bytes) -> MemoryFile:
    """A small file that was made here, as one of a version"""
    return MemoryFile(SafePath(path), FileInfo("other"), (len(raw),), (lambda: memoryview(raw),))
