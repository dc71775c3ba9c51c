"""Room: new tensors on a device, all of them or none"""

from collections.abc import Sequence

import torch

from artifactstore.core.errors import Unavailable
from artifactstore.core.reading import Stored
from artifactstore.core.units import format_size
from artifactstore.tensors.dtypes import allocate
from artifactstore.tensors.engine import Engine


def make(wanted: Sequence[Stored], device: torch.device, engine: Engine | None) -> dict[str, torch.Tensor]:
    """Unfilled tensors by name; raise Unavailable, with what they need, before any is made that has no room"""
    free = None if engine is None else engine.free()
    if free is not None and free < sum(one.nbytes for one in wanted):
        raise _no_room(wanted, device, f"{format_size(free)} are free")
    try:
        return {one.name: allocate(one.dtype, one.shape, one.nbytes, device) for one in wanted}
    except (RuntimeError, MemoryError) as e:
        raise _no_room(wanted, device, str(e).partition("\n")[0][:120]) from e


def _no_room(wanted: Sequence[Stored], device: torch.device, why: str) -> Unavailable:
    nbytes = sum(one.nbytes for one in wanted)
    return Unavailable(
        f"{len(wanted)} tensors need {format_size(nbytes)} on {device}: {why}; load fewer (names=) or elsewhere",
        code="memory",
        nbytes=nbytes,
    )
