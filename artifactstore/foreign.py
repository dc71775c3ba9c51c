"""Foreign: another store as its journal and manifests tell of it, to be read and nothing else

Nothing in it is trusted: its own catalog is never opened, manifests and blobs count when they match their names. What
its journal says is kept as a catalog in a folder of this machine's user, and followed from where it ended.
"""

from pathlib import Path

from artifactstore.blobs.base import BlobStore
from artifactstore.blobs.layout import journal_key
from artifactstore.blobs.open import open_blobs
from artifactstore.catalog.open import Catalog, create_catalog
from artifactstore.catalog.url import sqlite_url
from artifactstore.core.digest import Digest
from artifactstore.core.errors import Conflict, Corrupt, Denied, StoreError, Unavailable
from artifactstore.core.events import Monitor, Warn, silent
from artifactstore.core.settings import Settings
from artifactstore.depot import Clock, Depot, StoreInfo, home_url, read_info, wall_clock
from artifactstore.journal import PARTED, is_behind
from artifactstore.replay import catch_up, size_of


def open_foreign(
    store: str | BlobStore,
    *,
    settings: Settings | None = None,
    monitor: Monitor = silent,
    clock: Clock = wall_clock,
    folder: Path | None = None,
) -> Depot:
    """Open a store by its URL, or by its bytes, to read it

    folder: where its catalog is kept, by default the settings' folder for such catalogs. Raise NoStore, Corrupt for a
    journal that is damaged or has a gap, Invalid for one that a newer release wrote, Offline.
    """
    settings = settings or Settings()
    blobs = open_blobs(home_url(store, settings), settings) if isinstance(store, str) else store
    info = read_info(blobs)
    place = (folder or Path(settings.foreign).expanduser()) / f"{_name(info)}.sqlite"
    return Depot(blobs, _followed(blobs, info, place, settings, monitor), info, settings, monitor, clock, True)


def _name(info: StoreInfo) -> str:
    # what a foreign store calls itself is no name for a file
    return Digest.of(f"{info.store_id}\n{info.catalog_id}".encode()).hex()[:32]


def _followed(blobs: BlobStore, info: StoreInfo, place: Path, settings: Settings, monitor: Monitor) -> Catalog:
    """The catalog kept for a store, brought up to its journal; one that does not fit it is made anew"""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        is_kept = place.exists()
    except OSError as e:
        raise Denied(f"What {blobs.url} holds is looked up in {place.parent}, which fails: {e.strerror}") from e
    if is_kept:
        try:
            return _opened(blobs, info, place, settings)
        except Unavailable:
            # another process is at it, or nothing can be written: it is no worse than it was
            raise
        except StoreError as e:
            monitor(Warn(f"What was kept of {blobs.url} does not fit it and is made anew: {e.message}"))
            _discard(place)
    return _opened(blobs, info, place, settings)


def _opened(blobs: BlobStore, info: StoreInfo, place: Path, settings: Settings) -> Catalog:
    catalog = _catalog(info, place, settings)
    try:
        _check_age(blobs, catalog)
        _catch_up(blobs, catalog)
    except BaseException:
        catalog.close()
        raise
    return catalog


def _catalog(info: StoreInfo, place: Path, settings: Settings) -> Catalog:
    return create_catalog(sqlite_url(place), store_id=info.store_id, catalog_id=info.catalog_id, settings=settings)


def _catch_up(blobs: BlobStore, catalog: Catalog) -> None:
    try:
        if is_behind(blobs, catalog) or not catalog.journal.head()[0]:
            catch_up(blobs, catalog)
    except Conflict as e:
        if e.code != PARTED:
            raise
        raise Corrupt(
            f"The journal of {blobs.url} changed while it was read; if it does so again the store is damaged",
            code="journal",
        ) from e


def _check_age(blobs: BlobStore, catalog: Catalog) -> None:
    """Raise Conflict when the store no longer has the last record that was followed"""
    serial, txid = catalog.journal.head()
    if txid is not None and not has_record(blobs, catalog.catalog_id, serial, txid):
        raise Conflict("it was put back to an older state since it was read here", code="older")


def has_record(blobs: BlobStore, catalog_id: str, serial: int, txid: str) -> bool:
    """Whether the journal beside the bytes holds this record; one question"""
    return size_of(blobs, journal_key(catalog_id, serial, txid)) is not None


def _discard(place: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        place.with_name(place.name + suffix).unlink(missing_ok=True)
