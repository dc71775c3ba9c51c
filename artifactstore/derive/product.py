"""Product: a version whose tensors are calculated, stored as they come

What is finished is landed every so often, as a transfer does, and noted in the catalog's memos by what it follows
from: a run that was killed goes on, and a neighbouring run takes what both have in common.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import accumulate
from types import MappingProxyType
from typing import Any, Self

import rfc8785

from artifactstore.catalog.base import Committed, Grant, Place, Written
from artifactstore.core.digest import Digest, Sha256
from artifactstore.core.errors import LeaseLost, NoSpace
from artifactstore.core.lineage import Link
from artifactstore.core.manifest import BlobInfo, Extent
from artifactstore.core.names import ArtifactName
from artifactstore.core.reading import Stored
from artifactstore.core.units import format_size
from artifactstore.depot import Depot
from artifactstore.derive.inputs import Inputs
from artifactstore.derive.making import Made, MadeFile, MadeSource, laid_out
from artifactstore.ops.ingest import Labels, manifest_of
from artifactstore.ops.transfer.attested import Attestations
from artifactstore.ops.transfer.cutter import FileDraft, cut_sources, entries
from artifactstore.ops.transfer.fetch import damaged
from artifactstore.ops.transfer.rescue import read_surely
from artifactstore.ops.transfer.source import Source
from artifactstore.ops.transfer.tight import TightPool
from artifactstore.ops.transfer.upload import Upload
from artifactstore.session import Session, Tags, in_session, open_session
from artifactstore.tensors import pieces

_PART = 4 << 20
# Beside the libraries that calculate there is little room: torch alone takes 220 of the 400 MiB that are aimed at.
_MEMORY = 112 << 20
_KIND = "derive"


@dataclass(frozen=True, slots=True)
class Product:
    """A version to be made. beside: its other files; parents: what it is made of, which is held until it is there"""

    artifact: ArtifactName
    labels: Labels
    files: tuple[MadeFile, ...]
    beside: tuple[Source, ...] = ()
    parents: tuple[Link, ...] = ()
    tags: Tags = field(default_factory=Tags)

    @property
    def nbytes(self) -> int:
        """Bytes of all files"""
        return sum(file.size for file in self.files) + sum(source.size for source in self.beside)

    @property
    def made(self) -> list[Made]:
        """All tensors, in the order in which they are made"""
        return [one for file in self.files for one in file.made]


@dataclass(frozen=True, slots=True)
class ProductReport:
    """What was made: the version, tensors that were calculated and those known before, bytes that were new"""

    committed: Committed
    made: int
    known: int
    new_bytes: int


def moment(depot: Depot, key: Digest, created: int | None = None) -> int:
    """When what has this key was first asked for, microseconds; created: that is now, else the depot's clock says"""
    now = depot.clock() if created is None else created
    return int(depot.catalog.memos.first(Digest.of(b"moment" + key), str(now).encode()))


def dated(depot: Depot, product: Product) -> Product:
    """The product, created when it was first asked for: all runs that make it, killed or not, make one version"""
    made = [[one.name, None if one.key is None else one.key.hex()] for one in product.made]
    beside = [[str(one.path), one.size] for one in product.beside]
    parents = [link.to_json() for link in product.parents]
    what: list[Any] = [str(product.artifact), made, beside, parents, dict(product.labels.metadata)]
    created = moment(depot, Digest.of(rfc8785.dumps(what)), product.labels.created)
    return replace(product, labels=replace(product.labels, created=created))


def known(depot: Depot, made: Iterable[Made]) -> dict[Digest, "Kept"]:
    """What of it was made before, as far as memos say; whether the bytes are still there is seen when they are held"""
    keys = {one.key for one in made if one.key is not None}
    return {key: Kept.parse(raw) for key, raw in depot.catalog.memos.get(keys).items()}


@dataclass(frozen=True, slots=True)
class Kept:
    """Where the bytes of a tensor lie: (blob, start, length), one after another"""

    parts: tuple[tuple[BlobInfo, int, int], ...]

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """As memos hold it"""
        rows = json.loads(raw)
        return cls(tuple((BlobInfo(Digest.parse(name), size), start, length) for name, size, start, length in rows))

    def to_bytes(self) -> bytes:
        """For the memos"""
        rows = [[str(blob.digest), blob.size, start, length] for blob, start, length in self.parts]
        return json.dumps(rows, separators=(",", ":")).encode()


def produce(depot: Depot, product: Product) -> ProductReport:
    """Make it and commit it; a second time it is the version that is there

    Raise NoSpace before any work, Refused when a parent was retired, and what the makers raise.
    """
    _check_space(depot, product)
    product = dated(depot, product)
    return in_session(depot, _KIND, lambda session: _Run(depot, session, product).all())


def prepare(depot: Depot, products: Sequence[Product]) -> int:
    """Make the tensors of several products, each beside its likes, so that what goes into all of them is read once

    They are kept for `produce`, as those of a run that was killed; how many were made. Raise NoSpace before any work.
    """
    for product in products:
        _check_space(depot, product, others=len(products))
    beside = zip(*(product.made for product in products), strict=True)
    made = [one for likes in beside for one in likes if one.key is not None and one.nbytes]
    if not made:
        return 0
    begins = list(accumulate((one.nbytes for one in made), initial=0))
    file = laid_out("all", b"", list(zip(made, begins[:-1], strict=True)), size=begins[-1], form="other")
    return in_session(depot, _KIND, lambda session: _Run(depot, session, replace(products[0], files=(file,))).land())


def _check_space(depot: Depot, product: Product, others: int = 1) -> None:
    free = depot.blobs.free()
    if free is None:
        return
    there = known(depot, product.made)
    need = (product.nbytes - sum(one.nbytes for one in product.made if one.key in there)) * others
    room = max(free - depot.settings.reserve, 0)
    if need > room:
        raise NoSpace(
            f"{product.artifact} comes to {format_size(product.nbytes)}, {format_size(need)} of it new; "
            f"{format_size(free)} are free at {depot.blobs.url}, {format_size(depot.settings.reserve)} of them kept "
            "back; make room or go elsewhere",
            need=need,
            free=room,
        )


class _Run:
    """One attempt. session: commits at the end, and holds until then what landed and what was known"""

    def __init__(self, depot: Depot, session: Session, product: Product) -> None:
        self._depot, self._session, self._product = depot, session, product
        self._landing = _Landing(depot, session)
        self._drafts: list[FileDraft] = []
        self._noted: set[Digest] = set()
        self._held: Mapping[Digest, Kept] = MappingProxyType({})
        self._counts = {"made": 0, "known": 0}
        self._since = 0

    def all(self) -> ProductReport:
        """Blobs in landings, then the version"""
        depot, product = self._depot, self._product
        new_bytes = self._stored([*(file.source(self._turn) for file in product.files), *product.beside])
        files, infos = entries(self._drafts)
        manifest = manifest_of(product.artifact, product.labels, product.parents, files, infos)
        written = [self._landing.landed[blob.digest] for blob in manifest.blobs]
        committed = self._session.commit(manifest, written, product.tags, depot.clock())
        return ProductReport(committed, self._counts["made"], self._counts["known"], new_bytes)

    def land(self) -> int:
        """Blobs in landings alone; how many tensors were made. Of a file that no version has, nobody asks the sha256"""
        unasked = Sha256(bytes(32))
        self._stored([MadeSource(file, self._turn, unasked) for file in self._product.files])
        return self._counts["made"]

    def _stored(self, sources: Sequence[Source]) -> int:
        """Make and land all of these; bytes that were new"""
        self._session.build_on(self._product.parents)
        self._held = self._hold()
        total = sum(source.size for source in sources)
        with (
            self._landing,
            Upload(
                self._landing, memory=TightPool(_MEMORY), monitor=self._depot.monitor, phase=_KIND, total=total
            ) as upload,
        ):
            self._upload = upload
            cut_sources(upload, sources, self._drafts)
            self._land()
        return upload.tally.written

    def _hold(self) -> dict[Digest, Kept]:
        """What is known of it, so that nothing takes it away; without what is gone by now"""
        found = known(self._depot, self._product.made)
        digests = {blob.digest for kept in found.values() for blob, _, _ in kept.parts}
        there = {grant.digest for grant in self._session.want(sorted(digests)) if not grant.upload}
        return {key: kept for key, kept in found.items() if all(one[0].digest in there for one in kept.parts)}

    def _turn(self, one: Made) -> Iterator[memoryview]:
        if self._since >= self._depot.settings.landing:
            self._land()
        self._since += one.nbytes
        kept = self._held.get(one.key) if one.key is not None else None
        self._counts["made" if kept is None else "known"] += 1
        self._depot.step(f"{_KIND}.{'make' if kept is None else 'keep'}.before")
        if kept is None:
            yield from one.make()
        else:
            yield from _bytes(self._depot, one, kept)

    def _land(self) -> None:
        """Commit what is written, and note where the tensors lie that are all of it"""
        self._since = 0
        self._landing.land(self._upload.finish().values())
        memos = dict(self._new_memos())
        self._depot.catalog.memos.put(memos)
        self._noted |= memos.keys()

    def _new_memos(self) -> Iterator[tuple[Digest, bytes]]:
        for file, draft in zip(self._product.files, self._drafts, strict=False):
            for one, kept in _lying(file, draft):
                if one.key is not None and one.key not in self._noted and one.key not in self._held:
                    yield one.key, kept.to_bytes()


def _lying(file: MadeFile, draft: FileDraft) -> Iterator[tuple[Made, Kept]]:
    """The tensors of a file whose blobs are all known, and where they lie"""
    runs = draft.sent()
    begin = end = start = 0
    blob: BlobInfo | None = None
    for one, at in zip(file.made, file.begins, strict=True):
        parts: list[tuple[BlobInfo, int, int] | None] = []
        stop = at + one.nbytes
        while True:
            low, high = max(begin, at), min(end, stop)
            if low < high:
                parts.append(None if blob is None else (blob, start + low - begin, high - low))
            if end >= stop:
                break
            try:
                length, blob, start = next(runs)
            except StopIteration:
                return
            begin, end = end, end + length
        known_parts = tuple(part for part in parts if part is not None)
        if len(known_parts) == len(parts) and parts:
            yield one, Kept(known_parts)


def _bytes(depot: Depot, one: Made, kept: Kept) -> Iterator[memoryview]:
    blobs = list(dict.fromkeys(blob for blob, _, _ in kept.parts))
    places = depot.catalog.blobs.places([blob.digest for blob in blobs])
    source = pieces.Source(
        one.name,
        {one.name: Stored(one.name, "U8", (one.nbytes,), _extents(blobs, kept))},
        [_piece(depot, blob, places.get(blob.digest)) for blob in blobs],
    )
    attestations = Attestations.of(depot.settings)
    yield from Inputs(source, attestations).parts(one.name, _PART)


def _extents(blobs: list[BlobInfo], kept: Kept) -> tuple[Extent, ...]:
    return tuple(Extent(blobs.index(blob), start, length) for blob, start, length in kept.parts)


def _piece(depot: Depot, blob: BlobInfo, place: Place | None) -> pieces.Piece:
    path = pieces.plain_path(depot, place)
    whole = partial(read_surely, depot, blob, place)
    return pieces.Piece(str(blob.digest), blob.size, blob.digest, path, whole, partial(damaged, blob, "corrupt"))


class _Landing:
    """Blobs written under one lease after another, each of which ends as what it wrote is committed"""

    def __init__(self, depot: Depot, keeper: Session) -> None:
        self._depot, self._keeper = depot, keeper
        self._stack = ExitStack()
        self._session: Session | None = None
        self.landed: dict[Digest, Written] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.__exit__(*error)  # type: ignore[arg-type]

    def _opened(self) -> Session:
        if self._session is None:
            self._session = self._stack.enter_context(open_session(self._depot, "land"))
        return self._session

    def want(self, digests: Iterable[Digest]) -> list[Grant]:
        """Under the lease of this landing"""
        return self._opened().want(digests)

    def write(self, grant: Grant, data: memoryview) -> Written:
        """Under the lease of this landing"""
        return self._opened().write(grant, data)

    def found(self, grant: Grant, size: int) -> Written:
        """Under the lease of this landing"""
        return self._opened().found(grant, size)

    def land(self, written: Collection[Written]) -> None:
        """Commit what came since the last time, and hold it; nobody may write meanwhile"""
        fresh = {one.grant.digest: one for one in written if one.grant.digest not in self.landed}
        if not fresh:
            return
        self._depot.step("derive.land.before")
        self._opened().heal(fresh.values())
        self._stack.close()
        self._session = None
        self._depot.step("derive.land.after")
        for grant in self._keeper.want(fresh):
            if grant.upload:
                raise LeaseLost(f"{grant.digest} was collected as soon as it was there; the write starts again")
            self.landed[grant.digest] = self._keeper.found(grant, fresh[grant.digest].size)
