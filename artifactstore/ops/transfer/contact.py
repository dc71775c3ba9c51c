"""Contact: another store opened by its name, seen to be the one that was meant and no older than it was"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from artifactstore.blobs.base import BlobStore
from artifactstore.blobs.open import open_blobs
from artifactstore.catalog.base import RemoteInfo, Seen, VersionInfo
from artifactstore.core.digest import Digest
from artifactstore.core.errors import Conflict, Invalid, NoStore, NotFound, Refused, Unavailable
from artifactstore.core.names import Reference
from artifactstore.depot import Depot, folder_of, home_url, open_depot, read_info
from artifactstore.foreign import has_record, open_foreign

ROLLED_BACK = "conflict.rollback"


@dataclass(frozen=True, slots=True)
class Contact:
    """A remote at work: what is known of it, and its parts"""

    here: Depot
    info: RemoteInfo
    there: Depot

    def resolve(self, ref: str) -> VersionInfo:
        """The version a reference means there; raise NotFound naming the remote"""
        try:
            return self.there.catalog.versions.resolve(Reference.parse(ref))
        except NotFound as e:
            raise NotFound(
                f"Remote {self.info.name} has nothing called {ref!r:.120}; artstore pull {self.info.name} -n lists "
                "what it has and this store has not",
                code="version",
                remote=self.info.name,
            ) from e

    def note(self, held: Iterable[Digest] = (), gone: Iterable[Digest] = ()) -> None:
        """Remember how far its journal went, and what it holds"""
        serial, txid = self.there.catalog.journal.head()
        if self.here.read_only:
            return
        self.here.check_writable()
        seen = Seen(self.there.info.catalog_id, serial, txid)
        self.here.catalog.remotes.note(self.info.name, seen, held, gone)
        self.here.acknowledge()


@contextmanager
def reach(depot: Depot, name: str, *, writing: bool) -> Iterator[Contact]:
    """Open a remote; writing: to bring something there

    Raise NotFound for a name nobody gave, Unavailable when it is not there now, Conflict when it is another store or
    one that was put back to an older state, Refused when it is only read from here.
    """
    info = depot.catalog.remotes.get(name)
    if writing and info.catalog is None:
        raise Refused(
            f"Remote {name} is only read from here, as its catalog is not known; artstore remote add {name} URL "
            "--remote-catalog URL names it",
            code="read-only",
        )
    _check_there(depot, info)
    other = _open(depot, info, writing=writing)
    try:
        _check_age(info, other)
        yield Contact(depot, info, other)
    finally:
        other.close()


def is_reachable(depot: Depot, info: RemoteInfo) -> bool:
    """Whether the store a remote names is there at this moment"""
    try:
        _check_there(depot, info)
    except (Unavailable, Conflict, Invalid, NotFound):
        return False
    return True


def _check_there(depot: Depot, info: RemoteInfo) -> None:
    blobs = open_blobs(home_url(info.url, depot.settings), depot.settings)
    try:
        store_id = read_info(blobs).store_id
    except NoStore as e:
        raise _away(info, blobs) from e
    if store_id != info.store_id:
        raise Conflict(
            f"At {info.url} lies another store than remote {info.name}; if that is meant, artstore remote rm "
            f"{info.name} and add it again",
            code="remote",
            expected=info.store_id,
            actual=store_id,
        )


def _away(info: RemoteInfo, blobs: BlobStore) -> Unavailable:
    what = "mount its disk" if folder_of(blobs) is not None else "look whether its bucket and prefix are right"
    return Unavailable(
        f"Remote {info.name} is not at {info.url} now: {what} and try again; nothing was taken for removed",
        code="unmounted",
        remote=info.name,
    )


def _open(depot: Depot, info: RemoteInfo, *, writing: bool) -> Depot:
    if info.catalog is None:
        return open_foreign(info.url, settings=depot.settings, monitor=depot.monitor, clock=depot.clock)
    url = home_url(info.url, depot.settings)
    try:
        other = open_depot(url, info.catalog, settings=depot.settings, monitor=depot.monitor, clock=depot.clock)
    except (NotFound, Conflict, Invalid) as e:
        remedy = f"artstore catalog rebuild --store {info.url} --catalog {info.catalog}"
        raise Conflict(
            f"Remote {info.name} cannot be used: {e.message.partition(';')[0]}; {remedy} makes its catalog anew",
            code="catalog",
            remote=info.name,
        ) from e
    if writing:
        try:
            other.check_writable()
        except BaseException:
            other.close()
            raise
    return other


def _check_age(info: RemoteInfo, other: Depot) -> None:
    """Raise Conflict when records that were seen are there no more"""
    journal = other.catalog.journal
    serial, txid = journal.head()
    # a catalog of ours may know records that a disk which was put back has lost
    known = info.catalog is not None and txid is not None and not journal.pending(1)
    if known and not has_record(other.blobs, other.info.catalog_id, serial, txid or ""):
        remedy = f"artstore catalog rebuild --store {info.url} --catalog {info.catalog}"
        raise _rolled_back(info, f"without record {serial}, which was written there", remedy)
    if info.seen is not None and info.seen.txid is not None and not journal.knows(info.seen.txid):
        remedy = f"artstore remote rm {info.name}, then add it again"
        raise _rolled_back(info, f"at record {serial}, it was at {info.seen.serial}", remedy)


def _rolled_back(info: RemoteInfo, how: str, remedy: str) -> Conflict:
    at = ""
    if info.seen is not None and info.seen.at:
        at = f" on {datetime.fromtimestamp(info.seen.at / 1e6, UTC):%Y-%m-%d}"
    return Conflict(
        f"Remote {info.name} at {info.url} was put back to an older state: it is {how}{at}; bring its newer state "
        f"back, or take it as it is: {remedy}",
        code="rollback",
        remote=info.name,
    )
