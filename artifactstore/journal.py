"""Journal: the records beside the blobs, written after each commit and read back as one chain

A catalog that was rebuilt goes on with the next serial in a folder of its own; its first record says from which
catalog, and after which record of it. What that one wrote later is no part of the chain.
"""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from artifactstore.blobs.ahead import Found, read_ahead
from artifactstore.blobs.base import BlobReader, BlobStore, BlobSweeper
from artifactstore.blobs.layout import JOURNAL, journal_key, journal_prefix
from artifactstore.catalog.open import Catalog
from artifactstore.core.errors import Conflict, Corrupt, Invalid, NotFound
from artifactstore.core.record import Record

PARTED = "conflict.catalog-parted"
_NAME = re.compile(r"(?P<serial>[0-9]{12})-(?P<txid>[0-9a-f]{16}|[0-9a-f]{32})\.json")
_PENDING = 100
_BEGUN = "begun"


class Name(NamedTuple):
    """What the key of a record says"""

    serial: int
    txid: str
    key: str


class Origin(NamedTuple):
    """The record after which a rebuilt catalog goes on; serial 0 and no txid: before the first"""

    catalog: str
    serial: int
    txid: str | None


class Branches(NamedTuple):
    """The catalogs that a journal knows. known: all of them, also those that never came to a record

    living: those with records that no other goes on from, and that none set aside when it began.
    """

    known: frozenset[str]
    living: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """Records of one catalog, one after the other; the first follows `previous`"""

    catalog: str
    previous: str | None
    names: tuple[Name, ...]


@dataclass(frozen=True, slots=True)
class Chain:
    """Every record that counts for a catalog, oldest first, those of the catalogs it was rebuilt from included"""

    blobs: BlobReader
    catalog: str
    parts: tuple[Part, ...]

    @property
    def head(self) -> Origin:
        """Where it ends"""
        last = self.parts[-1].names[-1] if self.parts else None
        return Origin(self.catalog, 0, None) if last is None else Origin(self.catalog, last.serial, last.txid)

    def txid(self, serial: int) -> str | None:
        """Of the record with this serial; None when there is none"""
        for part in self.parts:
            at = serial - part.names[0].serial
            if 0 <= at < len(part.names):
                return part.names[at].txid
        return None

    def records(self, after: int = 0) -> Iterator[Record]:
        """Those with a higher serial, in order; raise Corrupt, naming the record that is not as it should be"""
        for part in self.parts:
            names = part.names[max(0, after + 1 - part.names[0].serial) :]
            previous = part.previous if names[:1] == part.names[:1] else self.txid(after)
            found = read_ahead(self.blobs, (name.key for name in names))
            for name, (_, raw) in zip(names, found, strict=True):
                record = _checked(raw, name, part.catalog)
                if record.previous != previous:
                    raise _corrupt(name.key, f"is damaged: it follows {record.previous}, not {previous}")
                yield record
                previous = name.txid


def parse_name(key: str) -> Name | None:
    """What the key of a record says; None for any other key"""
    found = _NAME.fullmatch(key.rpartition("/")[2])
    return Name(int(found["serial"]), found["txid"], key) if found and key.startswith(JOURNAL) else None


def trace(blobs: BlobStore, catalog_id: str, last: int | None = None) -> Chain:
    """The chain that ends with the last record of a catalog, or with the serial `last`; only first records are read

    Raise Corrupt naming the record that is missing, doubled or damaged, Invalid when a newer release wrote one.
    """
    parts: list[Part] = []
    here, until = catalog_id, None if last is None else Origin(catalog_id, last, None)
    seen: set[str] = set()
    while until is None or until.serial:
        if here in seen:
            raise Corrupt(f"The journal of {blobs.url} leads in a circle through {here}", code="journal")
        seen.add(here)
        names = _names(blobs, here, until)
        if not names:
            break
        until = _origin(_first(blobs, names[0], here), names[0].key)
        parts.insert(0, Part(here, None if until is None else until.txid, names))
        if until is None:
            break
        here = until.catalog
    return Chain(blobs, catalog_id, tuple(parts))


def begin(blobs: BlobStore, catalog_id: str) -> None:
    """Mark that a catalog is being made, so that a later one knows of it whatever becomes of it"""
    blobs.replace(f"{journal_prefix(catalog_id)}{_BEGUN}", b"")


def survey(blobs: BlobStore) -> Branches:
    """Which catalogs wrote into a journal, and which of them others go on from"""
    known: set[str] = set()
    firsts: dict[str, Name] = {}
    for key in blobs.keys(JOURNAL):
        name, (_, one, *_) = parse_name(key), key.split("/")
        if name is not None:
            firsts.setdefault(one, name)
        if name is not None or key.endswith(f"/{_BEGUN}"):
            known.add(one)
    past: set[str] = set()
    for one, name in firsts.items():
        first = _first(blobs, name, one)
        origin = _origin(first, name.key)
        if origin is not None:
            past |= {origin.catalog, *first.actions[0].get("over", ())}
    return Branches(frozenset(known), tuple(sorted(firsts.keys() - past)))


def export(blobs: BlobStore, catalog: Catalog) -> None:
    """Write committed records beside the blobs; raise Conflict when another catalog wrote others in their place"""
    while pending := catalog.journal.pending(_PENDING):
        records = [Record.parse(one.body) for one in pending]
        # before, so that a catalog put back under a running writer makes no second branch of the journal
        _refuse_others(blobs, records)
        for record in records:
            # under the catalog that committed it: a depot that was open while its catalog was rebuilt has the old id
            blobs.replace(journal_key(record.catalog, record.serial, record.txid), record.raw)
        # and before ours count as exported: whoever finds nothing pending looks no more
        _refuse_others(blobs, records)
        catalog.journal.exported([(record.serial, record.txid) for record in records])


def _refuse_others(blobs: BlobStore, records: Sequence[Record]) -> None:
    ours = {record.txid for record in records}
    for name in _between(blobs, records[0].catalog, records[0].serial, records[-1].serial):
        if name.txid not in ours:
            raise parted(blobs, name.key)


def is_behind(blobs: BlobStore, catalog: Catalog) -> bool:
    """Whether the journal has records that the catalog lacks; raise Conflict when they are not what comes next

    One listing of a few names, however long the journal is.
    """
    serial, txid = catalog.journal.head()
    pending = catalog.journal.pending(1)
    first = pending[0].serial if pending else serial
    later = False
    for name in _between(blobs, catalog.catalog_id, first, serial + 1):
        if name.txid == txid or catalog.journal.knows(name.txid):
            continue
        if name.serial <= serial:
            raise parted(blobs, name.key)
        later = True
    return later


def parted(blobs: BlobStore, key: str) -> Conflict:
    """The error of a catalog and a journal that went different ways"""
    return Conflict(
        f"The catalog and the journal of {blobs.url} went different ways at {key}: the catalog was restored from a "
        "backup, or another one wrote here; run artstore catalog rebuild",
        code=PARTED.partition(".")[2],
        key=key,
    )


def _between(blobs: BlobSweeper, catalog_id: str, first: int, last: int) -> Iterator[Name]:
    prefix = os.path.commonprefix([f"{first:012d}-", f"{last:012d}-"])  # noqa: RUF071  # of characters it is
    for key in blobs.keys(journal_prefix(catalog_id) + prefix):
        name = parse_name(key)
        if name is not None and first <= name.serial <= last:
            yield name


def _names(blobs: BlobStore, catalog_id: str, until: Origin | None) -> tuple[Name, ...]:
    """Of the records of a catalog, up to one of them; raise Corrupt when one is missing or doubled"""
    names: list[Name] = []
    for key in blobs.keys(journal_prefix(catalog_id)):
        name = parse_name(key)
        if name is None or (until is not None and name.serial > until.serial):
            continue
        if names and name.serial == names[-1].serial:
            raise _corrupt(
                key, f"stands beside {names[-1].key}", "move that away which the catalog in use did not write"
            )
        if names and name.serial != names[-1].serial + 1:
            raise _missing(catalog_id, names[-1].serial + 1)
        names.append(name)
    if until is not None and until.txid is None and (not names or names[-1].serial < until.serial):
        _check_within(blobs, catalog_id, until.serial)
    if until is not None and (
        not names or names[-1].serial != until.serial or names[-1].txid != (until.txid or names[-1].txid)
    ):
        raise _missing(catalog_id, until.serial, until.txid)
    return tuple(names)


def _check_within(blobs: BlobSweeper, catalog_id: str, serial: int) -> None:
    """Raise NotFound for a serial that a person named and that lies outside of what a catalog has written"""
    names = map(parse_name, blobs.keys(journal_prefix(catalog_id)))
    serials = [name.serial for name in names if name is not None]
    if serials and min(serials) <= serial <= max(serials):
        return
    has = f"has records {min(serials)} to {max(serials)}" if serials else "has no records"
    older = "; for an older one say --from the catalog it was rebuilt from, which artstore log names"
    advice = older if serials and serial < min(serials) else ""
    raise NotFound(
        f"Catalog {catalog_id:.40} {has}, not {serial}{advice}", code="record", serial=serial, catalog=catalog_id
    )


def _origin(first: Record, key: str) -> Origin | None:
    """What the first record of a catalog says it goes on from, None when it goes on from nothing

    Raise Corrupt when it is no first record.
    """
    if not first.actions or first.actions[0]["do"] != "rebuilt":
        if first.serial != 1:
            raise _missing(first.catalog, first.serial - 1, first.previous)
        return None
    said = first.actions[0]
    try:
        origin = Origin(said["from"], said["serial"], said["txid"])
        journal_prefix(origin.catalog)
    except (KeyError, TypeError, Invalid) as e:
        raise _corrupt(key, "is damaged: it does not say what it was rebuilt from") from e
    if (first.serial - 1, first.previous) != (origin.serial, origin.txid):
        raise _corrupt(key, "is damaged: it does not follow the record it was rebuilt from")
    return origin


def _first(blobs: BlobReader, name: Name, catalog_id: str) -> Record:
    ((_, found),) = read_ahead(blobs, [name.key])
    return _checked(found, name, catalog_id)


def _checked(found: Found, name: Name, catalog_id: str) -> Record:
    """The record under a name; raise Corrupt, naming it, when it is not that"""
    if isinstance(found, NotFound):
        raise _corrupt(name.key, "is missing") from found
    if isinstance(found, Corrupt):
        raise _corrupt(name.key, "is damaged") from found
    try:
        record = Record.parse(found)
    except Invalid as e:
        if e.code == "invalid.format":
            raise Invalid(f"Record {name.key} cannot be read: {e.message}", code="format", key=name.key) from e
        raise _corrupt(name.key, f"is damaged: {e.message}") from e
    if (record.catalog, record.serial, record.txid) != (catalog_id, name.serial, name.txid):
        raise _corrupt(name.key, "is damaged: it says another catalog, serial or txid than its name")
    return record


def _missing(catalog_id: str, serial: int, txid: str | None = None) -> Corrupt:
    return _corrupt(f"{journal_prefix(catalog_id)}{serial:012d}-{txid or '…'}.json", "is missing")


def _corrupt(key: str, what: str, remedy: str = "bring it back from a copy") -> Corrupt:
    return Corrupt(f"Record {key} of the journal {what}; {remedy}", code="journal", key=key)
