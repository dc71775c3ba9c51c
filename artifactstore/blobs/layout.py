"""Where everything lies in a store: the keys of docs/format.md, made and parsed in one place"""

import re
import secrets
from typing import Literal, NamedTuple

from artifactstore.core.digest import Digest, check_incarnation
from artifactstore.core.errors import Invalid

SETTINGS_KEY = "artstore.json"
BLOBS = "blobs/"
MANIFESTS = "manifests/"
JOURNAL = "journal/"
QUARANTINE = "quarantine/"
TRASH = "trash/"
TMP = "tmp/"

_HEX = "0123456789abcdef"
_PART = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
_OBJECT = re.compile(
    r"(?P<folder>blobs|manifests)/(?P<shard>[0-9a-f]{2})/(?P<digest>[0-9a-f]{64})\.(?P<inc>[0-9a-f]{16})(?P<suffix>\.z|\.json|)"
)

_LEAF = re.compile(r"[0-9a-f]{64}\.[0-9a-f]{16}(?:\.z|\.json|)")

Kind = Literal["blob", "encoded", "manifest"]
_KINDS: dict[tuple[str, str], Kind] = {
    ("blobs", ""): "blob",
    ("blobs", ".z"): "encoded",
    ("manifests", ".json"): "manifest",
}


class ObjectName(NamedTuple):
    """What the key of a physical object says; the bytes of an `encoded` one do not hash to its digest"""

    kind: Kind
    digest: Digest
    inc: str


def new_incarnation() -> str:
    """64 random bits that name one physical object and are never used again (R3)"""
    return secrets.token_hex(8)


def blob_key(digest: Digest, inc: str) -> str:
    """The key of a raw blob"""
    return f"{BLOBS}{str(digest)[:2]}/{digest}.{check_incarnation(inc)}"


def manifest_key(version_id: Digest, inc: str) -> str:
    """The key of a version's manifest"""
    return f"{MANIFESTS}{str(version_id)[:2]}/{version_id}.{check_incarnation(inc)}.json"


def journal_prefix(catalog_id: str) -> str:
    """What the keys of all journal records of one catalog start with"""
    return f"{JOURNAL}{_part(catalog_id)}/"


def journal_key(catalog_id: str, serial: int, txid: str) -> str:
    """The key of a journal record; twelve digits keep the order of names the order of serials"""
    if not 0 <= serial < 10**12:
        raise Invalid(f"A journal serial lies between 0 and 10^12, found {serial}", code="serial")
    return f"{journal_prefix(catalog_id)}{serial:012d}-{_part(txid)}.json"


def parse_object(key: str) -> ObjectName | None:
    """What the key of a blob or manifest says, None for any other key (which is then not ours to remove, R8)"""
    found = _OBJECT.fullmatch(key)
    if found is None or found["shard"] != found["digest"][:2]:
        return None
    kind = _KINDS.get((found["folder"], found["suffix"]))
    return ObjectName(kind, Digest.parse(found["digest"]), found["inc"]) if kind else None


def shard_folders() -> list[str]:
    """The 512 folders that blobs and manifests are spread over"""
    return [f"{folder}{high}{low}" for folder in (BLOBS, MANIFESTS) for high in _HEX for low in _HEX]


def quarantine_key(key: str) -> str:
    """Where damaged bytes wait for a person, under their full old key"""
    return QUARANTINE + check_key(key)


def trash_key(key: str) -> str:
    """Where a removed object waits for the next purge; its leaf names it already"""
    return TRASH + check_key(key).rpartition("/")[2]


def is_trash(leaf: str) -> bool:
    """Whether a name in `trash/` is one that `trash_key` gives"""
    return _LEAF.fullmatch(leaf) is not None


def is_listed(key: str, prefix: str) -> bool:
    """Whether `key` belongs to a listing of `prefix`: what lies aside appears only when it is asked for"""
    aside = (TMP, TRASH) if prefix.startswith(QUARANTINE) else (TMP, TRASH, QUARANTINE)
    return key.startswith(prefix) and not key.startswith(aside)


def check_key(key: str) -> str:
    """`key` if it is a clean relative path of plain names, else raise Invalid"""
    if len(key) > 1024 or not all(_PART.fullmatch(part) for part in key.split("/")):
        raise Invalid(f"A key is a relative path of plain names, found {key!r:.120}", code="key")
    return key


def check_prefix(prefix: str) -> str:
    """`prefix` if keys can start with it, else raise Invalid"""
    if prefix:
        check_key(prefix.removesuffix("/"))
    return prefix


def check_owner(owner: str) -> str:
    """`owner` if it can name a folder under `tmp/`, else raise Invalid"""
    return _part(owner)


def _part(name: str) -> str:
    if len(name) > 128 or not _PART.fullmatch(name):
        raise Invalid(f"A name inside a key has letters, digits and . _ - only, found {name!r:.60}", code="key")
    return name
