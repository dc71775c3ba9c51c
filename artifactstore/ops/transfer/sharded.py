"""Sharded: what a version that ranks wrote is without them, and the one file of it all"""

from artifactstore.core import sharding
from artifactstore.core.consolidated import Consolidated, consolidate
from artifactstore.core.manifest import Manifest
from artifactstore.core.sharding import Index, Sharded
from artifactstore.depot import Depot
from artifactstore.ops.transfer.ranges import Ranges


def sharded(depot: Depot, manifest: Manifest) -> Sharded | None:
    """What ranks wrote, put together; None for a version that no ranks wrote. Raise Corrupt"""
    index = next((file for file in manifest.files if file.path == sharding.PATH), None)
    if index is None:
        return None
    return sharding.put_together(manifest, Index.parse(Ranges(depot, manifest, index).read(0, index.size)))


def consolidated(depot: Depot, manifest: Manifest) -> Consolidated | None:
    """The file, None for a version that no ranks wrote; raise Corrupt, Invalid for what no such file can hold"""
    found = sharded(depot, manifest)
    return None if found is None else consolidate(found.tensors)
