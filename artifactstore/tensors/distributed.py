"""Distributed: versions of a store as checkpoints of torch.distributed

    dcp.save(state, storage_writer=StoreWriter(store, "run", step=100))
    dcp.load(state, storage_reader=StoreReader(store, "run@latest"))

https://docs.pytorch.org/docs/stable/distributed.checkpoint.html
"""

from artifactstore.tensors.dcp.reader import StoreReader
from artifactstore.tensors.dcp.writer import StoreWriter

__all__ = ["StoreReader", "StoreWriter"]
