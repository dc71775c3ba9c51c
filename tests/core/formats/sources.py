"""Byte sources for the parsers' tests, stricter than a file"""


class Bytes:
    """Bytes in memory; a read outside them is a fault of the parser"""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.read_nbytes = 0

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, offset: int, length: int) -> bytes:
        assert 0 <= offset <= offset + length <= len(self.data), (offset, length, len(self.data))
        self.read_nbytes += length
        return self.data[offset : offset + length]
