"""Bundles: what they carry brought into a store, as from any other store"""

import re
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artifactstore.catalog.objects import PRESENT
from artifactstore.core.errors import NotFound
from artifactstore.depot import Depot
from artifactstore.foreign import open_foreign
from artifactstore.ops import sync
from artifactstore.ops.sync import Naming, SyncPlan
from artifactstore.ops.transfer.bundled import Bundle, open_bundle
from artifactstore.ops.transfer.carry import CarryReport

_CHUNK = 1000
_UNFIT = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Application:
    """A bundle held against a store: what it would bring, and the bringing"""

    bundle: Bundle
    plan: SyncPlan
    source: Depot
    target: Depot

    def to_json(self) -> dict[str, Any]:
        """For people and programs to read before it runs"""
        signature = self.bundle.signature
        by = None if signature.by is None else signature.by.name
        return {
            **self.plan.to_json(),
            "file": self.bundle.blobs.url,
            "held": len(self.bundle.versions) - len(self.plan.carry.versions),
            "signature": {"state": signature.state, "key": signature.key, "by": by},
        }

    def run(self) -> CarryReport:
        """Bring it over, each version whole or not at all; a second run goes on where one was interrupted"""
        return sync.run(self.source, self.target, self.plan)


@contextmanager
def applying(
    depot: Depot, path: Path, *, trusted: Path | None = None, naming: Naming | None = None
) -> Iterator[Application]:
    """Open a bundle to be applied to a store

    trusted: public keys, of which one must have signed it. naming: how aliases arrive, by default under the name of the
    file. Raise NotFound naming the versions a delta counts on, and what `open_bundle` raises.
    """
    with open_bundle(path, trusted) as bundle, tempfile.TemporaryDirectory(prefix="artstore-bundle-") as folder:
        _check_base(depot, bundle)
        given = (depot.settings, depot.monitor, depot.clock)
        settings, monitor, clock = given
        source = open_foreign(bundle.blobs, settings=settings, monitor=monitor, clock=clock, folder=Path(folder))
        with closing(source):
            # whoever applies a bundle names what is in it: a version that was let go here comes back
            named = source.catalog.versions.list(sort="taken:asc")
            plan = sync.plan(source, depot, named, naming or Naming(alias_prefix(path)))
            yield Application(bundle, plan, source, depot)


def alias_prefix(path: Path) -> str:
    """What aliases of a bundle stand under: the name of its file up to the first dot, as far as an alias may have it"""
    stem = path.name.lstrip(".").partition(".")[0]
    return _UNFIT.sub("-", stem)[:40].strip("-_") or "bundle"


def _check_base(depot: Depot, bundle: Bundle) -> None:
    """Raise NotFound when blobs that were left out are not here either"""
    wanted = list(bundle.left_out)
    for start in range(0, len(wanted), _CHUNK):
        chunk = wanted[start : start + _CHUNK]
        places = depot.catalog.blobs.places(chunk)
        missing = [digest for digest in chunk if digest not in places or places[digest].state not in PRESENT]
        if missing:
            active = depot.catalog.versions.active([one.id for one in bundle.label.base])
            lacking = [one for one in bundle.label.base if one.id not in active] or list(bundle.label.base)
            names = ", ".join(f"{one.ref} ({one.id.hex()[:12]})" for one in lacking[:5])
            raise NotFound(
                f"{bundle.blobs.url} is a delta and counts on blobs of {names}{', …' if len(lacking) > 5 else ''}, "
                "which are not here; apply a bundle with those first, or have it made again without --delta",
                code="base",
                versions=[str(one.id) for one in lacking],
            )
