"""Packing: which versions, and which of their blobs, a bundle takes along, and where each byte of it stands"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

from artifactstore.blobs.layout import SETTINGS_KEY, blob_key, journal_key, manifest_key
from artifactstore.blobs.tar import LABEL_KEY
from artifactstore.catalog.base import LinkInfo, VersionInfo
from artifactstore.core.bundle import Binding, Carried, Label, Named, Seal, incarnation, txid
from artifactstore.core.decode import read_known
from artifactstore.core.digest import Digest
from artifactstore.core.manifest import BlobInfo
from artifactstore.core.ordering import parents_first
from artifactstore.core.tar import Member
from artifactstore.core.verdict import needed_by
from artifactstore.depot import Depot, StoreInfo
from artifactstore.ops.transfer.fetch import damaged, manifest_bytes

_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Cargo:
    """A version as it goes in, as the record `serial`. at: the time of that

    blobs: those that no version before it brought. manifest, record: sizes of these. left_out: bytes of its blobs that
    the other side has.
    """

    version: Carried
    serial: int
    at: int
    blobs: tuple[BlobInfo, ...]
    manifest: int
    record: int
    left_out: int


@dataclass(frozen=True, slots=True)
class Load:
    """All that goes in. held: versions the other side has; along: those that others need"""

    info: StoreInfo
    label: Label
    cargo: tuple[Cargo, ...]
    held: tuple[Named, ...]
    along: tuple[Named, ...]


class Piece(NamedTuple):
    """A member of the bundle and what it holds: a blob, or what `cargo` says of its version; neither: of the store"""

    member: Member
    blob: BlobInfo | None = None
    cargo: Cargo | None = None


def pack(depot: Depot, versions: Sequence[VersionInfo], there: Sequence[Digest] = ()) -> Load:
    """These and all they need, parents first; there: versions that are left out, as are blobs they share

    Raise Corrupt when something that goes in is known to be damaged here.
    """
    named = {info.id for info in versions}
    needs = depot.catalog.retirements.survey().needs
    wanted = named | needed_by(named, needs).keys()
    infos = {info.id: info for info in depot.catalog.versions.list(sort="number:asc") if info.id in wanted}
    elsewhere = depot.catalog.versions.refs(there)
    lines = sorted(
        (one for one in infos if one not in elsewhere), key=lambda one: (infos[one].artifact, infos[one].number)
    )
    packing = _Packing(depot, elsewhere)
    before: set[Digest] = set()
    cargo = []
    for serial, one in enumerate(parents_first(lines, needs), 1):
        links = depot.catalog.versions.parents(one)
        cargo.append(packing.add(_carried(infos[one], links, before), serial, infos[one].taken))
        before.add(one)
    label = Label(depot.info.store_id, tuple(one.version.named for one in cargo), packing.base)
    held = tuple(Named(one, infos[one].ref) for one in infos if one in elsewhere)
    along = tuple(one for one in label.versions if one.id not in named)
    return Load(StoreInfo(*packing.seal.close(label)), label, tuple(cargo), held, along)


def lay_out(load: Load) -> Iterator[Piece]:
    """The members in order: each version's blobs, its manifest, its record; what a piece holds are whole versions"""
    start = 0
    for key, size, blob, cargo in _contents(load):
        member = Member(key, size, start)
        yield Piece(member, blob, cargo)
        start = member.end


def _contents(load: Load) -> Iterator[tuple[str, int, BlobInfo | None, Cargo | None]]:
    yield SETTINGS_KEY, len(load.info.to_bytes()), None, None
    yield LABEL_KEY, len(load.label.to_bytes()), None, None
    catalog = load.info.catalog_id
    for one in load.cargo:
        for blob in one.blobs:
            yield blob_key(blob.digest, incarnation(blob.digest)), blob.size, blob, None
        version = one.version.id
        yield manifest_key(version, incarnation(version)), one.manifest, None, one
        yield journal_key(catalog, one.serial, txid(catalog, one.serial)), one.record, None, one


def _carried(info: VersionInfo, links: Sequence[LinkInfo], before: set[Digest]) -> Carried:
    bound = tuple(
        Binding(link.position, link.parent, link.evidence) for link in links if link.parent and link.parent in before
    )
    aliases = tuple(sorted(info.aliases))
    return Carried(info.id, info.artifact, info.number, info.taken, dict(info.metrics), aliases, bound)


class _Packing:
    """What is in, and what is left out, of one version after the other"""

    def __init__(self, depot: Depot, elsewhere: Mapping[Digest, str]) -> None:
        self.seal = Seal()
        self._depot = depot
        self._elsewhere = {ref: one for one, ref in elsewhere.items()}
        self._in: set[Digest] = set()
        self._left_out: dict[Digest, int] = {}
        self._base: dict[str, Digest] = {}

    @property
    def base(self) -> tuple[Named, ...]:
        """Versions whose blobs are counted on"""
        return tuple(sorted((Named(one, ref) for ref, one in self._base.items()), key=lambda one: one.ref))

    def add(self, version: Carried, serial: int, taken: int) -> Cargo:
        """Raise Corrupt when one of its blobs is known to be damaged"""
        raw = manifest_bytes(self._depot, version.id)
        document = read_known(raw, version.id)
        new = [blob for blob in document.blobs if blob.digest not in self._in and blob.digest not in self._left_out]
        self._leave_out(new, str(version.artifact))
        taken_in = tuple(blob for blob in new if blob.digest not in self._left_out)
        self._check(taken_in)
        self._in.update(blob.digest for blob in taken_in)
        record = self.seal.add(serial, taken, version.actions(blob.digest for blob in document.blobs))
        left_out = sum(blob.size for blob in document.blobs if blob.digest in self._left_out)
        return Cargo(version, serial, taken, taken_in, len(raw), record, left_out)

    def _leave_out(self, blobs: Sequence[BlobInfo], artifact: str) -> None:
        """Those that a version at the other side has; of several the newest of the same artifact stands as the base"""
        for start in range(0, len(blobs), _CHUNK) if self._elsewhere else ():
            chunk = {blob.digest: blob.size for blob in blobs[start : start + _CHUNK]}
            for digest, refs in self._depot.catalog.versions.with_blobs(list(chunk)).items():
                known = [ref for ref in refs if ref in self._elsewhere]
                if not known:
                    continue
                if self._base.keys().isdisjoint(known):
                    ordered = zip(count(), known)  # in order of their numbers
                    _, ref = max(ordered, key=lambda one: (one[1].rpartition(":")[0] == artifact, one[0]))
                    self._base[ref] = self._elsewhere[ref]
                self._left_out[digest] = chunk[digest]

    def _check(self, blobs: Sequence[BlobInfo]) -> None:
        places = self._depot.catalog.blobs.places([blob.digest for blob in blobs])
        for blob in blobs:
            place = places.get(blob.digest)
            if place is None or place.state == "damaged":
                raise damaged(blob, "missing")
