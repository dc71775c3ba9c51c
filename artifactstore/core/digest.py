"""Digests: BLAKE3-256 names a blob or a manifest, sha256 names a file to the rest of the world"""

import hashlib
import re
from typing import Self

from blake3 import blake3

from artifactstore.core.errors import Invalid

Buffer = bytes | bytearray | memoryview
_HEX = re.compile(r"[0-9a-f]{64}")
_INC = re.compile(r"[0-9a-f]{16}")


class Digest(bytes):
    """32 raw bytes of BLAKE3-256, https://github.com/BLAKE3-team/BLAKE3-specs"""

    __slots__ = ()
    algorithm = "blake3"

    def __new__(cls, raw: Buffer) -> Self:
        """Raise Invalid unless `raw` is 32 bytes"""
        if len(raw) != 32:
            raise Invalid(f"A {cls.algorithm} digest has 32 bytes, found {len(raw)}", code="digest")
        return super().__new__(cls, raw)

    @classmethod
    def of(cls, data: Buffer) -> Self:
        """The digest of these bytes"""
        return cls(blake3(data).digest())

    @classmethod
    def parse(cls, text: str) -> Self:
        """From 64 lower-case hex digits"""
        if not isinstance(text, str) or not _HEX.fullmatch(text):
            raise Invalid(f"A {cls.algorithm} digest is 64 lower-case hex digits, found {text!r:.90}", code="digest")
        return cls(bytes.fromhex(text))

    def __str__(self) -> str:
        return self.hex()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.hex()[:12]}…)"


class Sha256(Digest):
    """32 raw bytes of SHA-256, FIPS 180-4"""

    __slots__ = ()
    algorithm = "sha256"

    @classmethod
    def of(cls, data: Buffer) -> Self:
        """The digest of these bytes"""
        return cls(hashlib.sha256(data).digest())


def check_incarnation(inc: str) -> str:
    """`inc` if it is 16 lower-case hex digits (64 random bits), else raise Invalid"""
    if not _INC.fullmatch(inc):
        raise Invalid(f"An incarnation is 16 lower-case hex digits, found {inc!r:.40}", code="incarnation")
    return inc
