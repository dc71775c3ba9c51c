"""Lease: who may write, and who may sweep

A lease is a row. It stops being active only by a committed write (R6), so a writer that was paused for a day finds
out at its commit and not by its clock.
"""

import os
import re
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from artifactstore.catalog.base import LeaseInfo
from artifactstore.core.digest import Digest
from artifactstore.core.errors import LeaseLost, StoreError, Unavailable
from artifactstore.core.events import Warn
from artifactstore.depot import Depot

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_PIDS = Path("/proc/self/ns/pid")
# What sessions and exports are named; other folders in tmp/ are none of ours (R8).
_OWNER = re.compile(r"[0-9a-f]{32}|(?:journal|init|doctor|replace)-[0-9a-f]{16}")


def host() -> str:
    """This boot of this machine, and what numbers its processes: containers may share the first, not the second"""
    boot = _BOOT_ID.read_text()[:8] if _BOOT_ID.exists() else "-"
    numbers = _PIDS.stat().st_ino if _PIDS.exists() else "-"
    return f"{socket.gethostname()}/{boot}/{numbers}"


class Lease:
    """A lease held while the block runs, kept alive by a thread, given up at the end unless it was done before"""

    def __init__(self, depot: Depot, kind: str) -> None:
        self.id = secrets.token_hex(16)
        self._depot = depot
        self._kind = kind
        self._over = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="artstore-heartbeat", daemon=True)
        self.lost = False

    def __enter__(self) -> Self:
        self._depot.catalog.leases.open(self.id, host=host(), pid=os.getpid(), kind=self._kind)
        try:
            self._heart.start()
        except RuntimeError as e:
            self.end()
            raise Unavailable("No more threads can be started here; raise the limit (ulimit -u)", code="threads") from e
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._heart.join()

    def check(self) -> None:
        """Raise LeaseLost once the heartbeat has found the lease ended"""
        if self.lost:
            raise LeaseLost(f"Lease {self.id} ended while this process was away; the write starts again", id=self.id)

    def end(self) -> bool:
        """Give the lease up so that its commit can never happen; False when it did happen"""
        return self._depot.catalog.leases.reap(self.id) or self._depot.catalog.leases.is_reaped(self.id)

    def _beat(self) -> None:
        period = self._depot.settings.lease.total_seconds() / 3
        while not self._over.wait(period):
            try:
                self.lost = not self._depot.catalog.leases.extend(self.id)
            except StoreError as e:
                self._depot.monitor(Warn(f"Heartbeat of lease {self.id[:8]} failed, trying again: {e}"))
            if self.lost:
                return


@contextmanager
def reading(depot: Depot, *versions: Digest) -> Iterator[None]:
    """Hold versions while they are read, so that no collection sweeps them; who has no right to write just reads"""
    if depot.read_only:
        yield
        return
    with Lease(depot, "read") as lease:
        for version in versions:
            depot.catalog.leases.hold(lease.id, version)
        try:
            yield
        finally:
            _let_go(depot, lease)


def _let_go(depot: Depot, lease: Lease) -> None:
    """What was read is no worse when this fails, and a failure that led here must not be hidden by it"""
    try:
        lease.end()
    except StoreError as e:
        depot.monitor(Warn(f"The lease of a reader could not be given up, it ends by itself: {e}"))


def clear_dead(depot: Depot) -> None:
    """End leases whose time is over or whose process of this boot is gone, and drop what they left unpublished"""
    active = depot.catalog.leases.active()
    for lease in active:
        if _is_dead(lease):
            depot.catalog.leases.reap(lease.id)
    if active:
        depot.catalog.leases.expire()
    # Owners are listed first: a lease is committed before its first byte, so what is listed and not active is over.
    owners = depot.blobs.owners()
    alive = {lease.id for lease in depot.catalog.leases.active()} if owners else set()
    for owner in owners:
        if owner not in alive and _OWNER.fullmatch(owner):
            depot.blobs.drop(owner)


def _is_dead(lease: LeaseInfo) -> bool:
    if os.name != "posix" or lease.host != host() or lease.pid == os.getpid():
        return False
    try:
        os.kill(lease.pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
