"""Replay: a catalog follows its journal; what the records speak of is read from the store"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property

from artifactstore.blobs.ahead import read_ahead
from artifactstore.blobs.base import BlobReader, BlobStore
from artifactstore.blobs.layout import blob_key, manifest_key
from artifactstore.catalog.journal import Action
from artifactstore.catalog.open import Catalog
from artifactstore.catalog.replay import Shelf
from artifactstore.core.decode import read_manifest
from artifactstore.core.digest import Digest
from artifactstore.core.errors import Corrupt, Invalid, NotFound
from artifactstore.core.manifest import Manifest
from artifactstore.core.record import Record
from artifactstore.journal import Chain, parted, trace

_RECORDS, _BYTES = 200, 2 << 20
Keys = dict[Digest, str]


@dataclass(frozen=True, slots=True)
class Batch:
    """Some records to be replayed together, and what they speak of"""

    records: tuple[Record, ...]
    shelf: Shelf


def catch_up(blobs: BlobStore, catalog: Catalog) -> int:
    """Replay what the journal has and the catalog has not; how many records

    Raise Conflict when they went different ways, Corrupt for a damaged journal.
    """
    serial, txid = catalog.journal.head()
    chain = trace(blobs, catalog.catalog_id)
    if chain.txid(serial) not in {txid, None}:
        raise parted(blobs, f"record {serial}")
    batches = read_batches(chain, serial, catalog.replays.manifests)
    count = sum(catalog.replays.forward(batch.records, batch.shelf) for batch in batches)
    catalog.replays.measure(lambda key: size_of(blobs, key))
    return count


def size_of(blobs: BlobReader, key: str) -> int | None:
    """Bytes under a key, None when there is no such object"""
    with suppress(NotFound, Corrupt):
        return blobs.size(key)
    return None


def read_batches(
    chain: Chain, after: int = 0, known: Callable[[Sequence[Digest]], Keys] = lambda _: {}
) -> Iterator[Batch]:
    """The records of a chain with the manifests of the versions they commit, heal or bring back

    known: keys of manifests that earlier records told.
    """
    library = _Library(chain)
    for records in _groups(chain.records(after)):
        yield Batch(records, library.shelf(records, known))


def _groups(records: Iterator[Record]) -> Iterator[tuple[Record, ...]]:
    group: list[Record] = []
    nbytes = 0
    for record in records:
        group.append(record)
        nbytes += len(record.raw)
        if len(group) == _RECORDS or nbytes > _BYTES:
            yield tuple(group)
            group, nbytes = [], 0
    if group:
        yield tuple(group)


@dataclass(frozen=True, slots=True)
class _Ahead:
    """What all records of a chain say about manifests: where each lay, and what is remembered of those that went"""

    keys: dict[Digest, list[str]] = field(default_factory=dict)
    memories: dict[Digest, Action] = field(default_factory=dict)


class _Library:
    """Finds manifests; one that is not where its record says may lie where another does, or was removed later"""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._keys: Keys = {}

    def shelf(self, records: Sequence[Record], known: Callable[[Sequence[Digest]], Keys]) -> Shelf:
        named, again = _named(records)
        self._keys |= dict(named)
        missing = [one for one in again if one not in self._keys]
        self._keys |= known(missing) if missing else {}
        wanted = {one: key for one, key in self._keys.items() if one in again} | dict(named)
        manifests = self._read(wanted)
        lost = wanted.keys() - manifests.keys()
        manifests |= self._search(lost)
        memories = {one: self._ahead.memories[one] for one in lost if one in self._ahead.memories}
        return Shelf(manifests, memories, blob_key, manifest_key)

    def _read(self, keys: Keys) -> dict[Digest, Manifest]:
        found = {}
        for version, (_, raw) in zip(keys, read_ahead(self._chain.blobs, keys.values()), strict=True):
            if isinstance(raw, bytes):
                with suppress(Corrupt, Invalid):
                    found[version] = read_manifest(raw, version)
        return found

    def _search(self, lost: set[Digest]) -> dict[Digest, Manifest]:
        found: dict[Digest, Manifest] = {}
        for version in lost:
            for key in self._ahead.keys.get(version, ()):
                found |= self._read({version: key}) if version not in found else {}
        return found

    @cached_property
    def _ahead(self) -> _Ahead:
        ahead = _Ahead()
        for record in self._chain.records():
            named, _ = _named([record])
            for version, key in named:
                ahead.keys.setdefault(version, []).append(key)
            for action in record.actions:
                told = [action] if action["do"] == "forget" else action.get("memories", ())
                ahead.memories.update({Digest.parse(memory["id"]): memory for memory in told})
        return ahead


def _named(records: Sequence[Record]) -> tuple[list[tuple[Digest, str]], set[Digest]]:
    """Manifests that records commit or heal, with their keys, and versions they bring back

    What is wrong about an action is for its replay to tell.
    """
    named: list[tuple[Digest, str]] = []
    again: set[Digest] = set()
    for action in (action for record in records for action in record.actions):
        with suppress(KeyError, TypeError, ValueError, Invalid):
            if action["do"] == "version":
                named.append(_place(action["id"], action["manifest"]))
            elif action["do"] == "heal":
                named += [_place(digest, inc) for digest, inc, _ in action["manifests"]]
            elif action["do"] == "undo":
                again |= set(map(Digest.parse, action["versions"]))
    return named, again


def _place(version: str, inc: str) -> tuple[Digest, str]:
    digest = Digest.parse(version)
    return digest, manifest_key(digest, inc)
