"""Measure: how far a smaller model is from what it was made of, on the text that is shipped"""

import os
from dataclasses import dataclass

from artifactstore.catalog.base import VersionInfo
from artifactstore.core.errors import StoreError
from artifactstore.core.units import format_size
from artifactstore.derive.evaluate.models.quiet import quiet
from artifactstore.derive.evaluate.run import evaluate
from artifactstore.derive.evaluate.tasks.table import load
from artifactstore.finding import Finds

_FLOAT = 4


@dataclass(frozen=True, slots=True)
class Distance:
    """kl: mean KL(source ‖ model) in nats a token; top1: how often both find one token likeliest

    cosine: between their vectors, of models that make such instead of texts. All None where it was not measured, and
    why says why.
    """

    kl: float | None = None
    top1: float | None = None
    why: str | None = None
    cosine: float | None = None


def measured(version: VersionInfo) -> Distance | None:
    """What was measured of a version before, from its metrics"""
    found = version.metrics
    if "kl" not in found and "cosine" not in found:
        return None
    return Distance(found.get("kl"), found.get("kl.top1"), cosine=found.get("cosine"))


def measure(store: Finds, ref: str, source: str, weights: int) -> Distance:
    """Of a version to a version or folder, kept as its metrics; weights: of either, which are read as float32

    Never fails: a model without a tokenizer, or too large for half of this machine's memory, is told of.
    """
    need = 2 * _FLOAT * weights
    if need > _memory() // 2:
        return Distance(why=f"both models take {format_size(need)} of memory; see artstore evaluate {ref} --task kl")
    try:
        # compressed-tensors draws a bar when a model is first used
        with quiet():
            (found,) = evaluate(store, [ref], [load("kl")], baseline=source)
    except StoreError as e:
        return Distance(why=e.message)
    metrics = found.metrics
    return Distance(metrics.get("kl"), metrics.get("kl.top1"), cosine=metrics.get("cosine"))


def _memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
