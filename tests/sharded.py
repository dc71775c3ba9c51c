"""Sharded: a folder as ranks of torch.distributed leave it"""

from collections import defaultdict

import numpy as np
from safetensors.numpy import save_file

from artifactstore.core.sharding import PATH, Chunk, Index

# widths at which a rank's part is a blob of its own, or gathered with others
STATE = {
    "columns": np.random.default_rng(1).integers(0, 2**31, (600, 6000), dtype=np.int32),
    "rows": np.random.default_rng(2).random((300_000, 7)),
    "few": np.arange(3, dtype=np.int16).reshape(3, 1),
    "none": np.zeros((0, 4), dtype=np.float32),
    "step": np.array(7, dtype=np.int64),
}


def write_ranks(folder, count=3):
    """Write the state: `columns` are cut by column, and all that has rows by row"""
    folder.mkdir(parents=True)
    ranks, chunks = [{} for _ in range(count)], defaultdict(list)
    for name, array in STATE.items():
        dim = 1 if name == "columns" else 0
        parts = np.array_split(array, count, axis=dim) if array.ndim else [array]
        at = 0
        for rank, part in enumerate(parts):
            offsets = tuple(at if each == dim else 0 for each in range(array.ndim))
            ranks[rank][f"{name}@{at}"] = part.copy()
            chunks[name].append(Chunk(offsets, part.shape, f"rank-{rank:05d}.safetensors", f"{name}@{at}"))
            at += part.shape[dim] if array.ndim else 0
    for rank, tensors in enumerate(ranks):
        save_file(tensors, folder / f"rank-{rank:05d}.safetensors")
    shapes = {name: array.shape for name, array in STATE.items()}
    (folder / PATH).write_bytes(Index(shapes, chunks).to_bytes())
