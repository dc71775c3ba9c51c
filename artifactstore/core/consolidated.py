"""Consolidated: tensors that ranks wrote in parts as one safetensors file, of which nothing is stored"""

from collections.abc import Mapping
from dataclasses import dataclass

from artifactstore.core import sharding
from artifactstore.core.errors import Invalid
from artifactstore.core.formats.safetensors import DTYPE_BITS, write_header
from artifactstore.core.manifest import Manifest
from artifactstore.core.names import SafePath, refuse_collisions
from artifactstore.core.reading import Stored, joined

PATH = SafePath("consolidated.safetensors")

_METADATA = {"format": "pt"}  # what readers of Hugging Face ask for
# As the safetensors library orders them, widest first so that every tensor is aligned; it counts BOOL as the narrowest.
_ORDER = {dtype: place for place, dtype in enumerate(["BOOL", *(each for each in DTYPE_BITS if each != "BOOL")])}


@dataclass(frozen=True, slots=True)
class Consolidated:
    """header: its first bytes, made anew; body: all that follow, as one tensor of bytes"""

    header: bytes
    body: Stored

    @property
    def size(self) -> int:
        """Bytes in all"""
        return len(self.header) + self.body.shape[0]


def consolidate(tensors: Mapping[str, Stored]) -> Consolidated:
    """The file that the safetensors library would write, byte for byte; raise Invalid for what it cannot hold

    https://github.com/huggingface/safetensors/blob/v0.8.0/safetensors/src/tensor.rs, `prepare`.
    """
    laid = sorted(tensors.items(), key=lambda item: (-_ORDER.get(item[1].dtype, 0), item[0]))
    rows = [(name, one.dtype, one.shape, one.nbytes) for name, one in laid]
    extents = tuple(joined(extent for _, one in laid for extent in one.extents))
    nbytes = sum(row[3] for row in rows)
    return Consolidated(write_header(rows, _METADATA), Stored(PATH, "U8", (nbytes,), extents))


def is_offered(manifest: Manifest) -> bool:
    """Whether a version has this file: ranks wrote it, and none of its own files has the name on any disk"""
    paths = [file.path for file in manifest.files]
    try:
        refuse_collisions([*paths, PATH])
    except Invalid:
        return False
    return sharding.PATH in paths
