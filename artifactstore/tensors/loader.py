"""Loader: tensors of a version, or of plain safetensors files, in memory of the CPU or of a device

On the CPU whole tensors are views of mapped files where that can be, and are read when they are used; into tensors that
exist, and to a device, bytes are read straight from the disk. What is read is checked against its digest, by default
once for each file of a machine.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch

from artifactstore.core.reading import Cut, Stored, choose, planned
from artifactstore.tensors.dtypes import TORCH
from artifactstore.tensors.known import Memory, Pieces, Watcher
from artifactstore.tensors.misfits import Targets
from artifactstore.tensors.options import Loading
from artifactstore.tensors.pieces import Source
from artifactstore.tensors.report import LoadReport, Tally
from artifactstore.tensors.room import make

_LOG = logging.getLogger(__name__)


class Loaded(dict[str, torch.Tensor]):
    """Tensors by name, the caller's own; `report` says how they came"""

    def __init__(self, tensors: Mapping[str, torch.Tensor], report: LoadReport) -> None:
        super().__init__(tensors)
        self.report = report


def load(
    source: Source,
    loading: Loading,
    names: Iterable[str] | None = None,
    plan: Mapping[str, Cut] | None = None,
    memory: Memory | None = None,
) -> Loaded:
    """What a plan names, else those of the names, else all

    Raise Invalid for names that are not there, Corrupt naming the blob that is damaged, Unavailable without room.
    """
    tally = Tally()
    wanted = choose(source.tensors, names) if plan is None else planned(source.tensors, plan)
    engine = loading.engine_of(loading.device)
    with pieces_of(source, wanted, loading, tally, memory) as pieces:
        found = pieces.mapped() if engine is None else {}
        rest = [one for one in wanted if one.name not in found]
        found |= make(rest, loading.device, engine, loading.dtype)
        pieces.fill(rest, [found[one.name] for one in rest])
    for name in found if loading.dtype else ():
        found[name] = converted(found[name], loading.dtype)
    return Loaded({one.name: found[one.name] for one in wanted}, report(source, wanted, tally))


def converted(tensor: torch.Tensor, dtype: torch.dtype | None) -> torch.Tensor:
    """Of this dtype where it is of floating point, and not packed"""
    packed = tensor.dtype == TORCH.get("F4")
    return tensor if dtype is None or packed or not tensor.is_floating_point() else tensor.to(dtype)


def read_into(source: Source, targets: Mapping[str, torch.Tensor], loading: Loading) -> LoadReport:
    """Fill contiguous tensors of the stored dtype and shape, by name, on any device"""
    wanted = choose(source.tensors, targets)
    return read_parts(source, wanted, [targets[one.name] for one in wanted], loading)


def read_targets(source: Source, targets: Targets, wanted: Mapping[str, Stored], loading: Loading) -> LoadReport:
    """Fill those of the targets that are wanted, whatever their memory is like"""
    direct, others = targets.split(wanted)
    found = read_into(source, direct, loading)
    if others:
        loaded = load(source, replace(loading, dtype=None), others)
        targets.copy(loaded, wanted)
        found = found.plus(loaded.report)
    return found


def read_parts(
    source: Source,
    wanted: Sequence[Stored],
    into: Sequence[torch.Tensor],
    loading: Loading,
    watcher: Watcher | None = None,
) -> LoadReport:
    """Fill contiguous tensors, each with the tensor or part of one that stands at its place"""
    tally = Tally()
    with pieces_of(source, wanted, loading, tally) as pieces:
        pieces.fill(wanted, into, watcher)
    return report(source, wanted, tally)


@contextmanager
def pieces_of(
    source: Source, wanted: Sequence[Stored], loading: Loading, tally: Tally, memory: Memory | None = None
) -> Iterator[Pieces]:
    """What the tensors lie in, looked at; what was found to be right is noted at the end"""
    pieces = Pieces(source, wanted, loading, tally, memory or Memory())
    yield pieces
    pieces.note()


def report(source: Source, wanted: Sequence[Stored], tally: Tally) -> LoadReport:
    """What was done until now, logged"""
    found = tally.report(source.name, wanted)
    _LOG.info("%s", found)
    return found
