"""Tar: the headers of a stream of plain files (POSIX ustar), each the only one there is for its name and size"""

import struct
from typing import NamedTuple

from artifactstore.core.errors import Corrupt

BLOCK = 512
# two blocks of zeros are the end of a tar
END = bytes(2 * BLOCK)
_FIELDS = struct.Struct("100s8s8s8s12s12s8s1s100s6s2s32s32s8s8s155s12x")
_NAME, _SIZE, _SUM, _TYPE, _MAGIC = slice(0, 100), slice(124, 136), slice(148, 156), slice(156, 157), slice(257, 262)
_LONGEST, _LARGEST = 100, 8**11 - 1
_KINDS = {
    b"\0": "a file of an old tar",
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"5": "a folder",
    b"6": "a FIFO",
    b"7": "a contiguous file",
    b"K": "a long name",
    b"L": "a long name",
    b"S": "a sparse file",
    b"g": "a pax header",
    b"x": "a pax header",
}


class Member(NamedTuple):
    """A file of a tar: its header begins at `start`"""

    name: str
    size: int
    start: int

    @property
    def data(self) -> int:
        """Where its bytes begin"""
        return self.start + BLOCK

    @property
    def end(self) -> int:
        """Where the next header begins"""
        return self.data + padded(self.size)


def padded(size: int) -> int:
    """Bytes that data of this size takes in a tar"""
    return -(-size // BLOCK) * BLOCK


def header(name: str, size: int) -> bytes:
    """The 512 bytes before a file: read-only, of nobody, of the beginning of 1970"""
    raw = name.encode("ascii")
    if not 0 < len(raw) <= _LONGEST or not 0 <= size <= _LARGEST:
        raise ValueError(f"{name!r:.200} of {size} bytes has no place in a header")
    block = bytearray(
        _FIELDS.pack(
            raw,
            b"0000444\0",
            b"0000000\0",
            b"0000000\0",
            b"%011o\0" % size,
            b"00000000000\0",
            b"        ",
            b"0",
            b"",
            b"ustar\0",
            b"00",
            b"",
            b"",
            b"0000000\0",
            b"0000000\0",
            b"",
        )
    )
    block[_SUM] = b"%06o\0 " % sum(block)
    return bytes(block)


def read_header(block: bytes, start: int) -> Member:
    """The member whose header this is; raise Corrupt, naming the offset, for any that `header` would not have made"""
    if block[_MAGIC] != b"ustar":
        raise broken("it is no header of a tar", start)
    if block[_TYPE] != b"0":
        kind = _KINDS.get(block[_TYPE], f"of the unknown type {block[_TYPE]!r}")
        raise broken(f"{_shown(block)} is {kind}, where only plain files may be", start)
    digits = block[_SIZE]
    if digits[-1:] != b"\0" or not all(digit in b"01234567" for digit in digits[:-1]):
        raise broken(f"{_shown(block)} has the size {digits!r}, which is no plain number", start)
    name, _, rest = block[_NAME].partition(b"\0")
    if not name or any(rest) or not all(0x20 < byte < 0x7F for byte in name):
        raise broken(f"{_shown(block)} is no name that a bundle has", start)
    member = Member(name.decode("ascii"), int(digits[:-1], 8), start)
    if block != header(member.name, member.size):
        raise broken(f"the header of {member.name} has a wrong checksum, or fields that no bundle has", start)
    return member


def broken(what: str, offset: int) -> Corrupt:
    """The error of a tar that is not as it should be"""
    return Corrupt(f"At byte {offset} {what}", code="archive", offset=offset)


def _shown(block: bytes) -> str:
    return repr(block[_NAME].partition(b"\0")[0].decode("ascii", "backslashreplace"))[:120]
