"""Measure: one variant in a process of its own, so that what it takes is its own too"""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

from artifactstore.derive.evaluate.base import Encoder, LanguageModel
from artifactstore.derive.evaluate.models.files import Chosen
from artifactstore.derive.evaluate.models.opening import open_model
from artifactstore.derive.evaluate.models.torch_model import Use
from artifactstore.derive.evaluate.statistics import Value
from artifactstore.derive.evaluate.tasks.passages import Diverging, Passage, Reading, Turning, sentences
from artifactstore.derive.evaluate.writing import continued

_WARM, _START, _COUNT = 8, 32, 33
_SENTENCES = 64
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Files:
    """A model where it lies"""

    folder: Path
    chosen: Chosen


@dataclass(frozen=True, slots=True)
class Measured:
    """What one variant took and gave. Speeds are tokens a second, of reading many at once and writing one by one

    rss: the most memory of its process in bytes, without what it is compared with; None where the system does not tell.
    quality: by metric, of a fixed text.
    """

    params: int | None
    load_seconds: float
    reads: float
    writes: float | None
    rss: int | None
    quality: dict[str, Value]


def measure(files: Files, source: Files | None, passages: tuple[Passage, ...], use: Use, threads: int) -> Measured:
    """In this process, which should have done nothing else; the source is opened when all else is known"""
    torch.set_num_threads(threads)
    # once before, so that neither libraries that are imported nor a cold disk are taken for the model's own time
    open_model(files.folder, files.chosen, use)
    model, loaded = _timed(lambda: open_model(files.folder, files.chosen, use))
    if isinstance(model, LanguageModel):
        return _of_language(model, source, passages, use, loaded)
    return _of_encoder(model, source, passages, use, loaded)


def _of_language(
    model: LanguageModel, source: Files | None, passages: tuple[Passage, ...], use: Use, loaded: float
) -> Measured:
    ids = model.tokens.encode(passages[0].text)
    list(continued(model, ids[:_WARM], 2))
    quality, seconds = _timed(lambda: Reading("perplexity", passages).run(model))
    values = {"perplexity": quality.values["perplexity"]}
    writes = _writing(model, ids[:_START])
    rss = peak()
    if source is not None:
        other = open_model(source.folder, source.chosen, use)
        if isinstance(other, LanguageModel):
            found = Diverging("kl", passages).run(model, other).values
            values |= {name: found[name] for name in ("kl", "kl.top1")}
    return Measured(model.params, loaded, quality.count / seconds, writes, rss, values)


def _of_encoder(
    model: Encoder, source: Files | None, passages: tuple[Passage, ...], use: Use, loaded: float
) -> Measured:
    texts = [text for one in passages for text in sentences(one.text)][:_SENTENCES]
    model.embed(texts[:2])
    _, seconds = _timed(lambda: model.embed(texts))
    count = sum(len(model.tokens.encode(text)) for text in texts)
    rss = peak()
    values: dict[str, Value] = {}
    if source is not None:
        other = open_model(source.folder, source.chosen, use)
        if isinstance(other, Encoder) and other.width == model.width:
            values |= Turning(passages).run(model, other).values
    return Measured(model.params, loaded, count / seconds, None, rss, values)


def _writing(model: LanguageModel, start: list[int]) -> float | None:
    """Without the first token, which comes of reading; None for a model that ends a text at once"""
    tokens = continued(model, start, _COUNT)
    if next(tokens, None) is None:
        return None
    written, seconds = _timed(lambda: sum(1 for _ in tokens))
    return written / seconds if written else None


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    begin = time.perf_counter()
    done = work()
    return done, max(time.perf_counter() - begin, 1e-9)


def peak() -> int | None:
    """The most memory this process ever had, in bytes

    Linux's own figure, since what getrusage says a process takes over from the one that started it.
    """
    try:
        status = Path(f"/proc/{os.getpid()}/status").read_text()
    except OSError:
        return _usage()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def _usage() -> int | None:
    if sys.platform == "win32":
        return None
    import resource  # noqa: PLC0415  # Windows has none

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
