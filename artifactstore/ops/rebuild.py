"""Rebuild: a catalog made anew from the journal and the manifests (docs/protocol.md)"""

import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field, replace
from itertools import groupby, islice
from pathlib import Path
from typing import Any, Literal

from artifactstore.blobs.ahead import ask_ahead
from artifactstore.blobs.base import BlobStore
from artifactstore.blobs.layout import MANIFESTS, SETTINGS_KEY, parse_object
from artifactstore.blobs.open import open_blobs
from artifactstore.catalog.base import Place
from artifactstore.catalog.open import Catalog, open_catalog
from artifactstore.catalog.renew import Renewal, aside, discard, is_there, put_in_place, renew
from artifactstore.catalog.replay import What
from artifactstore.catalog.url import parse_url
from artifactstore.core.digest import Digest
from artifactstore.core.errors import Conflict, Corrupt, NotFound, Refused, StoreError
from artifactstore.core.events import Monitor, Step, silent
from artifactstore.core.record import Record
from artifactstore.core.settings import Settings
from artifactstore.depot import StoreInfo, folder_of, locate_catalog, read_info
from artifactstore.journal import Branches, Chain, Origin, begin, export, survey, trace
from artifactstore.replay import read_batches, size_of

# of so many objects whose names begin alike a listing is cheaper than a question for each
_MANY = 8
_NAMES = 1000


@dataclass(frozen=True, slots=True)
class RebuildPlan:
    """What would be replayed into which catalog. origin: the last record; named: the catalog the store names now

    until: the serial after which records are left out, None for none. forced: a person named the origin's catalog.
    replaces: there is a catalog already.
    """

    store: str
    info: StoreInfo
    origin: Origin
    until: int | None
    forced: bool
    catalog: str
    replaces: bool
    url: str = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """For people and programs to read before it runs"""
        return {
            "store": self.store,
            "catalog": self.catalog,
            "from": self.origin.catalog,
            "serial": self.origin.serial,
            "replaces": self.replaces,
        }


@dataclass(frozen=True, slots=True)
class Lost:
    """An object that records name and that is not as they say"""

    what: What
    digest: Digest
    key: str
    kind: Literal["missing", "damaged"]


@dataclass(frozen=True, slots=True)
class RebuildReport:
    """What was made. lost: damage that was not known; uncommitted: manifests no record names

    replaced: where an SQLite catalog that was there is kept.
    """

    catalog_id: str
    serial: int
    versions: int
    lost: tuple[Lost, ...]
    uncommitted: tuple[Digest, ...]
    replaced: Path | None


def plan(
    url: str,
    catalog: str | None = None,
    *,
    settings: Settings | None = None,
    source: str | None = None,
    until: int | None = None,
) -> RebuildPlan:
    """Look at what a rebuild would replay, changing nothing

    source: the catalog whose records are taken, where several could be meant. Raise NoStore, Refused when several are,
    Corrupt for a journal with a gap, Conflict for the catalog of another store.
    """
    settings = settings or Settings()
    blobs = open_blobs(url, settings)
    info = read_info(blobs)
    place = locate_catalog(blobs, catalog)
    chain = trace(blobs, source or _source(blobs, info.catalog_id, survey(blobs)), until)
    if source is not None and not chain.parts and until != 0:
        raise NotFound(f"The journal of {blobs.url} has no records of a catalog {source:.40}", code="catalog")
    replaces = is_there(place, info.store_id, settings, inside=catalog is None)
    shown = parse_url(place).shown
    return RebuildPlan(blobs.url, info, chain.head, until, source is not None, shown, replaces, place)


def run(plan: RebuildPlan, *, settings: Settings | None = None, monitor: Monitor = silent) -> RebuildReport:
    """Make the catalog anew, put it in place and give the store to it

    One that is interrupted leaves a store whose catalog the next one makes. Raise Conflict when another rebuild took
    the store meanwhile; Corrupt or Invalid, changing nothing, for a journal that cannot be replayed.
    """
    work = _Work(plan, settings or Settings(), monitor)
    work.rescue()
    # what came out of an archive lacks the folders that were empty
    work.blobs.prepare()
    lost, replaced = work.make()
    with closing(work.open()) as catalog:
        work.publish(catalog)
        for one in lost:
            if one.kind == "damaged":
                work.blobs.quarantine(one.key)
        uncommitted = tuple(_uncommitted(work.blobs, catalog))
        serial, _ = catalog.journal.head()
        versions = catalog.usage.totals().versions
    return RebuildReport(work.info.catalog_id, serial, versions, tuple(lost), uncommitted, replaced)


def _source(blobs: BlobStore, named: str, branches: Branches) -> str:
    """The catalog whose records are the store's: the one that no other goes on from"""
    if not branches.living:
        return named
    if len(branches.living) == 1:
        return branches.living[0]
    raise Refused(
        f"Several catalogs have records of their own in the journal of {blobs.url}; find out which was in use and say "
        f"--from {' or --from '.join(branches.living)}",
        code="from",
        catalogs=list(branches.living),
    )


class _Work:
    """One run of a rebuild, under the id of the catalog it makes"""

    def __init__(self, plan: RebuildPlan, settings: Settings, monitor: Monitor) -> None:
        self._plan, self._settings, self._monitor = plan, settings, monitor
        self.blobs = open_blobs(plan.store, settings)
        self.info = replace(plan.info, catalog_id=secrets.token_hex(16))

    def rescue(self) -> None:
        """Export what the old catalog has committed and could not write down, where it is well enough to tell

        Raise what keeps it from being written: it may have been acknowledged, and the old catalog is its only place.
        """
        self._check_named(self._plan.info)
        with ExitStack() as opened:
            try:
                catalog = opened.enter_context(closing(self._open(self._plan.info)))
                pending = [Record.parse(one.body).previous for one in catalog.journal.pending(1)]
                head = trace(self.blobs, self._plan.origin.catalog).head
            except StoreError:
                return
            if pending == [head.txid]:
                with suppress(Corrupt):
                    export(self.blobs, catalog)

    def make(self) -> tuple[list[Lost], Path | None]:
        """Make the rows; what was found lost, and where the old file is kept"""
        identity = (self.info.store_id, self.info.catalog_id)
        beside = aside(self._plan.url, self.info.catalog_id)
        if beside is None:
            lost, kept = renew(self._plan.url, identity, self._settings, self._prepare, self._finish), None
        else:
            url, new, file = beside
            try:
                lost = renew(url, identity, self._settings, self._prepare, self._finish)
                self._check_named(self.info)
                kept = put_in_place(new, file)
            finally:
                discard(new, file)
        self._step("swap.after")
        return lost, kept

    def open(self) -> Catalog:
        """The catalog that was made; raise Conflict when another rebuild has put its own there since"""
        return self._open(self.info)

    def publish(self, catalog: Catalog) -> None:
        """Write its first records beside the blobs: from now on it can be rebuilt itself"""
        self._step("record.before")
        self._check_named(self.info)
        export(self.blobs, catalog)
        self._step("record.after")
        self._check_named(self.info)

    def _prepare(self, rows: Renewal) -> tuple[Origin, list[tuple[Lost, Place]]]:
        """All that takes time or may fail, before the store is taken from the catalog it has"""
        self._step("replay.before")
        chain = trace(self.blobs, self._plan.origin.catalog, self._plan.until)
        self._replay(rows, chain, 0)
        lost = [*self._unread(rows), *_lost(self.blobs, rows)]
        self._step("replay.after")
        return chain.head, lost

    def _finish(self, rows: Renewal, prepared: tuple[Origin, list[tuple[Lost, Place]]]) -> list[Lost]:
        done, known = prepared
        self._step("identity.before")
        self.blobs.replace(SETTINGS_KEY, self.info.to_bytes())
        begin(self.blobs, self.info.catalog_id)
        self._step("identity.after")
        # listed again: from here on nothing that another catalog commits is acknowledged
        branches = survey(self.blobs)
        chain = self._follow(branches, done)
        self._replay(rows, chain, done.serial)
        lost = [*known, *self._unread(rows)]
        over = branches.known - {self.info.catalog_id, chain.catalog, *(part.catalog for part in chain.parts)}
        rows.seal(chain.head, sorted(over), [(one.what, place) for one, place in lost])
        self._step("swap.before")
        self._check_named(self.info)
        return [one for one, _ in lost]

    def _follow(self, branches: Branches, done: Origin) -> Chain:
        """The chain that counts by now, of which all up to `done` was replayed"""
        plan = self._plan
        source = plan.origin.catalog if plan.forced else _source(self.blobs, plan.info.catalog_id, branches)
        chain = trace(self.blobs, source, plan.until)
        if chain.txid(done.serial) != done.txid:
            raise self._taken()
        return chain

    def _replay(self, rows: Renewal, chain: Chain, after: int) -> None:
        for batch in read_batches(chain, after, rows.manifests):
            rows.replay(batch.records, batch.shelf)

    def _unread(self, rows: Renewal) -> list[tuple[Lost, Place]]:
        found = rows.finish(lambda key: size_of(self.blobs, key))
        return [(Lost(what, place.digest, place.key, _kind(self.blobs, place.key)), place) for what, place in found]

    def _open(self, info: StoreInfo) -> Catalog:
        return open_catalog(self._plan.url, store_id=info.store_id, catalog_id=info.catalog_id, settings=self._settings)

    def _check_named(self, info: StoreInfo) -> None:
        if read_info(self.blobs).catalog_id != info.catalog_id:
            raise self._taken()

    def _taken(self) -> Conflict:
        return Conflict(
            f"Another rebuild has taken {self.blobs.url} meanwhile; look whether it is done, else rebuild again",
            code="catalog",
        )

    def _step(self, name: str) -> None:
        self._monitor(Step(f"rebuild.{name}"))


def _kind(blobs: BlobStore, key: str) -> Literal["missing", "damaged"]:
    return "missing" if size_of(blobs, key) is None else "damaged"


def _lost(blobs: BlobStore, rows: Renewal) -> Iterator[tuple[Lost, Place]]:
    """Objects whose bytes are not there, or not as many as there should be; a listing alone never says so"""
    digits = 2 if folder_of(blobs) is not None else 3
    what: What
    for what in ("manifests", "blobs"):
        begun = groupby(rows.objects(what), key=lambda place: str(place.digest)[:digits])
        alike = ((what, [*places]) for _, places in begun)
        for found in ask_ahead(blobs, lambda group: _compare(blobs, *group), alike):
            yield from found


def _compare(blobs: BlobStore, what: What, places: Sequence[Place]) -> list[tuple[Lost, Place]]:
    """Of objects whose digests begin alike"""
    start = os.path.commonprefix([places[0].key, places[-1].key])  # noqa: RUF071  # of characters it is
    listed = dict(blobs.sizes(start)) if len(places) > _MANY else {}
    wrong = [place for place in places if listed.get(place.key) != place.stored]
    asked = ((place, size_of(blobs, place.key)) for place in wrong)
    return [
        (Lost(what, place.digest, place.key, "missing" if size is None else "damaged"), place)
        for place, size in asked
        if size != place.stored
    ]


def _uncommitted(blobs: BlobStore, catalog: Catalog) -> Iterator[Digest]:
    """Versions whose manifest is here and that no record ever named"""
    found = (name.digest for key in blobs.keys(MANIFESTS) if (name := parse_object(key)) is not None)
    names = (digest for digest, _ in groupby(found))
    while batch := list(islice(names, _NAMES)):
        known = catalog.replays.versions(batch)
        yield from (digest for digest in batch if digest not in known)
