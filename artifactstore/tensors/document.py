"""State document: `state.json`, the JSON of a state tree

    {"format": "artifactstore.state", "version": 1, "context": NODE}

A NODE is null, a boolean, a string, a finite float (with a point or exponent), an integer below 2^53, an array of
nodes for a list, or an object with one tag:

    {"dict": …} {"ordered": …} {"counter": …}   an object of nodes where all keys are strings, else [[key, node], …];
                                                beside "ordered" may stand "metadata", a node: what a module's
                                                state_dict carries in `_metadata`
    {"tuple": [node, …]}    {"int": "-0x1f…"}    {"float": 16 hex digits, the big-endian double}
    {"complex": [node, node]}    {"bytes": base64}
    {"scalar": NumPy dtype, "hex": little-endian bytes}
    {"tensor": name, "file": path}    {"array": name, "file": path}    one tensor of a safetensors file of the version;
                                                nodes that name the same tensor are the same object
"""

import base64
import json
import struct
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, NoReturn

import numpy as np

from artifactstore.core.errors import Corrupt, Invalid, StoreError

FORMAT = "artifactstore.state"
VERSION = 1
PATH = "state.json"
MAX_DEPTH = 100
SCALARS = frozenset(
    ["bool", "complex64", "complex128", "float16", "float32", "float64"]
    + [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
)

Node = Any
Kind = Literal["tensor", "array"]
Lookup = Callable[[Kind, str, str], Any]


def to_bytes(context: Node) -> bytes:
    """The document around the node of a context"""
    document = {"format": FORMAT, "version": VERSION, "context": context}
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def encode_number(value: complex) -> Node:
    """Of an int, float or complex, of exactly these types"""
    if isinstance(value, int):
        return value if abs(value) < 1 << 53 else {"int": hex(value)}
    if isinstance(value, complex):
        return {"complex": [encode_number(value.real), encode_number(value.imag)]}
    return value if abs(value) < float("inf") else {"float": struct.pack(">d", value).hex()}


def encode_bytes(value: bytes) -> Node:
    """As base64"""
    return {"bytes": base64.b64encode(value).decode()}


def encode_scalar(value: "np.generic[Any]") -> Node:
    """Of a NumPy scalar whose dtype is in SCALARS"""
    return {"scalar": value.dtype.name, "hex": value.tobytes().hex()}


def decode(raw: bytes, lookup: Lookup) -> dict[str, Any]:
    """The context of a document; `lookup` gives the tensor or array of (kind, file, name)

    Raise Corrupt for anything that no save writes, Invalid for a later version.
    """
    try:
        return _context(raw, lookup)
    except StoreError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError, struct.error) as e:
        raise Corrupt(f"{PATH} is damaged: {e!s:.200}; run artstore verify", code="state") from e


def _context(raw: bytes, lookup: Lookup) -> dict[str, Any]:
    document = json.loads(raw, parse_constant=_refuse_constant, object_pairs_hook=_object)
    if document["format"] != FORMAT:
        raise ValueError(f"the format is {document['format']!r:.40}")
    if document["version"] != VERSION:
        raise Invalid(
            f"{PATH} has version {document['version']!r:.20}, this artifactstore reads {VERSION}; upgrade it",
            code="format",
        )
    context: dict[str, Any] = _typed(_Decoder(lookup).node(document["context"], 0), dict)
    for name in context:
        _typed(name, str)
    return context


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"it holds the constant {name}")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("an object holds a key twice")
    return members


class _Decoder:
    def __init__(self, lookup: Lookup) -> None:
        self.lookup = lookup

    def node(self, node: Node, depth: int) -> Any:
        if depth > MAX_DEPTH + 4:
            raise ValueError("it is nested too deeply")
        if isinstance(node, list):
            return [self.node(item, depth + 1) for item in node]
        if not isinstance(node, dict):
            return node
        tag = next(iter(node), "")
        read = _TAGS.get((tag, *sorted(node.keys() - {tag})))
        if read is None:
            raise ValueError(f"an unknown node {sorted(node)!s:.80}")
        return read(self, node, depth + 1)

    def pairs(self, value: Any, depth: int) -> list[tuple[Any, Any]]:
        if isinstance(value, dict):
            return [(key, self.node(item, depth)) for key, item in value.items()]
        pairs = [(self.node(key, depth), self.node(item, depth)) for key, item in _typed(value, list)]
        if len(dict(pairs)) != len(pairs):
            raise ValueError("a mapping holds a key twice")
        return pairs


def _ordered(decoder: _Decoder, node: Node, depth: int) -> OrderedDict[Any, Any]:
    mapping = OrderedDict(decoder.pairs(node["ordered"], depth))
    if "metadata" in node:
        mapping._metadata = decoder.node(node["metadata"], depth)  # type: ignore[attr-defined]  # noqa: SLF001  # where torch keeps it
    return mapping


def _complex(decoder: _Decoder, node: Node, depth: int) -> complex:
    real, imaginary = (_typed(decoder.node(part, depth), float) for part in node["complex"])
    return complex(real, imaginary)


def _scalar(_decoder: _Decoder, node: Node, _depth: int) -> Any:
    if node["scalar"] not in SCALARS:
        raise ValueError(f"no NumPy scalar: {node['scalar']!r:.40}")
    (value,) = np.frombuffer(bytes.fromhex(node["hex"]), dtype=node["scalar"])
    return value


def _referred(kind: Kind) -> Callable[[_Decoder, Node, int], Any]:
    return lambda decoder, node, _: decoder.lookup(kind, _typed(node["file"], str), _typed(node[kind], str))


def _typed(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError(f"a {kind.__name__} is due, found {type(value).__name__}")
    return value


_TAGS: Mapping[tuple[str, ...], Callable[[_Decoder, Node, int], Any]] = MappingProxyType(
    {
        ("dict",): lambda decoder, node, depth: dict(decoder.pairs(node["dict"], depth)),
        ("ordered",): _ordered,
        ("ordered", "metadata"): _ordered,
        ("counter",): lambda decoder, node, depth: Counter(dict(decoder.pairs(node["counter"], depth))),
        ("tuple",): lambda decoder, node, depth: tuple(decoder.node(_typed(node["tuple"], list), depth)),
        ("complex",): _complex,
        ("int",): lambda _, node, __: int(_typed(node["int"], str), 16),
        ("float",): lambda _, node, __: struct.unpack(">d", bytes.fromhex(node["float"]))[0],
        ("bytes",): lambda _, node, __: base64.b64decode(_typed(node["bytes"], str), validate=True),
        ("scalar", "hex"): _scalar,
        ("tensor", "file"): _referred("tensor"),
        ("array", "file"): _referred("array"),
    }
)
