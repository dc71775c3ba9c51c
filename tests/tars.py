"""Tars made by hand, as no bundle would make them"""

import struct

from artifactstore.blobs.layout import blob_key
from artifactstore.core.bundle import incarnation
from artifactstore.core.digest import Digest
from artifactstore.core.tar import BLOCK, END, header

_FIELDS = struct.Struct("100s8s8s8s12s12s8s1s100s6s2s32s32s8s8s155s12x")


def raw_header(
    name=b"artstore.json",
    *,
    size=b"00000000001\0",
    kind=b"0",
    link=b"",
    magic=b"ustar\0",
    prefix=b"",
    mode=b"0000444\0",
    uid=b"0000000\0",
    mtime=b"00000000000\0",
    checksum=None,
):
    """A header with any field as it is not in a bundle, and a checksum that fits unless one is given"""
    block = bytearray(
        _FIELDS.pack(
            name, mode, uid, b"0000000\0", size, mtime, b" " * 8, kind, link, magic, b"00", b"", b"",
            b"0000000\0", b"0000000\0", prefix,
        )
    )  # fmt: skip
    block[148:156] = b"%06o\0 " % sum(block) if checksum is None else checksum
    return bytes(block)


def member(name, data):
    """A file as a bundle has it"""
    return header(name, len(data)) + data + bytes(-len(data) % BLOCK)


def blob(data):
    """A blob as a bundle has it"""
    digest = Digest.of(data)
    return member(blob_key(digest, incarnation(digest)), data)


START = member("artstore.json", b"{}") + member("bundle.json", b"{}")


def tar(*members):
    """What begins and ends as a bundle"""
    return START + b"".join(members) + END
