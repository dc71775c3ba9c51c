"""Proto: fields of a protobuf message where they lie in a file, without reading what is large

Wire format: https://protobuf.dev/programming-guides/encoding.
"""

from collections.abc import Iterator
from typing import NamedTuple

from artifactstore.core.errors import Invalid
from artifactstore.core.formats.base import ByteSource

_WINDOW = 1 << 20
_LONGEST = 10  # bytes of a number
_FIXED = {1: 8, 5: 4}
_VARINT, _BYTES = 0, 2


class Field(NamedTuple):
    """A field: from its tag at `begin` to `end`, its value from `value`; number: the value of one that is a number"""

    id: int
    begin: int
    value: int
    end: int
    number: int


class Message:
    """A file that is one message"""

    def __init__(self, source: ByteSource, path: str) -> None:
        self._source, self.path = source, path
        self._window, self._begin = b"", 0

    @property
    def size(self) -> int:
        """Bytes in all"""
        return self._source.size

    def read(self, begin: int, end: int) -> bytes:
        """Bytes of the file, a few"""
        if not self._begin <= begin <= end <= self._begin + len(self._window):
            if end - begin > _WINDOW:
                return self._source.read(begin, end - begin)
            self._begin, self._window = begin, self._source.read(begin, min(_WINDOW, self.size - begin))
        return self._window[begin - self._begin : end - self._begin]

    def text(self, field: Field) -> str:
        """The value of a field that is a text"""
        try:
            return self.read(field.value, field.end).decode()
        except UnicodeDecodeError as e:
            raise self.refuse(field.value, "a text is not UTF-8") from e

    def fields(self, begin: int, end: int) -> Iterator[Field]:
        """All fields of the message in these bytes; raise Invalid for what is none"""
        at = begin
        while at < end:
            tag, value = self._varint(at, end)
            kind, length, number = tag & 7, 0, 0
            if kind == _BYTES:
                length, value = self._varint(value, end)
            elif kind == _VARINT:
                number, stop = self._varint(value, end)
                length = stop - value
            elif kind in _FIXED:
                length = _FIXED[kind]
            else:
                raise self.refuse(at, f"a field of the unknown kind {kind}")
            if length > end - value:
                raise self.refuse(at, f"a field of {length} bytes leaves its message")
            yield Field(tag >> 3, at, value, value + length, number)
            at = value + length

    def numbers(self, field: Field) -> list[int]:
        """Of a repeated field, one or packed"""
        found, at = [], field.value
        while at < field.end:
            number, at = self._varint(at, field.end)
            found.append(number)
        return found

    def refuse(self, at: int, what: str) -> Invalid:
        """The error for bytes that are no message"""
        return Invalid(f"{self.path}: byte {at}: {what}; it is no ONNX file, or damaged", code="onnx", file=self.path)

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        found = 0
        for place, byte in enumerate(self.read(at, min(at + _LONGEST, end))):
            found |= (byte & 127) << (7 * place)
            if byte < 128:
                return found, at + place + 1
        raise self.refuse(at, "a number does not end")


def number(identity: int, value: int) -> bytes:
    """A field that is a number"""
    return varint(identity << 3) + varint(value)


def length(identity: int, nbytes: int) -> bytes:
    """What stands before a field of so many bytes"""
    return varint(identity << 3 | _BYTES) + varint(nbytes)


def varint(value: int) -> bytes:
    """A number in as few bytes as it takes"""
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])
