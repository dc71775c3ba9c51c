"""Aside: what turned out to be damaged counts as absent, and its bytes are moved out of the way"""

from collections.abc import Sequence

from artifactstore.catalog.base import Place
from artifactstore.depot import Depot


def set_aside(depot: Depot, *, blobs: Sequence[Place] = (), manifests: Sequence[Place] = ()) -> None:
    """Rows first, so that the next save or repair of the same content writes it anew; then the bytes are moved aside"""
    # Also a disk that is not mounted any more leaves every blob missing: rows are changed where the store still is.
    depot.check_writable()
    for places, damage in ((blobs, depot.catalog.blobs.damage), (manifests, depot.catalog.blobs.damage_manifests)):
        if not places:
            continue
        depot.step("verify.quarantine.before")
        damage(places)
        # written down before anything moves: a catalog made anew would else count on bytes that lie aside
        depot.acknowledge()
        for place in places:
            depot.blobs.quarantine(place.key)
        depot.step("verify.quarantine.after")
