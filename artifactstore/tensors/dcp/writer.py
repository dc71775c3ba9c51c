"""Writer: each rank writes the blobs of its own parts, the coordinator commits one version in one transaction"""

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch.distributed.checkpoint.metadata import Metadata, MetadataIndex
from torch.distributed.checkpoint.planner import SavePlan, SavePlanner, WriteItem
from torch.distributed.checkpoint.storage import StorageWriter, WriteResult
from torch.futures import Future

from artifactstore.catalog.base import VersionInfo, Written
from artifactstore.core.digest import Digest
from artifactstore.core.errors import Invalid
from artifactstore.core.formats.base import FileInfo
from artifactstore.core.lineage import Link
from artifactstore.core.manifest import BlobInfo, FileEntry
from artifactstore.core.names import AliasName, ArtifactName, SafePath
from artifactstore.core.settings import Settings
from artifactstore.core.sharding import PATH, Chunk, Index
from artifactstore.depot import Depot, OpenStore
from artifactstore.ops import ingest
from artifactstore.ops.ingest import Labels
from artifactstore.ops.transfer.cutter import cut_sources, entries
from artifactstore.ops.transfer.source import MemoryFile, Source
from artifactstore.ops.transfer.upload import Upload
from artifactstore.session import Session, Tags, join_session, open_session
from artifactstore.tensors.dcp.opened import Place
from artifactstore.tensors.dtypes import NAMES, stored_shape
from artifactstore.tensors.save import tensor_file
from artifactstore.tensors.tree import NamedTensor


@dataclass(frozen=True, slots=True)
class _Share:
    """What the coordinator tells a rank: the lease to write under, and the rank's number"""

    lease: str
    number: int


@dataclass(frozen=True, slots=True)
class _Taken:
    """What was taken in: files whose extents number these blobs"""

    files: tuple[FileEntry, ...]
    blobs: tuple[BlobInfo, ...]
    written: tuple[Written, ...]


@dataclass(frozen=True, slots=True)
class _Told:
    """Where an item of a plan lies. shape: of the whole tensor, None for what is none"""

    name: str
    shape: tuple[int, ...] | None
    chunk: Chunk


class StoreWriter(StorageWriter):
    """Writes one version of `name`; `version` is what the catalog knows of it then

    store: one that is open, or its folder or URL, which every rank must reach; `async_save` in a process needs the
    latter. A rank that fails leaves nothing visible. step, epoch, phase, request_id, license, metadata, metrics and
    parents: as a checkpoint has them. aliases: which move to the version. Raise NoStore; Invalid for a dtype that
    safetensors lacks.
    """

    def __init__(
        self,
        store: OpenStore | Depot | str | os.PathLike[str],
        name: str,
        *,
        catalog: str | None = None,
        settings: Settings | None = None,
        metrics: Mapping[str, float] | None = None,
        parents: Iterable[Link] = (),
        aliases: Iterable[str] = ("latest",),
        **labels: Any,
    ) -> None:
        self._place = Place(store, catalog, settings or Settings())
        self._artifact = ArtifactName(name)
        self._labels = Labels(created=0, **labels)
        self._tags = Tags(aliases=tuple(map(AliasName, aliases)), metrics=dict(metrics or {}))
        self._parents = tuple(parents)
        self._lead: ExitStack | None = None
        self._session: Session | None = None
        self.version: VersionInfo | None = None

    def __getstate__(self) -> dict[str, Any]:
        # the mappings of links and labels are read-only, which pickle does not take
        parents = tuple(replace(link, params=dict(link.params)) for link in self._parents)
        labels = replace(self._labels, metadata=dict(self._labels.metadata))
        return {**vars(self), "_labels": labels, "_parents": parents}

    def close(self) -> None:
        """Give up what was begun and not committed"""
        lead, self._lead, self._session = self._lead, None, None
        if lead is not None:
            lead.close()

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:  # noqa: ARG002  # torch's own
        """Another save begins"""
        self.close()

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:  # noqa: FBT001  # as above
        """All is known since it was made"""

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        """As it is"""
        return plan

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        """The coordinator begins the write that all ranks join"""
        lead = ExitStack()
        session = lead.enter_context(open_session(self._place.depot, "save"))
        self._lead, self._session = lead, session
        session.build_on(self._parents)
        return [replace(plan, storage_data=_Share(session.lease_id, rank)) for rank, plan in enumerate(plans)]

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        """Write what this rank has, as a file of its own"""
        share: _Share = plan.storage_data
        path = f"rank-{share.number:05d}.safetensors"
        tensors = [_named(item, planner) for item in plan.items]
        done: Future[list[WriteResult]] = Future()
        if not tensors:
            done.set_result([])
            return done
        with join_session(self._place.depot, share.lease) as session:
            taken = _take_in(self._place.depot, session, [tensor_file(path, tensors)])
            session.publish()
        results = [WriteResult(MetadataIndex(path), 0, taken)]
        for item, tensor in zip(plan.items, tensors, strict=True):
            results.append(WriteResult(item.index, tensor.value.nbytes, _told(item, tensor, path)))
        done.set_result(results)
        return done

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        """The coordinator commits what all ranks wrote, in one transaction"""
        assert self._session is not None
        depot, told = self._place.depot, [one.storage_data for of_rank in results for one in of_rank]
        raw = _index(metadata, [one for one in told if isinstance(one, _Told)]).to_bytes()
        own = MemoryFile(SafePath(PATH), FileInfo("other"), (len(raw),), (lambda: memoryview(raw),))
        written = [one for one in told if isinstance(one, _Taken)]
        try:
            whole = _joined([*written, _take_in(depot, self._session, [own])])
            labels = replace(self._labels, created=depot.clock())
            manifest = ingest.manifest_of(self._artifact, labels, self._parents, whole.files, whole.blobs)
            self.version = self._session.commit(manifest, whole.written, self._tags, depot.clock()).version
        finally:
            self.close()

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:  # noqa: ARG003  # torch's own
        """A writer is made for its version, not found by a path"""
        return False


def _take_in(depot: Depot, session: Session, sources: Sequence[Source]) -> "_Taken":
    total = sum(source.size for source in sources)
    with Upload(session, memory=depot.settings.memory, monitor=depot.monitor, phase="save", total=total) as upload:
        drafts = cut_sources(upload, sources)
        written = upload.finish()
    files, blobs = entries(drafts)
    return _Taken(files, blobs, tuple(written[blob.digest] for blob in blobs))


def _named(item: WriteItem, planner: SavePlanner) -> NamedTensor:
    name, data = item.index.fqn, planner.resolve_data(item)
    if not isinstance(data, torch.Tensor):
        return NamedTensor(name, "U8", np.frombuffer(data.getbuffer(), dtype=np.uint8))
    if data.dtype not in NAMES:
        raise Invalid(f"{name} is a tensor of dtype {data.dtype}, which safetensors lacks; convert it", code="state")
    assert item.tensor_data is not None
    if item.tensor_data.chunk.sizes != item.tensor_data.size:
        name += "@" + ",".join(map(str, item.tensor_data.chunk.offsets))
    return NamedTensor(name, NAMES[data.dtype], data.detach())


def _told(item: WriteItem, tensor: NamedTensor, path: str) -> "_Told":
    if item.tensor_data is None:
        return _Told(item.index.fqn, None, Chunk((), (), path, tensor.name))
    chunk, size = item.tensor_data.chunk, item.tensor_data.size
    offsets, sizes, shape = (stored_shape(tensor.dtype, each) for each in (chunk.offsets, chunk.sizes, size))
    return _Told(item.index.fqn, shape, Chunk(offsets, sizes, path, tensor.name))


def _index(metadata: Metadata, told: Sequence["_Told"]) -> Index:
    chunks: dict[str, list[Chunk]] = defaultdict(list)
    shapes, objects = {}, {}
    for one in told:
        if one.shape is None:
            objects[one.name] = (one.chunk.file, one.chunk.name)
        else:
            shapes[one.name] = one.shape
            chunks[one.name].append(one.chunk)
    paths = metadata.planner_data if isinstance(metadata.planner_data, dict) else {}
    return Index(shapes, dict(chunks), objects, {name: tuple(path) for name, path in paths.items()})


def _joined(parts: Sequence["_Taken"]) -> "_Taken":
    """As one manifest has it: each blob once, in order of first use"""
    numbers: dict[Digest, int] = {}
    blobs: list[BlobInfo] = []
    written: list[Written] = []
    files: list[FileEntry] = []
    for part in parts:
        for info, each in zip(part.blobs, part.written, strict=True):
            if info.digest not in numbers:
                numbers[info.digest] = len(blobs)
                blobs.append(info)
                written.append(each)
        for file in part.files:
            extents = (replace(one, blob=numbers[part.blobs[one.blob].digest]) for one in file.extents)
            files.append(replace(file, extents=tuple(extents)))
    return _Taken(tuple(files), tuple(blobs), tuple(written))
