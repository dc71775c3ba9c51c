"""Arguments: what a person types for metrics, metadata, moments, samples and parents, parsed at the edge"""

import math
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from artifactstore.core.errors import Invalid, NotFound
from artifactstore.core.lineage import Relation
from artifactstore.core.names import check_label
from artifactstore.core.units import parse_size

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_path(text: str) -> Path:
    """Raise Invalid for the empty text, which would otherwise mean this folder"""
    if not text or "\0" in text:
        raise Invalid("A path is empty; write . for this folder", code="path")
    return Path(text)


def refuse_missing(paths: Sequence[Path]) -> None:
    """Raise NotFound for a path that is not there, before a store is made for what it holds"""
    for path in paths:
        if not os.path.lexists(path):
            raise NotFound(f"No such file or folder: {path}", code="file", path=str(path))


def parse_metrics(given: Sequence[str]) -> dict[str, float]:
    """`val_loss=0.04`, each name once; raise Invalid for what is no finite number"""
    metrics = {}
    for name, text in _pairs(given, "metric", "val_loss=0.04"):
        check_label(name, "metric name")
        try:
            value = float(text)
        except ValueError as e:
            raise Invalid(f"Metric {name} is {text[:40]!r}, which is not a number", code="metric") from e
        if not math.isfinite(value):
            raise Invalid(f"Metric {name} is {text[:40]}; only finite numbers can be compared", code="metric")
        metrics[name] = value
    return metrics


def parse_meta(given: Sequence[str]) -> tuple[dict[str, str], int | None]:
    """Metadata by name, and apart from it the `created=…` that was among it, in microseconds since 1970 UTC"""
    meta = dict(_pairs(given, "meta", "dataset=laion"))
    created = meta.pop("created", None)
    return meta, None if created is None else parse_moment(created, "created=")


def _pairs(given: Sequence[str], option: str, example: str) -> Iterator[tuple[str, str]]:
    seen = set()
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals or not name or not value:
            raise Invalid(f"Not a {option}: {pair[:80]!r}; write name=value, such as {example}", code=option)
        if name in seen:
            raise Invalid(f"The {option} {name!r:.80} is given twice", code=option)
        seen.add(name)
        yield name, value


def parse_moment(text: str, before: str = "") -> int:
    """Microseconds since 1970 UTC of an ISO 8601 date or time; without an offset it is UTC

    before: what stands before it where it is written.
    """
    try:
        moment = datetime.fromisoformat(text)
        microseconds = (moment.replace(tzinfo=moment.tzinfo or UTC) - EPOCH) // timedelta(microseconds=1)
    except (ValueError, OverflowError) as e:
        raise Invalid(
            f"Not a date: {text[:40]!r}; write {before}2030-01-31 or {before}2030-01-31T14:05:00+01:00", code="date"
        ) from e
    if abs(microseconds) >= 1 << 53:
        raise Invalid(f"Date {text[:40]} is not between 1685 and 2255", code="date")
    return microseconds


def parse_sample(text: str) -> tuple[float | None, int | None]:
    """(share, None) of `5%`, (None, bytes) of `200GB`"""
    if not text.endswith("%"):
        nbytes = parse_size(text)
        if nbytes == 0 or text.isdecimal():
            raise Invalid(f"Not a sample: {text[:40]!r}; write 5% or 200GB", code="sample")
        return None, nbytes
    try:
        share = float(text[:-1]) / 100
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise Invalid(f"Not a sample: {text[:40]!r}; write more than 0% and up to 100%, or a size", code="sample")
    return share, None


def pair_parents(
    parents: Sequence[str], relations: Sequence[str], weights: Sequence[float]
) -> list[tuple[str, Relation, float | None]]:
    """(reference, relation, weight) of each parent: the first --relation is of the first --parent, and so on"""
    for option, values in (("--relation", relations), ("--weight", weights)):
        if values and len(values) != len(parents):
            raise Invalid(
                f"{len(parents)} --parent and {len(values)} {option} do not pair up; "
                f"give {option} once for each --parent, in the same order",
                code="parents",
            )
    kinds = [Relation.parse(one) for one in relations] or [Relation.FINETUNE] * len(parents)
    shares: Sequence[float | None] = weights or [None] * len(parents)
    return list(zip(parents, kinds, shares, strict=True))
