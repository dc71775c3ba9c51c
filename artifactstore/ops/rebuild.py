"""Rebuild: a catalog made anew from the journal and the manifests (docs/protocol.md)"""

import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from itertools import groupby, islice
from pathlib import Path
from typing import Any, Literal

from artifactstore.blobs.ahead import ask_ahead
from artifactstore.blobs.base import BlobStore
from artifactstore.blobs.layout import MANIFESTS, SETTINGS_KEY, journal_prefix, parse_object
from artifactstore.blobs.open import open_blobs
from artifactstore.catalog.base import Place
from artifactstore.catalog.open import Catalog, open_catalog
from artifactstore.catalog.renew import Renewal, aside, discard, is_there, put_in_place, renew
from artifactstore.catalog.replay import What
from artifactstore.catalog.url import parse_url
from artifactstore.core.digest import Digest
from artifactstore.core.errors import Conflict, NotFound, Refused, StoreError
from artifactstore.core.events import Monitor, Step, silent
from artifactstore.core.record import Record
from artifactstore.core.settings import Settings
from artifactstore.depot import StoreInfo, folder_of, locate_catalog, read_info
from artifactstore.journal import Chain, Origin, export, heads, trace
from artifactstore.replay import read_batches, size_of

# of so many objects whose names begin alike a listing is cheaper than a question for each
_MANY = 8
_NAMES = 1000


@dataclass(frozen=True, slots=True)
class RebuildPlan:
    """What would be replayed into which catalog. origin: the last record; named: the catalog the store names now

    until: the serial after which records are left out, None for none. replaces: there is a catalog already.
    """

    store: str
    info: StoreInfo
    origin: Origin
    until: int | None
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
    chain = trace(blobs, source or _source(blobs, info), until)
    if source is not None and not chain.parts and until != 0:
        raise NotFound(f"The journal of {blobs.url} has no records of a catalog {source:.40}", code="catalog")
    replaces = is_there(place, info.store_id, settings, inside=catalog is None)
    return RebuildPlan(blobs.url, info, chain.head, until, parse_url(place).shown, replaces, place)


def run(plan: RebuildPlan, *, settings: Settings | None = None, monitor: Monitor = silent) -> RebuildReport:
    """Make the catalog anew, put it in place and give the store to it

    One that is interrupted leaves a store whose catalog the next one makes. Raise Conflict when another rebuild took
    the store meanwhile; Corrupt or Invalid, changing nothing, for a journal that cannot be replayed.
    """
    work = _Work(plan, settings or Settings(), monitor)
    work.rescue()
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


def _source(blobs: BlobStore, info: StoreInfo) -> str:
    """The catalog whose records are the store's: the one it names, unless a rebuild was interrupted"""
    found = heads(blobs)
    if info.catalog_id in found or not found:
        return info.catalog_id
    if len(found) == 1 and not any(True for _ in blobs.keys(journal_prefix(info.catalog_id))):
        return found[0]
    raise Refused(
        f"{blobs.url} names a catalog whose records others went on from, or several catalogs have records of their "
        f"own; find out which was in use and say --from {' or --from '.join(found)}",
        code="from",
        catalogs=found,
    )


class _Work:
    """One run of a rebuild, under the id of the catalog it makes"""

    def __init__(self, plan: RebuildPlan, settings: Settings, monitor: Monitor) -> None:
        self._plan, self._settings, self._monitor = plan, settings, monitor
        self.blobs = open_blobs(plan.store, settings)
        self.info = replace(plan.info, catalog_id=secrets.token_hex(16))

    def rescue(self) -> None:
        """Export what the old catalog has committed and could not write down, where it is well enough to tell"""
        self._check_named(self._plan.info)
        with suppress(StoreError), closing(self._open(self._plan.info)) as catalog:
            pending = catalog.journal.pending(1)
            head = self._trace().head
            if pending and Record.parse(pending[0].body).previous == head.txid and self._plan.until is None:
                export(self.blobs, catalog)

    def make(self) -> tuple[list[Lost], Path | None]:
        """Make the rows; what was found lost, and where the old file is kept"""
        beside = aside(self._plan.url, self.info.catalog_id)
        identity = (self.info.store_id, self.info.catalog_id)
        try:
            if beside is None:
                lost = renew(self._plan.url, identity, self._settings, self._fill)
                self._step("swap.after")
                return lost, None
            url, new, file = beside
            try:
                lost = renew(url, identity, self._settings, self._fill)
                self._check_named(self.info)
                kept = put_in_place(new, file)
            finally:
                discard(new, file)
            self._step("swap.after")
        except BaseException:
            self._give_back()
            raise
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

    def _fill(self, rows: Renewal) -> list[Lost]:
        self._step("replay.before")
        done = self._replay(rows, self._trace(), 0)
        self._step("replay.after")
        self._step("identity.before")
        self.blobs.replace(SETTINGS_KEY, self.info.to_bytes())
        self._step("identity.after")
        # listed once more: from here on nothing that the old catalog commits is acknowledged
        chain = self._trace()
        self._replay(rows, chain, done)
        unread = rows.finish(lambda key: size_of(self.blobs, key))
        lost = [Lost(what, place.digest, place.key, _kind(self.blobs, place.key)) for what, place in unread]
        lost += _lost(self.blobs, rows)
        rows.seal(chain.head, [(one.what, one.digest) for one in lost])
        self._step("swap.before")
        self._check_named(self.info)
        return lost

    def _trace(self) -> Chain:
        return trace(self.blobs, self._plan.origin.catalog, self._plan.until)

    def _replay(self, rows: Renewal, chain: Chain, after: int) -> int:
        for batch in read_batches(chain, after, rows.manifests):
            rows.replay(batch.records, batch.shelf)
        return chain.head.serial

    def _open(self, info: StoreInfo) -> Catalog:
        return open_catalog(self._plan.url, store_id=info.store_id, catalog_id=info.catalog_id, settings=self._settings)

    def _check_named(self, info: StoreInfo) -> None:
        if read_info(self.blobs).catalog_id != info.catalog_id:
            raise Conflict(
                f"Another rebuild has taken {self.blobs.url} meanwhile; look whether it is done, else rebuild again",
                code="catalog",
            )

    def _give_back(self) -> None:
        """A rebuild that failed leaves the store to the catalog it had, as long as nobody else took it"""
        with suppress(StoreError):
            if read_info(self.blobs).catalog_id == self.info.catalog_id:
                self.blobs.replace(SETTINGS_KEY, self._plan.info.to_bytes())

    def _step(self, name: str) -> None:
        self._monitor(Step(f"rebuild.{name}"))


def _kind(blobs: BlobStore, key: str) -> Literal["missing", "damaged"]:
    return "missing" if size_of(blobs, key) is None else "damaged"


def _lost(blobs: BlobStore, rows: Renewal) -> Iterator[Lost]:
    """Objects whose bytes are not there, or not as many as there should be; a listing alone never says so"""
    digits = 2 if folder_of(blobs) is not None else 3
    what: What
    for what in ("manifests", "blobs"):
        begun = groupby(rows.objects(what), key=lambda place: str(place.digest)[:digits])
        alike = ((what, [*places]) for _, places in begun)
        for found in ask_ahead(blobs, lambda group: _compare(blobs, *group), alike):
            yield from found


def _compare(blobs: BlobStore, what: What, places: Sequence[Place]) -> list[Lost]:
    """Of objects whose digests begin alike"""
    start = os.path.commonprefix([places[0].key, places[-1].key])  # noqa: RUF071  # of characters it is
    listed = dict(blobs.sizes(start)) if len(places) > _MANY else {}
    wrong = [place for place in places if listed.get(place.key) != place.stored]
    asked = ((place, size_of(blobs, place.key)) for place in wrong)
    return [
        Lost(what, place.digest, place.key, "missing" if size is None else "damaged")
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
