"""Sharing: a store beside others: remotes, mirrors, clones"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self

from artifactstore import depot as depots
from artifactstore import gc
from artifactstore.catalog.base import RemoteInfo, VersionInfo
from artifactstore.core.digest import Digest
from artifactstore.core.errors import Exists, Refused
from artifactstore.core.events import Monitor, silent
from artifactstore.core.names import Reference
from artifactstore.core.settings import Settings
from artifactstore.depot import Depot
from artifactstore.foreign import open_foreign
from artifactstore.gc import GcPlan, GcReport
from artifactstore.loading import Loads
from artifactstore.ops import collect, remotes, retire, sync
from artifactstore.ops.remotes import Whereabouts
from artifactstore.ops.sync import Naming, SyncPlan
from artifactstore.ops.transfer.carry import CarryReport
from artifactstore.ops.transfer.contact import Contact, reach


@dataclass(frozen=True, slots=True)
class ShareReport:
    """What was done: what was planned, what arrived, and what was let go in a mirror"""

    plan: SyncPlan
    carried: CarryReport
    removed: GcReport | None = None

    def to_json(self) -> dict[str, Any]:
        """With stable keys"""
        document = self.plan.to_json()
        document["versions"] = [
            {"id": str(one.id), "ref": one.ref, "size": one.nbytes} for one in self.carried.versions
        ]
        document |= {"blobs": self.carried.blobs, "bytes": self.carried.nbytes}
        return document | ({} if self.removed is None else {"removed": self.removed.to_json()})


class Shares(Loads):
    """Verbs of a store that involve others

    All raise NotFound for a remote nobody made known, Unavailable for one that is not there now, Conflict for one that
    is another store or was put back to an older state, Offline for one that needs a network that is forbidden.
    """

    @classmethod
    def clone(cls, url: str, dest: str, *, settings: Settings | None = None, monitor: Monitor = silent) -> Self:
        """Make a store in a folder that reads what it does not hold from the one at `url`, through a cache

        One that was interrupted is finished. Raise NoStore when there is none, Exists for a folder with another store.
        """
        with open_foreign(url, settings=settings, monitor=monitor):
            try:
                depot = depots.init(dest, settings=settings, monitor=monitor)
            except Exists:
                depot = depots.open_depot(
                    depots.home_url(dest, settings or Settings()), settings=settings, monitor=monitor
                )
                _check_unfinished(depot)
        try:
            remotes.add(depot, "origin", url, origin=True)
        except BaseException:
            depot.close()
            raise
        return cls(depot)

    def remote_add(self, name: str, url: str, catalog: str | None = None) -> RemoteInfo:
        """Make another store known; where there is none a mirror is made

        catalog: the URL of its own catalog, where it has one and this store may push to it.
        """
        return remotes.add(self.depot, name, url, catalog)

    def remote_rm(self, name: str) -> RemoteInfo:
        """Forget a remote; the store itself stays as it is"""
        return remotes.remove(self.depot, name)

    def remote_ls(self) -> list[tuple[RemoteInfo, bool]]:
        """All remotes, and whether each is there now"""
        return remotes.reachable(self.depot)

    def whereis(self, ref: str) -> list[Whereabouts]:
        """Every place that holds a version, as far as it was seen there"""
        depot, version = self.find(ref)
        return remotes.whereis(self.depot, version, held=depot is self.depot)

    def plan_push(self, remote: str, refs: Sequence[str] = (), *, aliases: bool | None = None) -> SyncPlan:
        """Look at what `push` would bring there, changing nothing"""
        with reach(self.depot, remote, writing=True) as contact:
            return self._plan_push(contact, refs, aliases=aliases)

    def push(self, remote: str, refs: Sequence[str] = (), *, aliases: bool | None = None) -> ShareReport:
        """Bring versions to a remote with all they need, by default every one that it lacks

        aliases: move them there too; by default in a mirror that this store made, and nowhere else.
        """
        with reach(self.depot, remote, writing=True) as contact:
            plan = self._plan_push(contact, refs, aliases=aliases)
            return self._done(contact, plan, sync.run(self.depot, contact.there, plan))

    def plan_pull(self, remote: str, refs: Sequence[str] = (), *, aliases: bool = False) -> SyncPlan:
        """Look at what `pull` would bring here, changing nothing"""
        with reach(self.depot, remote, writing=False) as contact:
            return self._plan_pull(contact, refs, aliases=aliases)

    def pull(self, remote: str, refs: Sequence[str] = (), *, aliases: bool = False) -> ShareReport:
        """Bring versions of a remote here with all they need, by default every one that is not here

        Its aliases arrive as `remote/alias`; aliases: under their own names, which moves ours.
        """
        with reach(self.depot, remote, writing=False) as contact:
            plan = self._plan_pull(contact, refs, aliases=aliases)
            return self._done(contact, plan, sync.run(contact.there, self.depot, plan))

    def plan_sync(self, remote: str, *, delete: bool = False) -> tuple[SyncPlan, tuple[VersionInfo, ...]]:
        """Look at what `sync` would bring there, and which versions it would let go there"""
        with reach(self.depot, remote, writing=True) as contact:
            plan = sync.plan(self.depot, contact.there, None, Naming(exact=contact.info.mirror))
            return plan, sync.superfluous(self.depot, contact.there) if _owned(contact, delete=delete) else ()

    def sync(
        self,
        remote: str,
        *,
        delete: bool | Sequence[Digest] = False,
        grace: timedelta = collect.GRACE,
        force: bool = False,
    ) -> ShareReport:
        """Bring a mirror in step: versions, metrics, and aliases exactly

        In a store that has an owner of its own, aliases are moved and none is taken away.

        delete: let go of versions there that are not here, all or only these; their bytes go once the grace is over.
        Raise Refused when that is more than a fifth of the mirror, unless forced.
        """
        with reach(self.depot, remote, writing=True) as contact:
            going = sync.superfluous(self.depot, contact.there) if _owned(contact, delete=bool(delete)) else ()
            if not isinstance(delete, bool):
                going = tuple(one for one in going if one.id in delete)
            removal = _removal(contact, going, grace)
            if not force:
                gc.check_guard(removal)
            plan = sync.plan(self.depot, contact.there, None, Naming(exact=contact.info.mirror))
            carried = sync.run(self.depot, contact.there, plan)
            removed = gc.run(contact.there, removal, force=force) if delete else None
            return self._done(contact, plan, carried, removed)

    def _plan_push(self, contact: Contact, refs: Sequence[str], *, aliases: bool | None) -> SyncPlan:
        named = contact.info.mirror if aliases is None else aliases
        chosen = [self.depot.catalog.versions.resolve(Reference.parse(ref)) for ref in refs]
        return sync.plan(self.depot, contact.there, chosen or None, Naming(aliases=named))

    def _plan_pull(self, contact: Contact, refs: Sequence[str], *, aliases: bool) -> SyncPlan:
        chosen = [contact.resolve(ref) for ref in refs]
        naming = Naming(prefix="" if aliases else contact.info.name)
        return sync.plan(contact.there, self.depot, chosen or None, naming)

    def _done(
        self, contact: Contact, plan: SyncPlan, carried: CarryReport, removed: GcReport | None = None
    ) -> ShareReport:
        there = contact.there.catalog.versions.active()
        here = self.depot.catalog.versions.active()
        before = self.depot.catalog.remotes.held(contact.info.name)
        contact.note(held=sorted(here & there), gone=sorted(before - there))
        return ShareReport(plan, carried, removed)


def _check_unfinished(depot: Depot) -> None:
    """Raise Exists unless nothing but the clone's origin is in it"""
    others = [info.name for info in depot.catalog.remotes.list() if not info.origin]
    if others or depot.catalog.versions.active():
        depot.close()
        raise Exists(f"There is a store at {depot.blobs.url} already; clone into an empty folder", code="store")


def _owned(contact: Contact, *, delete: bool) -> bool:
    if delete and not contact.info.mirror:
        raise Refused(
            f"{contact.info.name} has an owner of its own, who alone lets go of what is there; sync without --delete",
            code="owner",
        )
    return delete


def _removal(contact: Contact, going: Sequence[VersionInfo], grace: timedelta) -> GcPlan:
    """The versions to retire in the mirror, as a plan of its collection"""
    there = contact.there
    reasons = {one.id: "not in the store it mirrors" for one in going}
    chosen = retire.plan_named(there, going, reasons)
    return GcPlan(chosen, collect.plan(there, grace), grace, there.info.store_id, there.info.catalog_id)
