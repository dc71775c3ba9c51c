"""Bundled: a bundle opened, its signature checked first, its documents seen to agree"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from artifactstore.blobs.layout import BLOBS, JOURNAL, MANIFESTS, SETTINGS_KEY, blob_key, journal_prefix, manifest_key
from artifactstore.blobs.tar import LABEL_KEY, SIGNATURE_KEY, TarBlobs
from artifactstore.core.bundle import Label, Seal, to_record
from artifactstore.core.digest import Digest
from artifactstore.core.errors import Corrupt, Invalid
from artifactstore.core.record import Record
from artifactstore.core.tar import broken
from artifactstore.depot import StoreInfo, read_info
from artifactstore.ops.transfer.signature import Signature, check

_ACTIONS = ("version", "metric", "link", "alias")


@dataclass(frozen=True, slots=True)
class Told:
    """A version as its record in a bundle tells of it. left_out: blobs that are not in"""

    id: Digest
    ref: str
    manifest: str
    blobs: tuple[Digest, ...]
    left_out: tuple[Digest, ...]
    aliases: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that is open"""

    blobs: TarBlobs
    info: StoreInfo
    label: Label
    versions: tuple[Told, ...]
    signature: Signature

    @property
    def left_out(self) -> dict[Digest, None]:
        """Blobs that versions need and that are not in, each once"""
        return dict.fromkeys(digest for version in self.versions for digest in version.left_out)


@contextmanager
def open_bundle(path: Path, trusted: Path | None = None) -> Iterator[Bundle]:
    """A bundle by its file, any of its parts or their folder, to be read; its blobs are checked when they are

    trusted: a folder of public keys, of which one must have signed it. Raise NotFound, Refused for a signature that is
    missing or by another, Corrupt with the offset of what no bundle has.
    """
    with TarBlobs(path) as blobs:
        raw = blobs.read(SIGNATURE_KEY) if any(blobs.keys(SIGNATURE_KEY)) else None
        signature = check(raw, _digests(blobs) if trusted is not None else {}, trusted)
        yield _read(blobs, signature)


def _digests(blobs: TarBlobs) -> dict[str, bytes]:
    """Of all documents; blobs are named by theirs"""
    documents = (SETTINGS_KEY, LABEL_KEY, *blobs.keys(MANIFESTS), *blobs.keys(JOURNAL))
    return {key: sha256(blobs.read(key)).digest() for key in documents}


def _read(blobs: TarBlobs, signature: Signature) -> Bundle:
    info, label = read_info(blobs), blobs.label
    if info.to_bytes() != blobs.read(SETTINGS_KEY):
        raise _odd(blobs, SETTINGS_KEY, "says more than it should")
    seal = Seal()
    needed: set[str] = set()
    told = []
    for serial, key in enumerate(blobs.keys(JOURNAL), 1):
        record = _record(blobs, key, info, serial)
        seal.add(serial, record.at, record.actions)
        told.append(_told(blobs, key, record, needed))
    if seal.close(label) != (info.store_id, info.catalog_id):
        raise _odd(blobs, SETTINGS_KEY, "does not name what the records and the label say")
    if [(one.id, one.ref) for one in told] != [tuple(one) for one in label.versions]:
        raise _odd(blobs, LABEL_KEY, "names other versions than the records")
    for prefix in (BLOBS, MANIFESTS):
        for key in blobs.keys(prefix):
            if key not in needed:
                raise _odd(blobs, key, "belongs to no version")
    if not label.base and any(one.left_out for one in told):
        raise _odd(blobs, LABEL_KEY, "names no version that has the blobs which are left out")
    return Bundle(blobs, info, label, tuple(told), signature)


def _record(blobs: TarBlobs, key: str, info: StoreInfo, serial: int) -> Record:
    try:
        record = Record.parse(blobs.read(key))
        expected = to_record(info.catalog_id, serial, record.at, record.actions)
    except Invalid as e:
        if e.code == "invalid.format":
            raise
        raise _odd(blobs, key, f"is no record ({e.message})") from e
    if expected != record.raw or not key.startswith(f"{journal_prefix(info.catalog_id)}{serial:012d}-{record.txid}"):
        raise _odd(blobs, key, f"is not record {serial} of this bundle")
    if not record.actions or [one["do"] for one in record.actions].count("version") != 1:
        raise _odd(blobs, key, "does not tell of one version")
    for action in record.actions:
        if action["do"] not in _ACTIONS:
            raise _odd(blobs, key, f"says {action['do']!r:.40}, which no bundle does")
    return record


def _told(blobs: TarBlobs, key: str, record: Record, needed: set[str]) -> Told:
    action = record.actions[0]
    try:
        version = Digest.parse(action["id"])
        document = manifest_key(version, action["manifest"])
        places = {Digest.parse(one): blob_key(Digest.parse(one), inc) for one, inc, _ in action["blobs"]}
        aliases = tuple(str(one["alias"]) for one in record.actions if one["do"] == "alias")
        ref = f"{action['artifact']}:{action['number']}"
    except (KeyError, TypeError, ValueError, Invalid) as e:
        raise _odd(blobs, key, "does not tell of a version as a journal does") from e
    needed |= {document, *places.values()}
    left_out = tuple(digest for digest, place in places.items() if not blobs.has(place))
    if not blobs.has(document):
        raise _odd(blobs, key, f"tells of {ref}, whose manifest is not in")
    return Told(version, ref, document, tuple(places), left_out, aliases)


def _odd(blobs: TarBlobs, key: str, what: str) -> Corrupt:
    return blobs.located(broken(f"{key} {what}", blobs.offset(key)))
