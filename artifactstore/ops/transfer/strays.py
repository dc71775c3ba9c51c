"""Strays: the bytes of a digest wherever a store still has them, under any incarnation or set aside"""

from collections.abc import Callable, Iterator
from typing import Protocol

from artifactstore.blobs.base import BlobReader, BlobSweeper
from artifactstore.blobs.layout import quarantine_key
from artifactstore.core.digest import Digest
from artifactstore.core.errors import StoreError

_NONE = "0" * 16


class StoreAccess(BlobReader, BlobSweeper, Protocol):
    """What a store must be able to do to be searched"""


def find_bytes(blobs: StoreAccess, digest: Digest, size: int, name: Callable[[Digest, str], str]) -> bytes | None:
    """Bytes that match; name: the key of an incarnation; size: 0 where nobody knows it"""
    stem = name(digest, _NONE).partition(_NONE)[0]
    for key in _incarnations(blobs, stem):
        try:
            if size not in {0, blobs.size(key)}:
                continue
            raw = blobs.read(key)
        except StoreError:
            continue
        if Digest.of(raw) == digest:
            return raw
    return None


def _incarnations(blobs: StoreAccess, stem: str) -> Iterator[str]:
    yield from (key for key in blobs.keys(stem) if not key.endswith(".z"))
    yield from blobs.keys(quarantine_key(stem))
