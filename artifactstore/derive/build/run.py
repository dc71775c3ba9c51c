"""Run of a build: merge, quantize, write out, list; what an earlier run did is found and not done again"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

from artifactstore.blobs.disk import sync_folder, translated
from artifactstore.catalog.base import VersionInfo
from artifactstore.core import listing
from artifactstore.core.errors import Conflict, Invalid, NotFound, StoreError
from artifactstore.core.manifest import Manifest
from artifactstore.derive.build.plan import Step, Wanted, describe
from artifactstore.derive.dest import check_dest, sizes
from artifactstore.derive.merge.plan import plan as plan_merge
from artifactstore.derive.merge.plan import read_recipe
from artifactstore.derive.merge.run import run as merge
from artifactstore.derive.models import Model
from artifactstore.derive.quantize.levels import Target, parse_level
from artifactstore.derive.quantize.measure import Distance, measure, measured
from artifactstore.derive.quantize.plan import plan as plan_quantization
from artifactstore.derive.quantize.run import run as quantize
from artifactstore.derive.shard.plan import plan as plan_shards
from artifactstore.derive.shard.run import run as write_shards
from artifactstore.derive.web.plan import plan as plan_web
from artifactstore.derive.web.run import run as export
from artifactstore.finding import Finds
from artifactstore.ops import checkout
from artifactstore.ops.transfer.fetch import load_manifest
from artifactstore.ops.transfer.links import place_text
from artifactstore.ops.transfer.source import looking_at

try:
    import fcntl
except ImportError:  # Windows has none
    fcntl = None  # type: ignore[assignment]

# what one recipe may fail by without stopping the others
_OWN = (Invalid, NotFound, Conflict)
_Files = list[tuple[str, int, str]]


@dataclass(frozen=True, slots=True)
class Built:
    """What became of a step: versions and files, or the error it ended with

    made, known: tensors that were calculated, and that were found as they had been made before. distance: of a product
    that was quantized to what was merged, None where that was not asked for.
    """

    step: Step
    merged: VersionInfo | None = None
    product: VersionInfo | None = None
    files: tuple[tuple[str, int, str], ...] = ()
    made: int = 0
    known: int = 0
    distance: Distance | None = None
    error: StoreError | None = None

    def to_json(self) -> dict[str, Any]:
        """For programs to read"""
        versions = {"merged": self.merged, "product": self.product}
        return {
            **self.step.to_json(),
            **{name: None if one is None else {"id": str(one.id), "ref": one.ref} for name, one in versions.items()},
            "files": [{"path": path, "size": size, "sha256": sha256} for path, size, sha256 in self.files],
            "made": self.made,
            "known": self.known,
            "kl": self.distance and self.distance.kl,
            "top1": self.distance and self.distance.top1,
            "cosine": self.distance and self.distance.cosine,
            "error": None if self.error is None else {"error": self.error.code, "message": self.error.message},
        }


def run(store: Finds, steps: Sequence[Step], wanted: Wanted) -> list[Built]:
    """Do the steps in order. Of several, one that is refused leaves those that do not need it to be done

    Killed anywhere, it goes on where it was, and ends with the same bytes. Raises what a single step ends with, and
    what would end the others too: a full disk, a store that is busy.
    """
    done: list[Built] = []
    failed: set[str] = set()
    for step in steps:
        try:
            missing = sorted(step.takes & failed)
            if missing:
                raise NotFound(f"{step.merged} needs {', '.join(missing)}, which could not be made", code="recipe")
            done.append(_build(store, step, wanted))
        except _OWN as e:
            if len(steps) == 1:
                raise
            failed.add(str(step.merged))
            done.append(Built(step, error=e))
    return done


def _build(store: Finds, step: Step, wanted: Wanted) -> Built:
    recipe, raw = read_recipe(step.path)
    planned = plan_merge(store, recipe, raw, str(step.merged))
    if step.out is not None:
        as_merged = wanted.level is None and wanted.ceiling is None
        check_dest(step.out, planned.models, sizes(planned.product) if as_merged else {}, force=wanted.force)
        _check_listing(step.out, step.entry or "")
    report = merge(store.depot, planned)
    done = _lighter(store, Built(step, report.committed.version, made=report.made, known=report.known), wanted)
    if step.out is None or done.product is None:
        return done
    manifest = load_manifest(store.depot, done.product.id)
    files = _written(store, done.product, manifest, step.out, wanted)
    _list(step, wanted, done.product, manifest, files)
    return replace(done, files=tuple(files))


def _lighter(store: Finds, built: Built, wanted: Wanted) -> Built:
    """With the product: the merged version, quantized where that is wanted"""
    if wanted.level is None or built.merged is None:
        return replace(built, product=built.merged)
    name, ref, depot = str(built.step.product), built.merged.ref, store.depot
    if wanted.target is Target.WEB:
        graph = plan_web(store, ref, wanted.level, name)
        done = replace(built, product=export(depot, graph).committed.version)
        return _measured(store, done, graph.model) if wanted.measured else done
    tensors = plan_quantization(store, ref, parse_level(wanted.level), wanted.target, name)
    report = quantize(depot, tensors)
    made, known = built.made + report.made, built.known + report.known
    done = replace(built, product=report.committed.version, made=made, known=known)
    return _measured(store, done, tensors.model) if wanted.measured else done


def _measured(store: Finds, built: Built, source: Model) -> Built:
    """With the distance of the product to what was merged, which is measured once"""
    assert built.product is not None
    assert source.version is not None
    # as it is now: its metrics may have been noted after it was made
    product = store.depot.catalog.versions.get(built.product.id)
    weights = sum(prod(one.shape) for one in source.inputs.tensors.values())
    found = measured(product) or measure(store, str(product.id), str(source.version.id), weights)
    return replace(built, distance=found)


def _written(store: Finds, product: VersionInfo, manifest: Manifest, out: Path, wanted: Wanted) -> _Files:
    """All files of the folder by path, with their sizes and sha256"""
    if wanted.ceiling is not None:
        plan = plan_shards(store.depot, product, out, wanted.ceiling, force=wanted.force)
        return sorted((str(one.path), one.size, str(one.sha256)) for one in write_shards(store.depot, plan).files)
    checkout.run(store.depot, checkout.plan(store.depot, product, out, force=wanted.force))
    return sorted((str(one.path), one.size, str(one.sha256)) for one in manifest.files)


def _list(step: Step, wanted: Wanted, product: VersionInfo, manifest: Manifest, files: _Files) -> None:
    """Put the entry into models.json, beside the folder, once all its files are there"""
    assert step.out is not None
    assert step.entry is not None
    said = {
        "version": str(product.id),
        "ref": product.ref,
        "license": product.license,
        **{key: value for key, value in manifest.metadata.items() if key == "quantize"},
    }
    path = step.out.resolve().parent / listing.NAME
    with translated("write", str(path), path.parent), _alone(path.parent):
        raw = path.read_bytes() if path.exists() else None
        text = listing.put(raw, step.entry, describe(step, wanted, said, files))
        if text != raw:
            place_text(path, text.decode())
            sync_folder(path.parent)


def _check_listing(out: Path, key: str) -> None:
    """Raise Invalid for one that takes no entry, before there is something to list"""
    path = out.resolve().parent / listing.NAME
    with looking_at(path):
        listing.put(path.read_bytes() if path.exists() else None, key, {})


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """A block in which no other build changes the listing of a folder"""
    if fcntl is None:
        yield
        return
    fd = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
