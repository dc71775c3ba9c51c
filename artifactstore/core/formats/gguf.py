"""GGUF, versions 2 and 3, little endian

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md; type numbers and block sizes: ggml/include/ggml.h
and ggml/src/ggml-common.h of llama.cpp.
"""

import struct
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from artifactstore.core.errors import Invalid
from artifactstore.core.formats.base import ByteSource, FileInfo, Region, TensorInfo
from artifactstore.core.formats.limits import MAX_TENSORS, count_elements, name_fault

MAGIC = b"GGUF"
MAX_DIMS = 8  # ggml has 4; converters of video models write 5
MAX_KEYS = 100_000
MAX_KEPT_NBYTES = 64 * 1024
HEADER_LIMIT = 256 << 20

# number: (name, elements of a block, bytes of a block)
TENSOR_TYPES: Mapping[int, tuple[str, int, int]] = MappingProxyType(
    {
        0: ("F32", 1, 4),
        1: ("F16", 1, 2),
        2: ("Q4_0", 32, 18),
        3: ("Q4_1", 32, 20),
        6: ("Q5_0", 32, 22),
        7: ("Q5_1", 32, 24),
        8: ("Q8_0", 32, 34),
        9: ("Q8_1", 32, 36),
        10: ("Q2_K", 256, 84),
        11: ("Q3_K", 256, 110),
        12: ("Q4_K", 256, 144),
        13: ("Q5_K", 256, 176),
        14: ("Q6_K", 256, 210),
        15: ("Q8_K", 256, 292),
        16: ("IQ2_XXS", 256, 66),
        17: ("IQ2_XS", 256, 74),
        18: ("IQ3_XXS", 256, 98),
        19: ("IQ1_S", 256, 50),
        20: ("IQ4_NL", 32, 18),
        21: ("IQ3_S", 256, 110),
        22: ("IQ2_S", 256, 82),
        23: ("IQ4_XS", 256, 136),
        24: ("I8", 1, 1),
        25: ("I16", 1, 2),
        26: ("I32", 1, 4),
        27: ("I64", 1, 8),
        28: ("F64", 1, 8),
        29: ("IQ1_M", 256, 56),
        30: ("BF16", 1, 2),
        31: ("Q4_0_4_4", 32, 18),
        32: ("Q4_0_4_8", 32, 18),
        33: ("Q4_0_8_8", 32, 18),
        34: ("TQ1_0", 256, 54),
        35: ("TQ2_0", 256, 66),
        39: ("MXFP4", 32, 17),
        40: ("NVFP4", 64, 36),
        41: ("Q1_0", 128, 18),
        42: ("Q2_0", 64, 18),
    }
)

_NUMBERS = {
    number: struct.Struct("<" + code)
    for number, code in {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 10: "Q", 11: "q", 12: "d"}.items()
}
_FLOAT32, _BOOL, _STRING, _ARRAY = 6, 7, 8, 9
_U32 = _NUMBERS[4]
_U64 = _NUMBERS[10]
_WINDOW = 1 << 20


def parse(source: ByteSource, path: str) -> FileInfo:
    """Tensors in data order, a region for each that is not empty; Invalid names file, byte and rule

    Metadata are the scalar values as text; an array is `array[length]`, a text over 64 KiB `string[bytes]`.
    """
    cursor = _Cursor(source, path)
    if cursor.take(4) != MAGIC:
        raise cursor.refuse("magic", "no GGUF magic", 0)
    version = cursor.number(_U32)
    if version not in {2, 3}:
        big = version in {2 << 24, 3 << 24}
        raise cursor.refuse("version", "big endian is not read" if big else f"version {version} (2 and 3 are read)", 4)
    tensor_count = cursor.count(MAX_TENSORS, "tensors")
    metadata = _read_metadata(cursor, cursor.count(MAX_KEYS, "metadata keys"))
    drafts = list(_read_tensors(cursor, tensor_count))
    tensors = _place(drafts, cursor, _alignment(metadata, cursor))
    return FileInfo(
        format="gguf",
        tensors=tensors,
        regions=tuple(Region(t.name, t.begin, t.end) for t in tensors if t.begin < t.end),
        metadata=MappingProxyType(metadata),
    )


def metadata_spans(source: ByteSource, path: str) -> dict[str, tuple[int, int]]:
    """Where each metadata key lies with its value, bytes [begin, end) of a file that `parse` takes; raise Invalid"""
    cursor = _Cursor(source, path)
    cursor.skip(len(MAGIC) + _U32.size + _U64.size)
    spans: dict[str, tuple[int, int]] = {}
    for _ in range(cursor.count(MAX_KEYS, "metadata keys")):
        begin = cursor.position
        key = cursor.name("metadata key")
        _read_value(cursor, cursor.number(_U32))
        spans[key] = (begin, cursor.position)
    return spans


def _read_metadata(cursor: "_Cursor", count: int) -> dict[str, str]:
    metadata: dict[str, str] = {}
    for _ in range(count):
        at = cursor.position
        key = cursor.name("metadata key")
        if key in metadata:
            raise cursor.refuse("duplicate-key", f"duplicate metadata key {key!r:.80}", at)
        metadata[key] = _read_value(cursor, cursor.number(_U32))
    return metadata


def _read_value(cursor: "_Cursor", kind: int) -> str:
    if kind == _STRING:
        nbytes = cursor.number(_U64)
        if nbytes > MAX_KEPT_NBYTES:
            cursor.skip(nbytes)
            return f"string[{nbytes}]"
        return cursor.take(nbytes).decode(errors="replace")
    if kind == _ARRAY:
        return _skip_array(cursor)
    if kind == _BOOL:
        return "true" if cursor.take(1) != b"\0" else "false"
    if kind not in _NUMBERS:
        raise cursor.refuse("value-type", f"unknown metadata type {kind}")
    value = cursor.number(_NUMBERS[kind])
    return f"{value:.7g}" if kind == _FLOAT32 else str(value)


def _skip_array(cursor: "_Cursor") -> str:
    kind, length = cursor.number(_U32), cursor.number(_U64)
    if kind == _STRING:
        for _ in range(length):
            cursor.skip(cursor.number(_U64))
    elif kind == _BOOL:
        cursor.skip(length)
    elif kind in _NUMBERS:
        cursor.skip(length * _NUMBERS[kind].size)
    else:
        raise cursor.refuse("value-type", f"an array of metadata type {kind}")
    return f"array[{length}]"


def _alignment(metadata: Mapping[str, str], cursor: "_Cursor") -> int:
    text = metadata.get("general.alignment", "32")
    alignment = int(text) if text.isdecimal() and len(text) <= 10 else 0
    if alignment not in {1 << bit for bit in range(32)}:
        raise cursor.refuse("alignment", f"general.alignment {text!r:.40} is not a power of two")
    return alignment


def _read_tensors(cursor: "_Cursor", count: int) -> Iterator[TensorInfo]:
    """Tensors with begin and end still counted from the start of the data"""
    names: set[str] = set()
    for _ in range(count):
        at = cursor.position
        name = cursor.name("tensor name")
        if name in names:
            raise cursor.refuse("duplicate-name", f"duplicate tensor name {name!r:.80}", at)
        names.add(name)
        dims = cursor.number(_U32)
        if dims > MAX_DIMS:
            raise cursor.refuse("dimensions", f"tensor {name!r:.80} has {dims} dimensions (at most {MAX_DIMS})", at)
        inner_first = [cursor.number(_U64) for _ in range(dims)]
        dtype, nbytes = _sized(cursor, name, inner_first, at)
        begin = cursor.number(_U64)
        yield TensorInfo(name, dtype, tuple(reversed(inner_first)), begin, begin + nbytes)


def _sized(cursor: "_Cursor", name: str, inner_first: list[int], at: int) -> tuple[str, int]:
    kind = cursor.number(_U32)
    if kind not in TENSOR_TYPES:
        raise cursor.refuse("dtype", f"tensor {name!r:.80} has the unknown type {kind}", at)
    dtype, block, block_nbytes = TENSOR_TYPES[kind]
    try:
        elements = count_elements(inner_first)
    except Invalid as e:
        raise cursor.refuse("overflow", f"tensor {name!r:.80}: {e.message}", at) from e
    if (inner_first[0] if inner_first else 1) % block:
        raise cursor.refuse("block", f"rows of tensor {name!r:.80} are not whole {dtype} blocks of {block}", at)
    return dtype, elements // block * block_nbytes


def _place(drafts: list[TensorInfo], cursor: "_Cursor", alignment: int) -> tuple[TensorInfo, ...]:
    data = position = -(-cursor.position // alignment) * alignment
    placed = []
    for draft in sorted(drafts, key=lambda t: (t.begin, t.end)):
        tensor = TensorInfo(draft.name, draft.dtype, draft.shape, data + draft.begin, data + draft.end)
        if draft.begin % alignment:
            raise cursor.refuse("alignment", f"tensor {draft.name!r:.80} is not aligned to {alignment} bytes")
        if tensor.begin < position:
            raise cursor.refuse("overlap", f"tensor {draft.name!r:.80} overlaps the one before it")
        if tensor.end > cursor.source.size:
            raise cursor.refuse("short", f"tensor {draft.name!r:.80} ends after the file; it is cut short")
        position = tensor.end
        placed.append(tensor)
    return tuple(placed)


class _Cursor:
    """A place in the file's head, read through one window"""

    def __init__(self, source: ByteSource, path: str) -> None:
        self.source = source
        self.path = path
        self.limit = min(source.size, HEADER_LIMIT)
        self.window = b""
        self.window_begin = 0
        self.position = 0

    def refuse(self, rule: str, what: str, at: int | None = None) -> Invalid:
        offset = self.position if at is None else at
        return Invalid(f"{self.path}: byte {offset}: {what}", code="gguf", file=self.path, offset=offset, rule=rule)

    def skip(self, nbytes: int) -> int:
        """Step over bytes; where they began"""
        begin = self.position
        if nbytes > self.limit - begin:
            raise self.refuse("short", f"{nbytes} bytes leave the head of {self.limit} bytes; it is cut short")
        self.position = begin + nbytes
        return begin

    def _window_at(self, nbytes: int) -> int:
        """Step over bytes that lie in the window; their start in it"""
        begin = self.skip(nbytes)
        at = begin - self.window_begin
        if at + nbytes > len(self.window):
            self.window = self.source.read(begin, min(max(nbytes, _WINDOW), self.limit - begin))
            self.window_begin, at = begin, 0
        return at

    def take(self, nbytes: int) -> bytes:
        at = self._window_at(nbytes)
        return self.window[at : at + nbytes]

    def number(self, kind: struct.Struct) -> int:
        at = self._window_at(kind.size)
        value: int = kind.unpack_from(self.window, at)[0]
        return value

    def count(self, limit: int, what: str) -> int:
        count = self.number(_U64)
        if count > limit:
            raise self.refuse("count", f"{count} {what} (at most {limit})", self.position - 8)
        return count

    def name(self, what: str) -> str:
        at = self.position
        nbytes = self.number(_U64)
        if nbytes > MAX_KEPT_NBYTES:
            raise self.refuse("name", f"a {what} of {nbytes} bytes", at)
        try:
            name = self.take(nbytes).decode()
        except UnicodeDecodeError as e:
            raise self.refuse("utf-8", f"a {what} is not UTF-8", at) from e
        if fault := name_fault(name):
            raise self.refuse("name", f"{what} {name!r:.80} {fault}", at)
        return name
