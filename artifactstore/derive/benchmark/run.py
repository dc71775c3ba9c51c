"""Benchmark: variants measured one after another on the same text, each against the same source"""

import math
import multiprocessing
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch

from artifactstore.core.errors import Invalid, NoSpace
from artifactstore.derive.benchmark.measure import Files, Measured, measure
from artifactstore.derive.evaluate.models.torch_model import Use
from artifactstore.derive.evaluate.run import keep
from artifactstore.derive.evaluate.subject import Subject, find, source_of
from artifactstore.derive.evaluate.tasks.passages import Passage
from artifactstore.derive.evaluate.tasks.table import shipped
from artifactstore.finding import Finds


@dataclass(frozen=True, slots=True)
class Variant:
    """One of them. baseline: what its quality is told against; params: weights, its own or else its source's"""

    subject: Subject
    measured: Measured
    baseline: str | None
    params: int | None

    @property
    def bits_per_weight(self) -> float | None:
        """As its maker says, else the bytes of its files over its weights"""
        said = _said(self.subject)
        if said is not None or not self.params:
            return said
        return 8 * self.subject.nbytes / self.params

    @property
    def metrics(self) -> dict[str, float]:
        """What stays true on another machine"""
        found = {name: value.value for name, value in self.measured.quality.items()}
        found |= {} if self.bits_per_weight is None else {"bits_per_weight": self.bits_per_weight}
        return {name: value for name, value in found.items() if math.isfinite(value)}

    def to_json(self) -> dict[str, Any]:
        """For programs to read"""
        held, measured = self.subject.held, self.measured
        return {
            "id": None if held is None else str(held.version.id),
            "ref": self.subject.ref,
            "file": self.subject.chosen.path,
            "format": str(self.subject.chosen.format),
            "bytes": self.subject.nbytes,
            "params": self.params,
            "bits_per_weight": self.bits_per_weight,
            "load_seconds": measured.load_seconds,
            "read_tokens_per_second": measured.reads,
            "write_tokens_per_second": measured.writes,
            "peak_rss_bytes": measured.rss,
            "baseline": self.baseline,
            "quality": {name: {"value": one.value, "stderr": one.stderr} for name, one in measured.quality.items()},
        }


def benchmark(
    store: Finds,
    refs: Sequence[str],
    *,
    baseline: str | None = None,
    passages: tuple[Passage, ...] | None = None,
    path: str | None = None,
    use: Use | None = None,
) -> Iterator[Variant]:
    """Each in its turn, in a process of its own; what does not depend on this machine becomes metrics of a version

    baseline: by default what the first of them that says so was made of, one of them if there is one. Raise NotFound,
    Invalid before anything is measured; NoSpace when the system ends a process for its memory.
    """
    subjects = [find(store, ref, path) for ref in refs]
    source = find(store, baseline) if baseline is not None else _common(subjects)
    with ExitStack() as stack:
        against = None if source is None else Files(stack.enter_context(source.laid()), source.chosen)
        weights: int | None = None
        for subject in subjects:
            with subject.laid() as folder:
                job = (Files(folder, subject.chosen), against, passages or shipped(), use or Use())
                measured = _apart(subject, *job)
            weights = measured.params or weights
            found = Variant(subject, measured, None if source is None else source.ref, measured.params or weights)
            keep(store, subject, found.metrics)
            yield found


def _common(subjects: Sequence[Subject]) -> Subject | None:
    """What the first of them was made of, of which that is said; one that stands among them before another"""
    found = [one[0] for one in map(source_of, subjects) if one is not None]
    among = {subject.held.version.id for subject in subjects if subject.held is not None}
    inside = (one for one in found if one.held is not None and one.held.version.id in among)
    return next(inside, next(iter(found), None))


def _apart(subject: Subject, files: Files, source: Files | None, passages: tuple[Passage, ...], use: Use) -> Measured:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context) as pool:
        try:
            return pool.submit(measure, files, source, passages, use, torch.get_num_threads()).result()
        except BrokenProcessPool as e:
            raise NoSpace(
                f"{subject.ref} was ended by the system while it was measured, as it does when memory runs out",
                code="memory",
            ) from e
        except Invalid as e:
            raise Invalid(f"{subject.ref}: {e.message}", code=e.code.removeprefix("invalid."), **e.facts) from e


def _said(subject: Subject) -> float | None:
    said = {} if subject.held is None else subject.held.manifest.metadata.get("quantize")
    bits = said.get("bits_per_weight") if isinstance(said, Mapping) else None
    return float(bits) if isinstance(bits, int | float) else None
