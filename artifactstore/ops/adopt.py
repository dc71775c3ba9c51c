"""Adopt: manifests that no record names become versions, as a save of their own"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from artifactstore.blobs.layout import blob_key, manifest_key
from artifactstore.catalog.base import VersionInfo, Written
from artifactstore.core.decode import read_manifest
from artifactstore.core.digest import Digest
from artifactstore.core.errors import Corrupt, Invalid, NotFound, Refused
from artifactstore.core.manifest import BlobInfo, Manifest
from artifactstore.depot import Depot
from artifactstore.ops.transfer.strays import find_bytes
from artifactstore.session import Session, Tags, in_session


@dataclass(frozen=True, slots=True)
class AdoptReport:
    """What became a version, under a number of its own; left: what could not, with the reason"""

    adopted: tuple[VersionInfo, ...]
    left: tuple[tuple[Digest, str], ...]


def run(depot: Depot, versions: Sequence[Digest]) -> AdoptReport:
    """Commit each whose manifest and blobs are all here and match their names

    What no version holds yet is written under new names: whoever left it may still be about to remove it.
    """
    adopted: list[VersionInfo] = []
    left: list[tuple[Digest, str]] = []
    for version in versions:
        try:
            adopted.append(_adopt(depot, version))
        except (Corrupt, Invalid, NotFound, Refused) as e:
            left.append((version, e.message))
    return AdoptReport(tuple(adopted), tuple(left))


def _adopt(depot: Depot, version: Digest) -> VersionInfo:
    raw = find_bytes(depot.blobs, version, 0, manifest_key)
    if raw is None:
        raise Corrupt(f"No manifest of {version.hex()[:12]} is whole", code="manifest", id=str(version))
    manifest = read_manifest(raw, version)

    def work(session: Session) -> VersionInfo:
        session.build_on(manifest.parents)
        written = list(_written(depot, session, manifest))
        return session.commit(manifest, written, Tags(), taken=depot.catalog.now()).version

    return in_session(depot, "adopt", work)


def _written(depot: Depot, session: Session, manifest: Manifest) -> Iterator[Written]:
    for info in manifest.blobs:
        [grant] = session.want([info.digest])
        if grant.upload:
            yield session.write(grant, _bytes(depot, info))
        else:
            if Digest.of(depot.blobs.read(blob_key(info.digest, grant.inc))) != info.digest:
                raise Corrupt(f"Blob {info.digest.hex()[:12]} is damaged; run artstore verify", code="digest")
            yield session.found(grant, info.size)


def _bytes(depot: Depot, info: BlobInfo) -> bytes:
    raw = find_bytes(depot.blobs, info.digest, info.size, blob_key)
    if raw is None:
        raise Corrupt(f"Blob {info.digest.hex()[:12]} is nowhere here whole", code="missing", digest=str(info.digest))
    return raw
