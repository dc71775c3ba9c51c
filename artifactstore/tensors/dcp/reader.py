"""Reader: each rank reads the bytes of its own parts, straight into its tensors where their memory can take them"""

import io
import os

import torch
from torch.distributed.checkpoint.metadata import (
    BytesStorageMetadata,
    ChunkStorageMetadata,
    Metadata,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import LoadItemType, LoadPlan, LoadPlanner, ReadItem
from torch.distributed.checkpoint.storage import StorageReader
from torch.futures import Future

from artifactstore.core.errors import Invalid
from artifactstore.core.names import Reference
from artifactstore.core.reading import Stored, choose, narrow
from artifactstore.core.settings import Settings
from artifactstore.depot import Depot, OpenStore
from artifactstore.tensors.dcp.opened import Place
from artifactstore.tensors.dtypes import TORCH, allocate, counted, view_bytes
from artifactstore.tensors.loader import read_parts
from artifactstore.tensors.misfits import is_plain
from artifactstore.tensors.opening import loading_of, source_of
from artifactstore.tensors.options import Verify
from artifactstore.tensors.report import LoadReport


class StoreReader(StorageReader):
    """Reads one version, whatever number of ranks wrote it; of what is not asked for no byte is read

    store: one that is open, or its folder or URL. verify: `once` for each file of a machine, `always` or `never`.
    `report` says what the last load of this rank did. Raise NotFound; Invalid for names that are not there; Corrupt
    naming the blob that is damaged.
    """

    def __init__(
        self,
        store: OpenStore | Depot | str | os.PathLike[str],
        ref: str,
        *,
        catalog: str | None = None,
        settings: Settings | None = None,
        verify: Verify = "once",
    ) -> None:
        depot = Place(store, catalog, settings or Settings()).depot
        version = depot.catalog.versions.resolve(Reference.parse(ref))
        self._source, self._loading = source_of(depot, version.id), loading_of(depot.settings, verify)
        self.report: LoadReport | None = None

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        """Nothing is kept from one load to the next"""

    def read_metadata(self, *_args: object, **_options: object) -> Metadata:
        """Every tensor, each as one chunk, and what else was saved"""
        found: dict[str, TensorStorageMetadata | BytesStorageMetadata] = {
            name: _described(one) for name, one in self._source.tensors.items() if one.dtype in TORCH
        }
        found |= dict.fromkeys(self._source.objects, BytesStorageMetadata())
        return Metadata(found, planner_data=dict(self._source.paths) or None)

    def set_up_storage_reader(
        self,
        metadata: Metadata,
        is_coordinator: bool,  # noqa: FBT001  # torch's own
        *_args: object,
        **_options: object,
    ) -> None:
        """All is known since it was made"""

    def prepare_local_plan(self, plan: LoadPlan) -> LoadPlan:
        """As it is"""
        return plan

    def prepare_global_plan(self, plans: list[LoadPlan]) -> list[LoadPlan]:
        """As they are"""
        return plans

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        """Read all that this rank needs"""
        done: Future[None] = Future()
        items = [item for item in plan.items if item.type == LoadItemType.TENSOR]
        parts = [self._part(item) for item in items]
        targets = [planner.resolve_tensor(item).detach() for item in items]
        direct = [
            target if _takes(target, part) else allocate(part.dtype, part.shape, part.nbytes, torch.device("cpu"))
            for target, part in zip(targets, parts, strict=True)
        ]
        with self._source.held():
            self.report = read_parts(self._source, parts, direct, self._loading)
            for item in plan.items:
                if item.type == LoadItemType.BYTE_IO:
                    planner.load_bytes(item, self._object(item.storage_index.fqn))
        for item, target, tensor in zip(items, targets, direct, strict=True):
            if tensor is not target:
                target.copy_(tensor)
            planner.commit_tensor(item, target)
        done.set_result(None)
        return done

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:  # noqa: ARG003  # torch's own
        """A reader is made for its version, not found by a path"""
        return False

    def _part(self, item: ReadItem) -> Stored:
        name = item.storage_index.fqn
        part = self._source.get(name)
        shape = counted(part.dtype, part.shape)
        for dim, (start, length) in enumerate(zip(item.storage_offsets, item.lengths, strict=True)):
            if (start, length) != (0, shape[dim]):
                if shape != part.shape:
                    raise Invalid(f"{name} packs two values of {part.dtype} in a byte; read it whole", code="packed")
                part = narrow(part, (dim, start, length))
        return part

    def _object(self, name: str) -> io.BytesIO:
        [part] = choose(self._source.objects, [name])
        memory = torch.empty(part.nbytes, dtype=torch.uint8)
        read_parts(self._source, [part], [memory], self._loading)
        return io.BytesIO(view_bytes(memory))


def _described(one: Stored) -> TensorStorageMetadata:
    size = torch.Size(counted(one.dtype, one.shape))
    chunk = ChunkStorageMetadata(offsets=torch.Size([0] * len(size)), sizes=size)
    return TensorStorageMetadata(TensorProperties(dtype=TORCH[one.dtype]), size, [chunk])


def _takes(target: torch.Tensor, part: Stored) -> bool:
    wanted = TORCH[part.dtype], counted(part.dtype, part.shape)
    return is_plain(target) and (target.dtype, tuple(target.shape)) == wanted
