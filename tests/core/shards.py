"""Shards: versions as ranks write them, in memory"""

from itertools import pairwise, product

import numpy as np

from artifactstore.core.digest import Digest, Sha256
from artifactstore.core.formats.base import TensorInfo
from artifactstore.core.manifest import BlobInfo, Extent, FileEntry, Manifest
from artifactstore.core.names import ArtifactName, SafePath


def written(ranks, size=1 << 20):
    """A manifest with a file of each rank's parts (name, dtype, shape, bytes), and its blobs of `size` bytes"""
    files, memory = [], []
    for number, parts in enumerate(ranks):
        infos, at = [], 0
        for name, dtype, shape, data in parts:
            infos.append(TensorInfo(name, dtype, shape, at, at + len(data)))
            at += len(data)
        raw = b"".join(data for *_, data in parts)
        blobs = [raw[begin : begin + size] for begin in range(0, len(raw), size)]
        extents = tuple(Extent(len(memory) + at, 0, len(blob)) for at, blob in enumerate(blobs))
        memory += blobs
        files.append(FileEntry(SafePath(f"rank-{number}"), at, Sha256.of(raw), "safetensors", extents, tuple(infos)))
    # two ranks may write the same bytes; blobs are told apart here by their number
    infos = (BlobInfo(Digest.of(b"%d " % number + blob), len(blob)) for number, blob in enumerate(memory))
    return Manifest(ArtifactName("a"), 1, tuple(files), tuple(infos)), memory


def gathered(stored, memory):
    """The bytes that its extents name"""
    return b"".join(memory[one.blob][one.start : one.start + one.length] for one in stored.extents)


def cells(array, cuts):
    """(offsets, sizes, bytes) of the parts between the cuts of each dimension; an empty tensor is one part"""
    pairs = [list(pairwise(each)) if array.size else [(0, size)] for each, size in zip(cuts, array.shape, strict=True)]
    for corner in product(*pairs):
        part = np.ascontiguousarray(array[tuple(slice(low, high) for low, high in corner)])
        yield tuple(low for low, _ in corner), tuple(high - low for low, high in corner), part.tobytes()
