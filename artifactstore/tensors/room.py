"""Room: new tensors on a device, all of them or none"""

from collections.abc import Sequence
from math import prod

import torch

from artifactstore.core.errors import Unavailable
from artifactstore.core.manifest import MAX_BLOB
from artifactstore.core.reading import Stored
from artifactstore.core.units import format_size
from artifactstore.tensors.dtypes import TORCH, allocate
from artifactstore.tensors.engine import Engine

# What several threads that copy need there at a time, each up to a blob.
SCRATCH = 256 << 20


def make(
    wanted: Sequence[Stored], device: torch.device, engine: Engine | None, dtype: torch.dtype | None = None
) -> dict[str, torch.Tensor]:
    """Unfilled tensors by name, of the stored dtype; raise Unavailable before any is made that has no room

    dtype: what those of floating point will become, one after the other. Room is left for copies too.
    """
    free = None if engine is None else engine.free()
    if free is not None:
        nbytes, scratch = _nbytes(wanted, dtype), _scratch(wanted)
        if free < nbytes + scratch:
            raise _no_room(wanted, nbytes, scratch, device, f"{format_size(free)} are free")
    try:
        return {one.name: allocate(one.dtype, one.shape, one.nbytes, device) for one in wanted}
    except (RuntimeError, MemoryError) as e:
        why = str(e).partition("\n")[0][:120]
        raise _no_room(wanted, _nbytes(wanted, dtype), 0, device, why) from e


def _nbytes(wanted: Sequence[Stored], dtype: torch.dtype | None) -> int:
    """What they take at most: each what it is or becomes, and one of them both"""
    sizes = [(one.nbytes, _becomes(one, dtype)) for one in wanted]
    both = max((min(old, new) for old, new in sizes if new is not None), default=0)
    return sum(max(old, new or 0) for old, new in sizes) + both


def _becomes(one: Stored, dtype: torch.dtype | None) -> int | None:
    """The bytes of what it becomes, None where it stays"""
    known = TORCH.get(one.dtype)
    if dtype is None or known is None or one.dtype == "F4":
        return None
    return prod(one.shape) * dtype.itemsize if known.is_floating_point and known != dtype else None


def _scratch(wanted: Sequence[Stored]) -> int:
    """What copies need: of a piece up to a blob at a time, of which a file may have many"""
    pieces = len({extent.blob for one in wanted for extent in one.extents})
    blobs = -(-sum(one.nbytes for one in wanted) // MAX_BLOB)
    return min(SCRATCH, MAX_BLOB * max(pieces, blobs))


def _no_room(wanted: Sequence[Stored], nbytes: int, scratch: int, device: torch.device, why: str) -> Unavailable:
    need = format_size(nbytes) + (f" and {format_size(scratch)} for copies" if scratch else "")
    return Unavailable(
        f"{len(wanted)} tensors need {need} on {device}: {why}; load fewer (names=) or elsewhere",
        code="memory",
        nbytes=nbytes + scratch,
    )
