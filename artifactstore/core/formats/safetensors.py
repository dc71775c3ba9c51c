"""Safetensors, read more strictly than the reference reader does

Format: https://github.com/huggingface/safetensors#format. The reference takes the last of two tensors with one name,
skips fields it does not know and allows any white space around the header; two readers may then see two models in one
file, so these are refused. The scanner knows the schema and never builds a value the format does not have: depth,
digits and lengths in a hostile header cost nothing.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter
from types import MappingProxyType

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
MAX_METADATA = 100_000

_METADATA = "__metadata__"
_FOREIGN = (
    (re.compile(rb"PK\x03\x04"), "a zip"),
    (re.compile(rb"\x80[\x02-\x05]"), "a pickle"),
    (re.compile(rb"GGUF"), "a GGUF"),
    (re.compile(rb"version "), "a Git LFS pointer, not the file it stands for,"),
    (re.compile(rb"\s*<[!h]"), "a web page"),
)

# Possessive wherever a repeat has no bound, so that no hostile header makes a match go back and try again.
_WS = r"[ \t\n\r]*+"
_INT = r"(?:0|[1-9][0-9]{0,19})"
_TEXT = r'"([^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+)"'
_LIST = rf"\[{_WS}((?:{_INT}(?:{_WS},{_WS}{_INT}){{0,{MAX_DIMS - 1}}})?){_WS}\]"
_STRING = re.compile(_TEXT)
_INTEGERS = re.compile(_LIST)
_OPEN = re.compile(rf"\{{{_WS}")
_CLOSE = re.compile(rf"{_WS}\}}")
_PADDING = re.compile(r" *+\Z")
_KEY = re.compile(rf"{_TEXT}{_WS}:{_WS}")
_NEXT = re.compile(rf"{_WS}(?:,{_WS}|(\}}))")
# A tensor as all known writers write it, in one match; any other order takes the slow way, to the same end.
_TENSOR = re.compile(
    rf'\{{{_WS}"dtype"{_WS}:{_WS}"([A-Z0-9_]+)"{_WS},{_WS}"shape"{_WS}:{_WS}{_LIST}{_WS}'
    rf',{_WS}"data_offsets"{_WS}:{_WS}\[{_WS}({_INT}){_WS},{_WS}({_INT}){_WS}\]{_WS}\}}'
)


def parse(source: ByteSource, path: str) -> FileInfo:
    """Tensors in data-offset order, a region for each that is not empty; Invalid names file, byte and rule"""
    text = _read_header(source, path)
    scan = _Scan(text, path)
    tensors = sorted(scan.tensors(), key=attrgetter("begin", "end"))
    _check_layout(tensors, source.size, scan)
    return FileInfo(
        format="safetensors",
        tensors=tuple(tensors),
        regions=tuple(Region(t.name, t.begin, t.end) for t in tensors if t.begin < t.end),
        metadata=MappingProxyType(scan.metadata),
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
    if len(padded) > HEADER_LIMIT or len(members) > MAX_TENSORS:
        raise Invalid("Too many tensors for one file; split it into shards", code="safetensors", rule="header-length")
    return len(padded).to_bytes(8, "little") + padded


def _check_new(name: str, dtype: str, shape: Sequence[int], nbytes: int, *, taken: bool) -> None:
    fault = name_fault(name) or ("is reserved" if name == _METADATA else "occurs twice" if taken else None)
    if fault:
        raise Invalid(f"Tensor name {name!r:.80} {fault}; rename it", code="safetensors", rule="name", tensor=name)
    if any(length < 0 for length in shape):
        raise Invalid(f"Tensor {name!r:.80} has a negative length", code="safetensors", rule="shape", tensor=name)
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


def _check_layout(tensors: list[TensorInfo], size: int, scan: "_Scan") -> None:
    """Tensors lie end to end and fill what follows the header: no two readers can see other bytes"""
    position = scan.data
    for tensor in tensors:
        fault = None
        if tensor.begin < position:
            fault = "overlap", f"tensor {tensor.name!r:.80} overlaps the one before it"
        elif tensor.begin > position:
            fault = "hole", f"a hole of {tensor.begin - position} bytes before tensor {tensor.name!r:.80}"
        elif tensor.end > size:
            fault = (
                "short",
                f"tensor {tensor.name!r:.80} ends {tensor.end - size} bytes after the file; it is cut short",
            )
        if fault:
            raise scan.refuse(*fault, scan.places[tensor.name])
        position = tensor.end
    if position < size:
        raise _invalid(scan.path, position, "trailing", f"{size - position} bytes follow the last tensor")


class _Scan:
    """A cursor over the header's text that knows the schema, and the byte of whatever it refuses"""

    def __init__(self, text: str, path: str) -> None:
        self.text = text
        self.path = path
        self.position = 0
        self.data = self.byte(len(text))
        self.places: dict[str, int] = {}
        self.metadata: dict[str, str] = {}

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
        return self._decoded(match[1], at)

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
            if not (key := self.take(_KEY)):
                self.string(f"a key of {what}")
                raise self.refuse("json", f"':' is missing after a key of {what}")
            yield self._decoded(key[1], at), at
            if not (following := self.take(_NEXT)):
                raise self.refuse("json", f"',' or '}}' is missing in {what}")
            if following[1]:
                return

    def tensors(self) -> Iterator[TensorInfo]:
        """All tensors in header order; the metadata is kept aside"""
        for name, at in self.members("the header"):
            if name in self.places:
                raise self.refuse("duplicate-name", f"duplicate tensor name {name!r:.80} (a name occurs once)", at)
            if len(self.places) == MAX_TENSORS:
                raise self.refuse("count", f"more than {MAX_TENSORS} tensors", at)
            self.places[name] = at
            if name == _METADATA:
                self._read_metadata()
            else:
                yield self._tensor(name, at)
        if not _PADDING.match(self.text, self.position):
            raise self.refuse("padding", "only spaces may follow the header's object")

    def _read_metadata(self) -> None:
        for key, at in self.members(_METADATA):
            if key in self.metadata:
                raise self.refuse("duplicate-metadata", f"duplicate metadata key {key!r:.80}", at)
            if len(self.metadata) == MAX_METADATA:
                raise self.refuse("count", f"more than {MAX_METADATA} metadata keys", at)
            self.metadata[key] = self.string(f"metadata {key!r:.80}")

    def _tensor(self, name: str, at: int) -> TensorInfo:
        if fault := name_fault(name):
            raise self.refuse("name", f"tensor name {name!r:.80} {fault}", at)
        if match := self.take(_TENSOR):
            dtype, shape, begin, end = match[1], _integers(match[2]), int(match[3]), int(match[4])
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
        return TensorInfo(name, dtype, shape, self.data + begin, self.data + end)

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
            raise self.refuse(
                "integers", f"{what} must be a list of at most {MAX_DIMS} integers from 0 to 2^64-1, found {found!r}"
            )
        return _integers(match.group(1))


def _integers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(","))) if text else ()
