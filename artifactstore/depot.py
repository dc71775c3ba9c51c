"""Depot: the parts of one store, and how to open them"""

import json
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from artifactstore.blobs.base import BlobReader, BlobStore
from artifactstore.blobs.cache import CachedReader
from artifactstore.blobs.layout import JOURNAL, MANIFESTS, SETTINGS_KEY
from artifactstore.blobs.local import LocalBlobs
from artifactstore.blobs.open import open_blobs
from artifactstore.blobs.unreachable import Unreachable
from artifactstore.catalog.open import Catalog, check_new, create_catalog, open_catalog
from artifactstore.catalog.upgrade import upgrade
from artifactstore.catalog.url import sqlite_url
from artifactstore.core.errors import Conflict, Corrupt, Denied, Exists, Invalid, NoStore, NotFound, Offline, StoreError
from artifactstore.core.events import Monitor, Step, Warn, silent
from artifactstore.core.settings import Settings
from artifactstore.journal import PARTED, export, is_behind
from artifactstore.replay import catch_up

FORMAT = 1
Clock = Callable[[], int]


def wall_clock() -> int:
    """Microseconds since 1970 UTC"""
    return time.time_ns() // 1000


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """What `artstore.json` says: which store this is, and which one catalog may write to it"""

    store_id: str
    catalog_id: str
    blob_limit: int = 64 << 20

    def to_bytes(self) -> bytes:
        """As written at init"""
        document = {
            "format": FORMAT,
            "store": self.store_id,
            "catalog": self.catalog_id,
            "limits": {"blob": self.blob_limit},
        }
        return json.dumps(document, indent=2).encode() + b"\n"

    @classmethod
    def parse(cls, raw: bytes, url: str) -> Self:
        """Raise Invalid when it is no store of a format known here"""
        try:
            document = json.loads(raw)
            known = document["format"]
            if known != FORMAT:
                raise Invalid(
                    f"Store {url} has format {known!r:.20}, this artifactstore reads {FORMAT}; upgrade it",
                    code="format",
                )
            return cls(str(document["store"]), str(document["catalog"]), int(document["limits"]["blob"]))
        except (ValueError, KeyError, TypeError) as e:
            raise Invalid(f"{SETTINGS_KEY} of {url} is damaged or belongs to something else", code="settings") from e


@dataclass(frozen=True)
class Depot:
    """The opened parts of one store"""

    blobs: BlobStore
    catalog: Catalog
    info: StoreInfo
    settings: Settings
    monitor: Monitor
    clock: Clock
    read_only: bool = False
    _mirrors: dict[str, BlobStore] = field(default_factory=dict, repr=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let connections go"""
        self.catalog.close()

    @cached_property
    def reader(self) -> BlobReader:
        """Blobs as they are read for use: those of a remote store through the cache, where settings name one"""
        if self.settings.cache is None or folder_of(self.blobs) is not None:
            return self.blobs
        return CachedReader(self.blobs, Path(self.settings.cache), self.settings.cache_size)

    def path(self, key: str) -> Path | None:
        """A file of this machine that has an object, None without one: the store's own, or a copy in its cache"""
        folder = folder_of(self.blobs)
        if folder is not None:
            return folder / key
        return self.reader.path(key) if isinstance(self.reader, CachedReader) else None

    def mirror(self, url: str) -> BlobStore:
        """The bytes of another store, opened once; raise StoreError when it cannot be"""
        if url not in self._mirrors:
            self._mirrors[url] = open_blobs(home_url(url, self.settings), self.settings)
        return self._mirrors[url]

    def step(self, name: str) -> None:
        """Tell that a point of the protocol was reached"""
        self.monitor(Step(name))

    def check_writable(self) -> None:
        """Raise Conflict when this catalog may not write; one that is older than the journal is brought up to date"""
        if self.read_only:
            raise Invalid("This store was opened read-only", code="read-only")
        self.catalog.journal.begin()
        self._check_named()
        if self.catalog.journal.pending(1):
            # of a command that was killed; this one may find nothing to commit, and so nothing to export
            self.export_journal()
        if not is_behind(self.blobs, self.catalog):
            return
        self.step("catalog.replay.before")
        count = catch_up(self.blobs, self.catalog)
        self.step("catalog.replay.after")
        self.monitor(
            Warn(
                f"The catalog was older than the journal of {self.blobs.url}, as one restored from a backup is; "
                f"{count} records were replayed, and every writer that was at work starts again"
            )
        )

    def warn_behind(self) -> None:
        """Tell a reader, who may not mend it, that the journal knows more than the catalog"""
        try:
            behind = is_behind(self.blobs, self.catalog)
        except StoreError as e:
            self.monitor(Warn(e.message))
        else:
            if behind:
                self.monitor(
                    Warn(
                        f"The catalog is older than the journal of {self.blobs.url}, as one restored from a backup is; "
                        "the next command that writes brings it up to date"
                    )
                )

    def acknowledge(self) -> None:
        """Export what was committed and see that the store is still this catalog's (save, F)

        Raise Conflict when it was given to another catalog, or to an older state of this one: what was committed here
        counts nowhere.
        """
        self.export_journal()
        self._check_named()
        # an older catalog put in place since the commit has nothing to export, and no objection
        if not self.catalog.journal.holds():
            raise Conflict("The catalog was put back to an older state during this write; run it again", code="older")

    def export_journal(self) -> None:
        """Write committed records beside the blobs; a failure is told and made up for by the next command

        Raise Conflict when another catalog wrote records in their place.
        """
        self.step("journal.export.before")
        try:
            export(self.blobs, self.catalog)
        except StoreError as e:
            if e.code == PARTED:
                raise
            self.monitor(Warn(f"The journal could not be written, the next command tries again: {e}"))
        self.step("journal.export.after")

    def _check_named(self) -> None:
        if read_info(self.blobs).catalog_id != self.info.catalog_id:
            raise Conflict(
                f"Store {self.blobs.url} was given to another catalog meanwhile; open it and run this again",
                code="catalog",
            )


class OpenStore(Protocol):
    """A store that is open already"""

    @property
    def depot(self) -> Depot:
        """Its parts"""


def read_info(blobs: BlobStore) -> StoreInfo:
    """Raise NoStore when nothing was initialised there"""
    try:
        return StoreInfo.parse(blobs.read(SETTINGS_KEY), blobs.url)
    except NotFound as e:
        raise NoStore(f"No store at {blobs.url}; make one with: artstore init {blobs.url}", url=blobs.url) from e


def folder_of(blobs: BlobStore) -> Path | None:
    """The folder a store lies in, None when it is not on this machine's disks"""
    return blobs.root if isinstance(blobs, LocalBlobs) else None


def locate_catalog(blobs: BlobStore, catalog: str | None) -> str:
    """The URL of a store's catalog, by default the file beside its blobs; raise Invalid where there can be none"""
    folder = folder_of(blobs)
    if catalog is not None:
        return catalog
    if folder is not None:
        return sqlite_url(folder / "catalog.sqlite")
    raise Invalid(
        f"A store at {blobs.url} needs a catalog: give --catalog postgresql://… or sqlite:////path, "
        "or set ARTSTORE_CATALOG",
        code="catalog",
    )


_OURS = {".artstore", "blobs", "manifests", "journal", "tmp", "trash", "quarantine", "files", "remotes"}


def _is_ours(name: str) -> bool:
    """Whether it may be part of a store that another process is making at this moment"""
    return name in _OURS or name.startswith("catalog.sqlite")


def home(path: Path) -> Path:
    """The folder that is, or may become, the store of `path`: foreign files get it beside them in `.artstore`"""
    inner = path / ".artstore"
    if (path / SETTINGS_KEY).exists() or not path.is_dir():
        return path
    if (inner / SETTINGS_KEY).exists() or not all(_is_ours(entry.name) for entry in path.iterdir()):
        return inner
    return path


def home_url(url: str, settings: Settings) -> str:
    """The same for what may be a URL; `~` is the user's folder. Raise Denied"""
    folder = folder_of(open_blobs(os.path.expanduser(url), settings))  # noqa: PTH111  # it may be a URL
    try:
        return url if folder is None else str(home(folder))
    except OSError as e:
        raise Denied(f"Cannot look into {url}: {e.strerror}") from e


def init(
    url: str,
    catalog: str | None = None,
    *,
    settings: Settings | None = None,
    monitor: Monitor = silent,
    clock: Clock = wall_clock,
) -> Depot:
    """Make a store, or finish one whose making was interrupted; raise Exists when there is one already"""
    settings = settings or Settings()
    blobs = open_blobs(url, settings)
    catalog_url = locate_catalog(blobs, catalog)
    info = _begun(blobs, catalog_url, settings)
    if info is None:
        folder = folder_of(blobs)
        if folder is not None:
            _refuse_foreign(folder)
        if catalog is not None:
            check_new(catalog, settings)
        blobs.prepare()
        info = StoreInfo(secrets.token_hex(16), secrets.token_hex(16))
        _write_info(blobs, info)
    rows = create_catalog(catalog_url, store_id=info.store_id, catalog_id=info.catalog_id, settings=settings)
    if read_info(blobs) != info:
        # where a name cannot be claimed, another may have written it since: the store is its who has the catalog
        blobs.replace(SETTINGS_KEY, info.to_bytes())
    return Depot(blobs, rows, info, settings, monitor, clock)


def _begun(blobs: BlobStore, catalog_url: str, settings: Settings) -> StoreInfo | None:
    """The store an interrupted init began; raise Exists when it is whole"""
    try:
        info = read_info(blobs)
    except NoStore:
        return None
    try:
        open_catalog(catalog_url, store_id=info.store_id, catalog_id=info.catalog_id, settings=settings).close()
    except NotFound as e:
        if any(True for prefix in (JOURNAL, MANIFESTS) for _ in blobs.keys(prefix)):
            raise Conflict(
                f"Store {blobs.url} holds versions but its catalog is gone; make it anew: artstore catalog rebuild",
                code="catalog-missing",
            ) from e
        return info
    raise _there_is_one(blobs, store=info.store_id)


def _there_is_one(blobs: BlobStore, **facts: str) -> Exists:
    return Exists(f"There is a store at {blobs.url} already", code="store", url=blobs.url, **facts)


def _write_info(blobs: BlobStore, info: StoreInfo) -> None:
    batch = blobs.batch(f"init-{secrets.token_hex(8)}")
    try:
        batch.write(SETTINGS_KEY, info.to_bytes())
        batch.publish()
    except Exists as e:
        raise _there_is_one(blobs) from e
    finally:
        batch.discard()


def _refuse_foreign(path: Path) -> None:
    if path.exists() and not path.is_dir():
        raise Invalid(f"{path} is a file; a store needs a folder", code="folder", path=str(path))
    if not path.is_dir():
        return
    foreign = sorted(entry.name for entry in path.iterdir() if not _is_ours(entry.name))
    if foreign:
        raise Invalid(
            f"{path} holds other files ({foreign[0]}{', …' if len(foreign) > 1 else ''}); choose an empty folder, "
            f"or keep the store beside them: artstore init {path / '.artstore'}",
            code="foreign",
            path=str(path),
        )


def open_depot(
    url: str,
    catalog: str | None = None,
    *,
    settings: Settings | None = None,
    monitor: Monitor = silent,
    clock: Clock = wall_clock,
    read_only: bool = False,
) -> Depot:
    """Open a store that exists; raise NoStore, Conflict when the catalog belongs to another store, Offline"""
    settings = settings or Settings()
    try:
        blobs = open_blobs(url, settings)
    except Offline:
        if catalog is None:
            raise
        return _open_unreached(url, catalog, settings, monitor, clock, read_only=read_only)
    info = read_info(blobs)
    place = locate_catalog(blobs, catalog)
    with _damage_told(catalog):
        rows = open_catalog(
            place, store_id=info.store_id, catalog_id=info.catalog_id, settings=settings, read_only=read_only
        )
    depot = Depot(blobs, rows, info, settings, monitor, clock, read_only)
    if read_only:
        depot.warn_behind()
    return depot


def _open_unreached(
    url: str, catalog: str, settings: Settings, monitor: Monitor, clock: Clock, *, read_only: bool
) -> Depot:
    """A remote store offline: rows of a catalog on this machine, and bytes that its cache holds"""
    rows = open_catalog(catalog, store_id=None, catalog_id=None, settings=settings, read_only=read_only)
    info = StoreInfo(rows.store_id, rows.catalog_id)
    return Depot(Unreachable(url), rows, info, settings, monitor, clock, read_only)


@contextmanager
def _damage_told(catalog: str | None) -> Iterator[None]:
    """What lies in the place of a store's own catalog and is none is a damaged one"""
    try:
        yield
    except Invalid as e:
        if catalog is not None or e.code != "invalid.catalog":
            raise
        raise Corrupt(f"{e.message}; artstore catalog rebuild makes it anew from its store", code="catalog") from e


def upgrade_catalog(url: str, catalog: str | None = None, *, settings: Settings | None = None) -> str:
    """Bring the catalog of a store to the schema of this release; the schema it then has

    Raise NoStore, NotFound when the catalog is gone, Conflict when it belongs to another store.
    """
    settings = settings or Settings()
    blobs = open_blobs(url, settings)
    info = read_info(blobs)
    place = locate_catalog(blobs, catalog)
    try:
        open_catalog(place, store_id=info.store_id, catalog_id=info.catalog_id, settings=settings).close()
    except Invalid as e:
        if e.code != "invalid.schema-old":
            raise
    return upgrade(place, settings)
