"""Diff: what changed from one version to another, in files, configuration, labels and tensors"""

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Protocol

from artifactstore.catalog.base import VersionInfo
from artifactstore.core import keys
from artifactstore.core.keys import Keys
from artifactstore.core.manifest import FileEntry, Manifest
from artifactstore.core.names import SafePath
from artifactstore.core.pairing import Pair, Placed, match
from artifactstore.depot import Depot
from artifactstore.lease import reading
from artifactstore.ops.transfer.fetch import fetch_file, load_manifest

_CONFIG_LIMIT = 16 << 20
_LABELS = ("phase", "step", "epoch", "request_id", "license")
# Formats that hold tensors which manifests do not name.
_OPAQUE = ("torch", "pickle")


@dataclass(frozen=True, slots=True)
class Numbers:
    """How far two tensors are apart, over all places where both are finite; None where that is no number

    rel_l2: ‖new - old‖₂ / ‖old‖₂. nonfinite_old, nonfinite_new: how many values are infinite or NaN.
    """

    max_abs: float | None
    mean_abs: float | None
    rel_l2: float | None
    cosine: float | None
    nonfinite_old: int = 0
    nonfinite_new: int = 0


@dataclass(frozen=True, slots=True)
class Measured:
    """What is known of a pair of tensors. same: bit by bit, None where it was not read; reason: why no numbers"""

    same: bool | None
    numbers: Numbers | None = None
    reason: str | None = None

    @property
    def rank(self) -> float:
        """By which the most changed come first: what is finite no more, or was zero; what has no numbers comes last"""
        found = self.numbers
        if found is None:
            return math.inf
        spoiled = found.nonfinite_new > found.nonfinite_old
        return -math.inf if spoiled or found.rel_l2 is None else -found.rel_l2


class Measure(Protocol):
    """Reads pairs of tensors"""

    def __call__(self, depot: Depot, old: Manifest, new: Manifest, pairs: Sequence[Pair]) -> Sequence[Measured]:
        """What reading each told, in the same order"""


@dataclass(frozen=True, slots=True)
class FileDiff:
    """Files by path; identical are those of the same sha256"""

    identical: int
    added: tuple[FileEntry, ...]
    removed: tuple[FileEntry, ...]
    changed: tuple[tuple[FileEntry, FileEntry], ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)

    def to_json(self) -> dict[str, Any]:
        """For people and programs"""
        return {
            "identical": self.identical,
            "added": [{"path": str(file.path), **_file(file)} for file in self.added],
            "removed": [{"path": str(file.path), **_file(file)} for file in self.removed],
            "changed": [{"path": str(old.path), "old": _file(old), "new": _file(new)} for old, new in self.changed],
        }


def _file(file: FileEntry) -> dict[str, Any]:
    return {"size": file.size, "sha256": str(file.sha256), "format": file.format}


@dataclass(frozen=True, slots=True)
class TensorDiff:
    """Tensors by name, whatever file holds them

    reshaped: of another shape or dtype. changed and reshaped: the most changed first. unread: of one shape and dtype,
    where only reading tells whether their bytes changed. opaque: files that differ, whose tensors no manifest names.
    """

    identical: int
    added: tuple[Placed, ...]
    removed: tuple[Placed, ...]
    reshaped: tuple[tuple[Pair, Measured], ...]
    changed: tuple[tuple[Pair, Measured], ...]
    unread: tuple[Pair, ...]
    opaque: tuple[FileEntry, ...]

    def to_json(self) -> dict[str, Any]:
        """For people and programs"""
        return {
            "identical": self.identical,
            "added": [{"name": one.name, **_tensor(one)} for one in self.added],
            "removed": [{"name": one.name, **_tensor(one)} for one in self.removed],
            "reshaped": [
                {"name": pair.name, "old": _tensor(pair.old), "new": _tensor(pair.new), **_measured(measured)}
                for pair, measured in self.reshaped
            ],
            "changed": [
                {"name": pair.name, **_tensor(pair.new), **_measured(measured)} for pair, measured in self.changed
            ],
            "unread": [{"name": pair.name, **_tensor(pair.new)} for pair in self.unread],
            "opaque": [{"path": str(file.path), "format": file.format} for file in self.opaque],
        }


def _tensor(tensor: Placed) -> dict[str, Any]:
    return {"dtype": tensor.info.dtype, "shape": list(tensor.info.shape)}


def _measured(measured: Measured) -> dict[str, Any]:
    found = measured.numbers or Numbers(None, None, None, None)
    return {
        "max_abs": found.max_abs,
        "mean_abs": found.mean_abs,
        "rel_l2": found.rel_l2,
        "cosine": found.cosine,
        "nonfinite": {"old": found.nonfinite_old, "new": found.nonfinite_new} if measured.numbers else None,
        "reason": measured.reason,
    }


@dataclass(frozen=True, slots=True)
class VersionDiff:
    """What is different in `new`. config: the keys of JSON files that changed"""

    old: VersionInfo
    new: VersionInfo
    files: FileDiff
    config: tuple[tuple[SafePath, Keys], ...]
    labels: Keys
    metadata: Keys
    metrics: Keys
    tensors: TensorDiff

    @property
    def equal(self) -> bool:
        """Whether nothing is: neither files nor what is said of them"""
        return not (self.files or self.labels or self.metadata or self.metrics)

    def to_json(self) -> dict[str, Any]:
        """For people and programs"""
        return {
            "old": {"id": str(self.old.id), "ref": self.old.ref},
            "new": {"id": str(self.new.id), "ref": self.new.ref},
            "equal": self.equal,
            "files": self.files.to_json(),
            "config": [{"path": str(path), **found.to_json()} for path, found in self.config],
            "labels": self.labels.to_json(),
            "metadata": self.metadata.to_json(),
            "metrics": self.metrics.to_json(),
            "tensors": self.tensors.to_json(),
        }


def run(depot: Depot, old: VersionInfo, new: VersionInfo, measure: Measure | None = None) -> VersionDiff:
    """Compare manifests and rows; bytes are read only of JSON files that changed, and of tensors by `measure`

    Raise Corrupt when what is read is damaged.
    """
    with ExitStack() as held:
        for version in {old.id, new.id}:
            held.enter_context(reading(depot, version))
        before, after = load_manifest(depot, old.id), load_manifest(depot, new.id)
        files = _files(before, after)
        return VersionDiff(
            old,
            new,
            files,
            config=_config(depot, before, after, files),
            labels=keys.compare(_labels(old), _labels(new)),
            metadata=keys.compare(before.metadata, after.metadata),
            metrics=keys.compare(old.metrics, new.metrics),
            tensors=_tensors(depot, before, after, files, measure),
        )


def _labels(version: VersionInfo) -> Mapping[str, Any]:
    return {label: value for label in _LABELS if (value := getattr(version, label)) is not None}


def _files(old: Manifest, new: Manifest) -> FileDiff:
    befores, afters = ({file.path: file for file in manifest.files} for manifest in (old, new))
    both = [(befores[path], afters[path]) for path in sorted(befores.keys() & afters)]
    changed = tuple((before, after) for before, after in both if before.sha256 != after.sha256)
    return FileDiff(
        identical=len(both) - len(changed),
        added=tuple(afters[path] for path in sorted(afters.keys() - befores)),
        removed=tuple(befores[path] for path in sorted(befores.keys() - afters)),
        changed=changed,
    )


def _config(depot: Depot, old: Manifest, new: Manifest, files: FileDiff) -> tuple[tuple[SafePath, Keys], ...]:
    found = []
    for before, after in files.changed:
        if after.path.endswith(".json") and max(before.size, after.size) <= _CONFIG_LIMIT:
            document = keys.parse(fetch_file(depot, old, before))
            document_after = keys.parse(fetch_file(depot, new, after))
            if document is not None and document_after is not None:
                found.append((after.path, keys.compare(document, document_after)))
    return tuple(found)


def _tensors(depot: Depot, old: Manifest, new: Manifest, files: FileDiff, measure: Measure | None) -> TensorDiff:
    pairing = match(old, new)
    different = [pair for pair in pairing.pairs if not (pair.like and pair.same)]
    alike = [pair for pair in different if _has_one_shape(pair)]
    told = measure(depot, old, new, alike) if measure else [Measured(pair.same, reason="not read") for pair in alike]
    found = list(zip(alike, told, strict=True))
    found += [(pair, Measured(same=False, reason="another shape")) for pair in different if not _has_one_shape(pair)]
    changed = [(pair, measured) for pair, measured in found if pair.like and measured.same is False]
    unread = [pair for pair, measured in found if pair.like and measured.same is None]
    reshaped = [(pair, measured) for pair, measured in found if not pair.like]
    several = (*files.added, *files.removed, *(after for _, after in files.changed))
    return TensorDiff(
        identical=len(pairing.pairs) - len(reshaped) - len(changed) - len(unread),
        added=pairing.added,
        removed=pairing.removed,
        reshaped=tuple(sorted(reshaped, key=_most_first)),
        changed=tuple(sorted(changed, key=_most_first)),
        unread=tuple(unread),
        opaque=tuple(file for file in several if file.format in _OPAQUE),
    )


def _has_one_shape(pair: Pair) -> bool:
    return pair.old.info.shape == pair.new.info.shape


def _most_first(found: tuple[Pair, Measured]) -> tuple[float, str]:
    return found[1].rank, found[0].name
