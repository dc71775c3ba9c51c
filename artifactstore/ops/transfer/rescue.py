"""Rescue: a blob that is damaged where it should be is set aside, and its bytes are taken from a mirror"""

from artifactstore.blobs.layout import blob_key
from artifactstore.catalog.base import Place
from artifactstore.core.errors import Corrupt, StoreError
from artifactstore.core.events import Warn
from artifactstore.core.manifest import BlobInfo
from artifactstore.depot import Depot
from artifactstore.ops.transfer.aside import set_aside
from artifactstore.ops.transfer.fetch import read_blob
from artifactstore.ops.transfer.strays import find_bytes


def read_surely(depot: Depot, blob: BlobInfo, place: Place | None, into: memoryview) -> None:
    """Fill `into` with the blob's bytes; raise Corrupt when neither the store nor a mirror has them"""
    try:
        # One bad read is a bad cable or bad memory; two that agree are bad bytes.
        try:
            read_blob(depot, blob, place, into)
        except Corrupt:
            read_blob(depot, blob, place, into)
    except Corrupt as e:
        _set_aside(depot, blob)
        if not _from_mirrors(depot, blob, into):
            raise
        depot.monitor(Warn(f"{e.message}. It was read from a mirror"))


def _set_aside(depot: Depot, blob: BlobInfo) -> None:
    """What was read is no better when this fails"""
    place = depot.catalog.blobs.places([blob.digest]).get(blob.digest)
    if depot.read_only or place is None or place.state in {"damaged", "deleting"}:
        return
    try:
        set_aside(depot, blobs=[place])
    except StoreError as e:
        depot.monitor(Warn(f"Blob {blob.digest.hex()[:12]} could not be set aside: {e}"))


def _from_mirrors(depot: Depot, blob: BlobInfo, into: memoryview) -> bool:
    for url in depot.settings.mirrors:
        try:
            raw = find_bytes(depot.mirror(url), blob.digest, blob.size, blob_key)
        except StoreError as e:
            depot.monitor(Warn(f"Mirror {url} could not be asked: {e}"))
            continue
        if raw is not None:
            into[:] = raw
            return True
    return False
