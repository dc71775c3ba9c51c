"""Remotes: other stores made known by name, and where else each version is"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from artifactstore.blobs.base import BlobStore
from artifactstore.blobs.open import open_blobs
from artifactstore.catalog.base import RemoteInfo, VersionInfo
from artifactstore.catalog.url import sqlite_url
from artifactstore.core.errors import Exists, Invalid, NoStore, StoreError
from artifactstore.depot import Depot, StoreInfo, folder_of, home_url, init, open_depot, read_info
from artifactstore.ops.transfer.contact import is_reachable

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """One place that holds a version. at: when that was last seen there, microseconds since 1970 UTC; None for here"""

    name: str
    url: str
    state: Literal["here", "reachable", "away"]
    at: int | None = None

    def to_json(self) -> dict[str, Any]:
        """With stable keys"""
        return {"name": self.name, "url": self.url, "state": self.state, "at": self.at}


def add(depot: Depot, name: str, url: str, catalog: str | None = None, *, origin: bool = False) -> RemoteInfo:
    """Make another store known; where there is none a mirror is made, which this store alone writes to

    catalog: the URL of the store's own catalog, which makes it one to push to. Raise Invalid for a name that cannot be
    one and for this store itself, Exists for one that another store has, Conflict for a catalog of another store.
    """
    if not _NAME.fullmatch(name) or name == "here":
        raise Invalid(f"Not the name of a remote: {name[:60]!r}; use letters, digits, - and _", code="remote-name")
    depot.check_writable()
    place = _absolute(home_url(url, depot.settings), depot)
    blobs = open_blobs(place, depot.settings)
    before = next((one for one in depot.catalog.remotes.list() if one.name == name), None)
    try:
        store = read_info(blobs)
    except NoStore:
        store = None
    if before is not None and (store is None or store.store_id != before.store_id):
        raise Exists(
            f"Remote {name} is the store at {before.url}; artstore remote rm {name} forgets it, or take another name",
            code="remote",
            remote=name,
        )
    if store is None:
        info = _made(depot, name, blobs, place, catalog)
    else:
        info = _known(depot, name, store, place, catalog, origin=origin)
    depot.catalog.remotes.set(info)
    depot.acknowledge()
    return info


def remove(depot: Depot, name: str) -> RemoteInfo:
    """Forget a remote; the store itself stays as it is. Raise NotFound"""
    depot.check_writable()
    info = depot.catalog.remotes.get(name)
    depot.catalog.remotes.remove(name)
    depot.acknowledge()
    return info


def whereis(depot: Depot, version: VersionInfo, *, held: bool) -> list[Whereabouts]:
    """This store, and each remote that held the version when it was last used; what is not mounted counts as holding

    held: whether this store does; what it does not is read from its origin.
    """
    origin = depot.catalog.remotes.origin()
    if not held and origin is not None:
        return [Whereabouts(origin.name, origin.url, "reachable")]
    here = Whereabouts("here", depot.blobs.url, "here")
    copies = depot.catalog.remotes.copies([version.id]).get(version.id, [])
    return [here, *(_whereabouts(depot, copy.remote, copy.at) for copy in copies)]


def reachable(depot: Depot) -> list[tuple[RemoteInfo, bool]]:
    """All remotes, and whether each is there now"""
    return [(info, is_reachable(depot, info)) for info in depot.catalog.remotes.list()]


def _whereabouts(depot: Depot, name: str, at: int) -> Whereabouts:
    info = depot.catalog.remotes.get(name)
    return Whereabouts(name, info.url, "reachable" if is_reachable(depot, info) else "away", at)


def _absolute(url: str, depot: Depot) -> str:
    folder = folder_of(open_blobs(url, depot.settings))
    return url if folder is None else str(folder.absolute())


def _made(depot: Depot, name: str, blobs: BlobStore, place: str, catalog: str | None) -> RemoteInfo:
    folder = folder_of(blobs)
    if folder is not None and not folder.parent.is_dir():
        raise Invalid(
            f"There is no folder {folder.parent} to make a mirror in; mount its disk, or make the folder", code="folder"
        )
    place_of_catalog = catalog or _own_catalog(depot, name)
    with init(place, place_of_catalog, settings=depot.settings, monitor=depot.monitor, clock=depot.clock) as made:
        return RemoteInfo(name, place, made.info.store_id, place_of_catalog, mirror=True)


def _known(depot: Depot, name: str, store: StoreInfo, place: str, catalog: str | None, *, origin: bool) -> RemoteInfo:
    if store.store_id == depot.info.store_id:
        raise Invalid(f"{place} is this store itself; name another", code="remote")
    if catalog is not None:
        open_depot(place, catalog, settings=depot.settings).close()
        return RemoteInfo(name, place, store.store_id, catalog, origin=origin)
    ours = _ours(depot, name, place)
    return RemoteInfo(name, place, store.store_id, ours, mirror=ours is not None, origin=origin)


def _ours(depot: Depot, name: str, place: str) -> str | None:
    """The catalog of a mirror that this store made before; None when it made none there"""
    for catalog in _own_catalogs(depot, name):
        try:
            open_depot(place, catalog, settings=depot.settings).close()
        except StoreError:
            continue
        return catalog
    return None


def _own_catalogs(depot: Depot, name: str) -> Sequence[str]:
    folder = folder_of(depot.blobs)
    if folder is None:
        return ()
    files = sorted((folder / "remotes").glob("*.sqlite"), key=lambda file: file.stem != name)
    return [sqlite_url(file) for file in files]


def _own_catalog(depot: Depot, name: str) -> str:
    """Where the catalog of a mirror is kept: beside this store's own"""
    folder = folder_of(depot.blobs)
    if folder is None:
        raise Invalid(
            f"A mirror made from {depot.blobs.url} needs a place for its catalog: --remote-catalog sqlite:////path or "
            "postgresql://…",
            code="catalog",
        )
    file = _free(folder / "remotes" / f"{name}.sqlite")
    file.parent.mkdir(exist_ok=True)
    return sqlite_url(file)


def _free(file: Path) -> Path:
    """A name that no other mirror's catalog has; one that was removed as a remote keeps its own"""
    number, found = 2, file
    while found.exists():
        found = file.with_name(f"{file.stem}-{number}.sqlite")
        number += 1
    return found
