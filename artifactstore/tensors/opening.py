"""Opening: handles on a version of a store, and on plain safetensors files"""

from os import PathLike
from pathlib import Path

from artifactstore.core.digest import Digest
from artifactstore.core.settings import Settings
from artifactstore.depot import Depot
from artifactstore.ops.transfer.attested import Attestations
from artifactstore.ops.transfer.fetch import load_manifest
from artifactstore.tensors.handle import Handle
from artifactstore.tensors.loader import Loading, Verify
from artifactstore.tensors.pieces import of_folder, of_version


def open_version(depot: Depot, version: Digest, verify: Verify = "once") -> Handle:
    """The tensors of a version, to be verified once for each machine, always or never"""
    return Handle(of_version(depot, load_manifest(depot, version)), _loading(depot.settings, verify))


def open_plain(path: str | PathLike[str]) -> Handle:
    """The tensors of a safetensors file, or of all in a folder; nothing says what their bytes should be

    Raise NotFound, Invalid for a malformed file or a name that two files have.
    """
    return Handle(of_folder(Path(path)), _loading(Settings(), "never"))


def _loading(settings: Settings, verify: Verify) -> Loading:
    return Loading(verify, Attestations(Path(settings.attested).expanduser()), settings.readers)
