"""Opening: handles on a version of a store, and on plain safetensors files"""

import os
from functools import partial
from os import PathLike
from pathlib import Path

import torch

from artifactstore.core.digest import Digest
from artifactstore.core.names import Reference
from artifactstore.core.settings import Settings
from artifactstore.depot import Depot
from artifactstore.ops.transfer.attested import Attestations
from artifactstore.ops.transfer.fetch import load_manifest
from artifactstore.ops.transfer.garbage import uncollected
from artifactstore.tensors.engine import engine_of, parse_device
from artifactstore.tensors.handle import Handle
from artifactstore.tensors.host import Asked
from artifactstore.tensors.options import Loading, Verify
from artifactstore.tensors.pieces import Source, of_folder, of_version
from artifactstore.tensors.resident import Resident


def open_version(depot: Depot, version: Digest, loading: Loading) -> Handle:
    """The tensors of a version"""
    return Handle(source_of(depot, version), loading)


@uncollected()
def source_of(depot: Depot, version: Digest) -> Source:
    """What a version has to load"""
    return of_version(depot, load_manifest(depot, version))


def open_resident(depot: Depot, loading: Loading, host: str | PathLike[str] | None = None) -> Resident:
    """Versions to be loaded so that equal tensors are one; host: the folder in which another process serves"""

    def opening(ref: str) -> Source:
        return source_of(depot, depot.catalog.versions.resolve(Reference.parse(ref)).id)

    return Resident(opening, loading, None if host is None else Asked(Path(host)))


def open_plain(
    path: str | PathLike[str], device: str | torch.device = "cpu", dtype: torch.dtype | None = None
) -> Handle:
    """The tensors of a safetensors file, or of all in a folder; nothing says what their bytes should be

    Raise NotFound, Invalid for a malformed file or a name that two files have.
    """
    return Handle(of_folder(Path(path)), loading_of(Settings(), "never", device, dtype))


def loading_of(
    settings: Settings,
    verify: Verify = "once",
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
) -> Loading:
    """How, by the settings of a store; raise Invalid, Unavailable for a device that is not to be had"""
    attestations = Attestations.of(settings)
    engine, found = partial(engine_of, direct=settings.direct), parse_device(device)
    # a bus takes more than a few threads read
    threads = settings.readers if found.type == "cpu" else max(settings.readers, min(os.cpu_count() or 1, 16))
    return Loading(verify, attestations, threads, found, dtype, engine)
