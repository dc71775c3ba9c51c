"""Safetensors, read more strictly than the reference reader does

Format: https://github.com/huggingface/safetensors#format. The reference takes the last of two tensors with one name,
skips fields it does not know and allows any white space around the header; two readers may then see two models in one
file, so these are refused. The scanner knows the schema and never builds a value the format does not have: depth,
digits and lengths in a hostile header cost nothing.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from artifactstore.core.errors import Invalid
from artifactstore.core.formats.base import ByteSource, FileInfo, Region, TensorInfo
from artifactstore.core.formats.limits import MAX_TENSORS, count_elements, name_fault

DTYPE_BITS: Mapping[str, int] = MappingProxyType(
    {
        "F4": 4,
        **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
        **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
        **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
        **dict.fromkeys(("I32", "U32", "F32"), 32),
        **dict.fromkeys(("C64", "F64", "I64", "U64"), 64),
    }
)
HEADER_LIMIT = 100_000_000
MAX_DIMS = 64

_METADATA = "__metadata__"
_FOREIGN = (
    (re.compile(rb"PK\x03\x04"), "a zip"),
    (re.compile(rb"\x80[\x02-\x05]"), "a pickle"),
    (re.compile(rb"GGUF"), "a GGUF"),
    (re.compile(rb"version "), "a Git LFS pointer, not the file it stands for,"),
    (re.compile(rb"\s*<[!h]"), "a web page"),
)

_WS = r"[ \t\n\r]*"
_INT = r"(?:0|[1-9][0-9]{0,19})"
_TEXT = r'"([^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*)*)"'
_LIST = rf"\[{_WS}((?:{_INT}(?:{_WS},{_WS}{_INT})*)?){_WS}\]"
_STRING = re.compile(_TEXT)
_INTEGERS = re.compile(_LIST)
_OPEN = re.compile(rf"\{{{_WS}")
_CLOSE = re.compile(rf"{_WS}\}}")
_COMMA = re.compile(rf"{_WS},{_WS}")
_PADDING = re.compile(r" *\Z")
_COLON = re.compile(rf"{_WS}:{_WS}")
# A tensor as all known writers write it, in one match; any other order takes the slow way, to the same end.
_TENSOR = re.compile(
    rf'\{{{_WS}"dtype"{_WS}:{_WS}"([A-Z0-9_]+)"{_WS},{_WS}"shape"{_WS}:{_WS}{_LIST}{_WS}'
    rf',{_WS}"data_offsets"{_WS}:{_WS}\[{_WS}({_INT}){_WS},{_WS}({_INT}){_WS}\]{_WS}\}}'
)


class _Entry(NamedTuple):
    # begin and end first: entries sort by where their data lies, then by where they stand in the header
    begin: int
    end: int
    at: int
    name: str
    dtype: str
    shape: tuple[int, ...]


def parse(source: ByteSource, path: str) -> FileInfo:
    """Tensors in data-offset order, a region for each that is not empty; Invalid names file, byte and rule"""
    text = _read_header(source, path)
    scan = _Scan(text, path)
    entries = sorted(scan.entries())
    data = scan.byte(len(text))
    _check_layout(entries, source.size - data, scan)
    return FileInfo(
        format="safetensors",
        tensors=tuple(TensorInfo(e.name, e.dtype, e.shape, data + e.begin, data + e.end) for e in entries),
        regions=tuple(Region(e.name, data + e.begin, data + e.end) for e in entries if e.begin < e.end),
        metadata=MappingProxyType(scan.metadata or {}),
    )


def write_header(tensors: Sequence[tuple[str, str, Sequence[int], int]], metadata: Mapping[str, str] | None) -> bytes:
    """The header, its length included, for tensors (name, dtype, shape, nbytes) whose data follow in this order

    Padded with spaces to a multiple of 8. Raise Invalid for what `parse` would refuse.
    """
    members: dict[str, object] = {}
    if metadata is not None:
        members[_METADATA] = dict(sorted(metadata.items()))
    position = 0
    for name, dtype, shape, nbytes in tensors:
        _check_new(name, dtype, shape, nbytes, taken=name in members)
        members[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [position, position + nbytes]}
        position += nbytes
    try:
        text = json.dumps(members, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError as e:
        raise Invalid("Metadata holds a lone surrogate; give valid text", code="safetensors", rule="utf-8") from e
    padded = text + b" " * (-len(text) % 8)
    if len(padded) > HEADER_LIMIT or len(tensors) > MAX_TENSORS:
        raise Invalid("Too many tensors for one file; split it into shards", code="safetensors", rule="header-length")
    return len(padded).to_bytes(8, "little") + padded


def _check_new(name: str, dtype: str, shape: Sequence[int], nbytes: int, *, taken: bool) -> None:
    fault = name_fault(name) or ("is reserved" if name == _METADATA else "occurs twice" if taken else None)
    if fault:
        raise Invalid(f"Tensor name {name!r:.80} {fault}; rename it", code="safetensors", rule="name", tensor=name)
    try:
        expected = _nbytes(dtype, shape)
    except Invalid as e:
        raise Invalid(f"Tensor {name!r:.80}: {e.message}", code="safetensors", rule=e.facts["rule"], tensor=name) from e
    if nbytes != expected:
        found = f"Tensor {name!r:.80}, {dtype} of shape {list(shape)}, takes {expected} bytes, found {nbytes}"
        raise Invalid(found, code="safetensors", rule="size", tensor=name)


def _nbytes(dtype: str, shape: Sequence[int]) -> int:
    bits = DTYPE_BITS.get(dtype)
    if bits is None:
        known = ", ".join(DTYPE_BITS)
        raise Invalid(f"unknown dtype {dtype!r:.40} (known: {known})", code="safetensors", rule="dtype")
    if len(shape) > MAX_DIMS:
        raise Invalid(f"{len(shape)} dimensions (at most {MAX_DIMS})", code="safetensors", rule="dimensions")
    nbytes, rest = divmod(count_elements(shape) * bits, 8)
    if rest:
        raise Invalid(
            f"{dtype} of shape {list(shape)} does not end at a whole byte", code="safetensors", rule="byte-aligned"
        )
    return nbytes


def _read_header(source: ByteSource, path: str) -> str:
    def refuse(offset: int, rule: str, what: str) -> Invalid:
        head = source.read(0, min(source.size, 32))
        for magic, name in _FOREIGN:
            if magic.match(head):
                return _invalid(path, 0, "foreign", f"this is {name} named .safetensors")
        return _invalid(path, offset, rule, what)

    if source.size < 8:
        raise refuse(0, "header-length", f"the file has {source.size} bytes, too small for a header")
    length = int.from_bytes(source.read(0, 8), "little")
    if not 2 <= length <= HEADER_LIMIT:
        raise refuse(0, "header-length", f"a header of {length} bytes (2 to {HEADER_LIMIT} are allowed)")
    if length > source.size - 8:
        raise refuse(0, "header-length", f"a header of {length} bytes in a file of {source.size}; it is cut short")
    raw = source.read(8, length)
    if raw[:1] != b"{":
        raise refuse(8, "begin", f"the header must begin with '{{', found {raw[:1]!r}")
    try:
        return raw.decode()
    except UnicodeDecodeError as e:
        raise refuse(8 + e.start, "utf-8", f"the header is not UTF-8 ({e.reason})") from e


def _invalid(path: str, offset: int, rule: str, what: str) -> Invalid:
    return Invalid(f"{path}: byte {offset}: {what}", code="safetensors", file=path, offset=offset, rule=rule)


def _check_layout(entries: list[_Entry], available: int, scan: "_Scan") -> None:
    """Tensors lie end to end and fill what follows the header: no two readers can see other bytes"""
    position = 0
    for entry in entries:
        if entry.begin < position:
            raise scan.refuse("overlap", f"tensor {entry.name!r:.80} overlaps the one before it", entry.at)
        if entry.begin > position:
            what = f"a hole of {entry.begin - position} bytes before tensor {entry.name!r:.80}"
            raise scan.refuse("hole", what, entry.at)
        position = entry.end
        if position > available:
            what = f"tensor {entry.name!r:.80} ends {position - available} bytes after the file; it is cut short"
            raise scan.refuse("short", what, entry.at)
    if position < available:
        what = f"{available - position} bytes follow the last tensor"
        raise _invalid(scan.path, scan.byte(len(scan.text)) + position, "trailing", what)


class _Scan:
    """A cursor over the header's text that knows the schema, and the byte of whatever it refuses"""

    def __init__(self, text: str, path: str) -> None:
        self.text = text
        self.path = path
        self.position = 0
        self.metadata: dict[str, str] | None = None

    def byte(self, at: int) -> int:
        """Offset in the file of a character of the header"""
        return 8 + (at if self.text.isascii() else len(self.text[:at].encode()))

    def refuse(self, rule: str, what: str, at: int | None = None) -> Invalid:
        return _invalid(self.path, self.byte(self.position if at is None else at), rule, what)

    def take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Step over `pattern` if it stands here"""
        match = pattern.match(self.text, self.position)
        if match:
            self.position = match.end()
        return match

    def string(self, what: str) -> str:
        at = self.position
        match = self.take(_STRING)
        if not match:
            found = self.text[at : at + 20]
            raise self.refuse("json" if found[:1] == '"' else "string", f"{what} must be a string, found {found!r}")
        return self._decoded(match.group(1), at)

    def _decoded(self, inner: str, at: int) -> str:
        if "\\" not in inner:
            return inner
        decoded: str = json.loads(f'"{inner}"')
        try:
            decoded.encode()
        except UnicodeEncodeError as e:
            raise self.refuse("utf-8", "an escape stands for a lone surrogate", at) from e
        return decoded

    def members(self, what: str) -> Iterator[tuple[str, int]]:
        """Each member's key and where it stands; the caller steps over the value before the next"""
        if not self.take(_OPEN):
            raise self.refuse("object", f"{what} must be an object, found {self.text[self.position :][:20]!r}")
        if self.take(_CLOSE):
            return
        while True:
            at = self.position
            key = self.string(f"a key of {what}")
            if not self.take(_COLON):
                raise self.refuse("json", "':' is missing")
            yield key, at
            if self.take(_CLOSE):
                return
            if not self.take(_COMMA):
                raise self.refuse("json", f"',' or '}}' is missing in {what}")

    def entries(self) -> list[_Entry]:
        """All tensors in header order; the metadata is kept aside"""
        entries: list[_Entry] = []
        names: set[str] = set()
        for name, at in self.members("the header"):
            if name in names:
                raise self.refuse("duplicate-name", f"duplicate tensor name {name!r:.80} (a name occurs once)", at)
            names.add(name)
            if name == _METADATA:
                self.metadata = self._metadata()
            elif len(entries) == MAX_TENSORS:
                raise self.refuse("count", f"more than {MAX_TENSORS} tensors", at)
            else:
                entries.append(self._entry(name, at))
        if not _PADDING.match(self.text, self.position):
            raise self.refuse("padding", "only spaces may follow the header's object")
        return entries

    def _metadata(self) -> dict[str, str]:
        metadata: dict[str, str] = {}
        for key, at in self.members(_METADATA):
            if key in metadata:
                raise self.refuse("duplicate-metadata", f"duplicate metadata key {key!r:.80}", at)
            metadata[key] = self.string(f"metadata {key!r:.80}")
        return metadata

    def _entry(self, name: str, at: int) -> _Entry:
        if fault := name_fault(name):
            raise self.refuse("name", f"tensor name {name!r:.80} {fault}", at)
        match = self.take(_TENSOR)
        if match:
            dtype, lengths, first, last = match.groups()
            shape, begin, end = _integers(lengths), int(first), int(last)
        else:
            dtype, shape, begin, end = self._fields(f"tensor {name!r:.80}")
        try:
            nbytes = _nbytes(dtype, shape)
        except Invalid as e:
            raise self.refuse(e.facts["rule"], f"tensor {name!r:.80}: {e.message}", at) from e
        if begin > end:
            raise self.refuse("order", f"tensor {name!r:.80} begins at {begin}, after its end {end}", at)
        if end - begin != nbytes:
            what = (
                f"tensor {name!r:.80}, {dtype} of shape {list(shape)!s:.80}, takes {nbytes} bytes, found {end - begin}"
            )
            raise self.refuse("size", what, at)
        return _Entry(begin, end, at, name, dtype, shape)

    def _fields(self, what: str) -> tuple[str, tuple[int, ...], int, int]:
        dtype: str | None = None
        lists: dict[str, tuple[int, ...]] = {}
        for key, at in self.members(what):
            if key in lists or (key == "dtype" and dtype is not None):
                raise self.refuse("duplicate-field", f"duplicate field {key!r} of {what}", at)
            if key == "dtype":
                dtype = self.string(f"dtype of {what}")
            elif key in {"shape", "data_offsets"}:
                lists[key] = self._integers(f"{key} of {what}")
            else:
                raise self.refuse("unknown-field", f"unknown field {key!r:.80} of {what}", at)
        if dtype is None or len(lists) < 2:
            missing = [key for key in ("dtype", "shape", "data_offsets") if key not in {*lists, dtype and "dtype"}]
            raise self.refuse("missing-field", f"{what} has no {', '.join(missing)}")
        if len(lists["data_offsets"]) != 2:
            raise self.refuse("offsets", f"data_offsets of {what} must be two integers, begin and end")
        begin, end = lists["data_offsets"]
        return dtype, lists["shape"], begin, end

    def _integers(self, what: str) -> tuple[int, ...]:
        match = self.take(_INTEGERS)
        if not match:
            found = self.text[self.position : self.position + 40]
            raise self.refuse("integers", f"{what} must be a list of integers from 0 to 2^64-1, found {found!r}")
        return _integers(match.group(1))


def _integers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(","))) if text else ()
