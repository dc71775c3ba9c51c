"""Settings: numbers the caller may choose, none of which change what is on disk"""

from dataclasses import dataclass
from datetime import timedelta

from artifactstore.core.errors import Invalid

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Settings:
    """Limits of one opened store

    memory: bytes that data in flight may take; five buffers of 64 MiB are the least a save works with.
    cache: a folder that keeps up to cache_size bytes of what is read from a remote store, None for no such folder.
    mirrors: stores, by folder or URL, that are asked for blobs which are damaged here.
    attested: the file in which loads note, for all processes of a user, what was verified; readers: threads of a load.
    foreign: the folder for catalogs made of the journals of other stores. landing: bytes after which a transfer commits
    what has arrived, which is what a killed one has to bring again at the most.
    direct: whether loads to a GPU read past the page cache: faster from fast disks, slower the second time.
    reserve: bytes of free space a write never uses. lease: how long a silent writer is waited for.
    """

    memory: int = 512 * MIB
    cache: str | None = None
    cache_size: int = 10 * 10**9
    mirrors: tuple[str, ...] = ()
    attested: str = "~/.cache/artifactstore/attested.sqlite"
    foreign: str = "~/.cache/artifactstore/catalogs"
    landing: int = 256 * MIB
    readers: int = 4
    direct: bool = False
    reserve: int = 64 * MIB
    lease: timedelta = timedelta(minutes=15)
    busy: timedelta = timedelta(seconds=30)
    retries: int = 4
    offline: bool = False

    def __post_init__(self) -> None:
        if min(self.memory, self.readers, self.landing) <= 0 or self.lease <= timedelta(0):
            raise Invalid("Settings memory, readers, landing and lease must be above zero", code="settings")
        if min(self.reserve, self.retries, self.cache_size) < 0 or self.busy < timedelta(0):
            raise Invalid("Settings reserve, retries, cache_size and busy must not be negative", code="settings")
