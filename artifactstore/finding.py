"""Finding: where a version is held, here or, in a clone, in the store that it was cloned from"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace

from artifactstore.catalog.base import VersionInfo
from artifactstore.core.errors import NotFound, Unavailable
from artifactstore.core.events import Warn
from artifactstore.core.names import Reference
from artifactstore.depot import Depot, folder_of
from artifactstore.ops.transfer.contact import reach


class Finds:
    """A store that falls back on its origin: what is not held here is read there, through a cache"""

    def __init__(self, depot: Depot) -> None:
        self.depot = depot
        self._opened = ExitStack()
        self._elsewhere: Depot | None = None

    def find(self, ref: str) -> tuple[Depot, VersionInfo]:
        """The parts of the store that holds a version, and the version

        Raise NotFound; Unavailable, or Offline, when only the origin can say and it is not there.
        """
        reference = Reference.parse(ref)
        try:
            return self.depot, self.depot.catalog.versions.resolve(reference)
        except NotFound:
            origin = self.origin()
            if origin is None:
                raise
            return origin, origin.catalog.versions.resolve(reference)

    def known(self, ref: str) -> tuple[Depot, VersionInfo]:
        """The same, and what was retired is found too by its number, id or request id"""
        reference = Reference.parse(ref)
        try:
            return self.depot, self.depot.catalog.versions.known(reference)
        except NotFound:
            origin = self.origin()
            if origin is None:
                raise
            return origin, origin.catalog.versions.known(reference)

    def together(self, *refs: str) -> tuple[Depot, list[VersionInfo]]:
        """One store that holds all of these versions; raise NotFound when some are only here, others in the origin"""
        found = [self.find(ref) for ref in refs]
        versions = [version for _, version in found]
        origin = next((depot for depot, _ in found if depot is not self.depot), None)
        if origin is None:
            return self.depot, versions
        there = origin.catalog.versions.active([one.id for one in versions])
        lonely = next((one for one in versions if one.id not in there), None)
        if lonely is None:
            return origin, versions
        others = " ".join(version.ref for depot, version in found if depot is origin)
        raise NotFound(
            f"{lonely.ref} is only here, {others} only in the origin; bring it here: artstore pull origin {others}",
            code="apart",
        )

    def origin(self) -> Depot | None:
        """The store this one was cloned from, opened once; None when it was not cloned"""
        if self._elsewhere is None:
            info = self.depot.catalog.remotes.origin()
            if info is None:
                return None
            folder = folder_of(self.depot.blobs)
            cache = self.depot.settings.cache or (None if folder is None else str(folder / "cache"))
            here = replace(self.depot, settings=replace(self.depot.settings, cache=cache))
            self._elsewhere = self._opened.enter_context(reach(here, info.name, writing=False)).there
        return self._elsewhere

    def elsewhere(self, look: Callable[[Depot], Sequence[VersionInfo]]) -> tuple[VersionInfo, ...]:
        """What `look` finds in the origin and is not held here; nothing, with a warning, when that is not there"""
        try:
            origin = self.origin()
        except Unavailable as e:
            self.depot.monitor(Warn(e.message))
            return ()
        found = () if origin is None else look(origin)
        held = self.depot.catalog.versions.active([one.id for one in found])
        return tuple(one for one in found if one.id not in held)

    def close(self) -> None:
        """Let connections go"""
        self._opened.close()
        self._elsewhere = None
        self.depot.close()
