"""ONNX with its weights in files beside the graph: `model.onnx_data`, `model.onnx_data_1`, …

Names as transformers.js knows them; offsets and numbers of fields: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from artifactstore.core.errors import Invalid
from artifactstore.core.formats.base import TensorInfo
from artifactstore.core.names import SafePath
from artifactstore.derive.shard import proto
from artifactstore.derive.shard.filling import Box, Weight, fill, padded
from artifactstore.derive.shard.layout import LaidFile, Piece, Range, beside, joined, nbytes
from artifactstore.derive.shard.proto import Field, Message

_GRAPH, _NODE, _INITIALIZER, _INPUT = 7, 1, 5, 1
_DIMS, _NAME, _RAW, _EXTERNAL, _LOCATION = 1, 8, 9, 13, 14
_KEY, _VALUE = 1, 2
_OUTSIDE = 1
_ALIGN = 64
# smaller weights stay in the graph: shapes are inferred from them
_SMALL = 1024
_DATA = "_data"


@dataclass(frozen=True, slots=True)
class Found:
    """A large weight: its field in the graph, what of it stays, and where its bytes are"""

    field: Field
    kept: bytes
    weight: Weight


@dataclass(frozen=True, slots=True)
class Head:
    """A graph without its weights. order: when each of them is used first"""

    path: SafePath
    size: int
    graph: Field
    found: tuple[Found, ...]
    order: Mapping[str, int]

    @property
    def beside(self) -> set[SafePath]:
        """Files that hold weights of it"""
        return {one.weight.data.path for one in self.found} - {self.path}


def read(message: Message, path: SafePath, size_of: Callable[[SafePath], int | None]) -> Head:
    """What a graph says of its weights; size_of: bytes of a file of the version, None where it has none

    Raise Invalid for what is no graph, and for weights that are not where it says.
    """
    graphs = [field for field in message.fields(0, message.size) if field.id == _GRAPH]
    if len(graphs) != 1:
        raise message.refuse(0, f"{len(graphs)} graphs")
    found: list[Found] = []
    order: dict[str, int] = {}
    for field in message.fields(graphs[0].value, graphs[0].end):
        if field.id == _NODE:
            for inner in message.fields(field.value, field.end):
                if inner.id == _INPUT:
                    order.setdefault(message.text(inner), len(order))
        elif field.id == _INITIALIZER:
            found.extend(_weight(message, path, field, size_of))
    return Head(path, message.size, graphs[0], tuple(found), order)


def _weight(
    message: Message, path: SafePath, field: Field, size_of: Callable[[SafePath], int | None]
) -> Iterator[Found]:
    inner = list(message.fields(field.value, field.end))
    name = next((message.text(one) for one in inner if one.id == _NAME), "")
    shape = tuple(number for one in inner if one.id == _DIMS for number in message.numbers(one))
    said = dict(_entry(message, one) for one in inner if one.id == _EXTERNAL)
    raw = next((one for one in inner if one.id == _RAW), None)
    if any(one.id == _LOCATION and one.number == _OUTSIDE for one in inner):
        data = _outside(message, path, name, said, size_of)
    elif raw is not None and raw.end - raw.value >= _SMALL:
        data = Range(path, raw.value, raw.end)
    else:
        return
    kept = [message.read(one.begin, one.end) for one in inner if one.id not in {_RAW, _EXTERNAL, _LOCATION}]
    yield Found(field, b"".join(kept), Weight(TensorInfo(name, "U8", shape, data.begin, data.end), data))


def _entry(message: Message, field: Field) -> tuple[str, str]:
    inner = {one.id: message.text(one) for one in message.fields(field.value, field.end)}
    return inner.get(_KEY, ""), inner.get(_VALUE, "")


def _outside(
    message: Message, path: SafePath, name: str, said: Mapping[str, str], size_of: Callable[[SafePath], int | None]
) -> Range:
    where = beside(path, said.get("location", ""))
    size = size_of(where)
    offset = said.get("offset", "0")
    length = said.get("length", str((size or 0) - int(offset)) if offset.isdecimal() else "")
    if size is None:
        raise Invalid(f"{path}: weights lie in {where}, which is not there; add it beside the graph", code="onnx")
    if not (offset.isdecimal() and length.isdecimal()) or int(offset) + int(length) > size:
        raise message.refuse(0, f"weight {name!r:.80} leaves {where}")
    return Range(where, int(offset), int(offset) + int(length))


def split(head: Head, ceiling: int) -> tuple[LaidFile, ...]:
    """Files of at most `ceiling` bytes, the graph last; raise Invalid for a weight, or a graph, that is larger"""
    weights = sorted((one.weight for one in head.found), key=lambda one: head.order.get(one.info.name, len(head.order)))
    box = Box(0, lambda _: 0, align=_ALIGN)
    groups = [group for group in fill(weights, ceiling, box) if group]
    names = [head.path.rpartition("/")[2] + _DATA + (f"_{number}" if number else "") for number in range(len(groups))]
    files, places = [], dict[str, bytes]()
    for name, group in zip(names, groups, strict=True):
        files.append(_data(beside(head.path, name), group))
        at = 0
        for weight in group:
            places[weight.info.name] = _place(name, at, weight.nbytes)
            at += padded(weight.nbytes, _ALIGN)
    graph = _graph(head, places)
    if graph.size > ceiling:
        raise Invalid(
            f"{head.path} takes {graph.size} bytes without its weights, over {ceiling}; give --size {graph.size} or "
            "more",
            code="ceiling",
            least=graph.size,
        )
    return (*files, graph)


def _data(path: SafePath, weights: Sequence[Weight]) -> LaidFile:
    pieces: list[Piece] = []
    for weight in weights:
        pieces += [weight.data, bytes(-weight.nbytes % _ALIGN)]
    return LaidFile(path, joined(pieces[:-1]))


def _place(name: str, offset: int, size: int) -> bytes:
    rows = []
    for key, value in (("location", name), ("offset", str(offset)), ("length", str(size))):
        texts = [proto.length(at, len(text.encode())) + text.encode() for at, text in ((_KEY, key), (_VALUE, value))]
        entry = b"".join(texts)
        rows.append(proto.length(_EXTERNAL, len(entry)) + entry)
    return b"".join(rows) + proto.number(_LOCATION, _OUTSIDE)


def _graph(head: Head, places: Mapping[str, bytes]) -> LaidFile:
    """The graph as it was, but for where its weights are"""
    inner: list[Piece] = []
    at = head.graph.value
    for one in head.found:
        tensor = one.kept + places[one.weight.info.name]
        inner += [Range(head.path, at, one.field.begin), proto.length(_INITIALIZER, len(tensor)) + tensor]
        at = one.field.end
    inner.append(Range(head.path, at, head.graph.end))
    size = sum(map(nbytes, inner))
    pieces = [Range(head.path, 0, head.graph.begin), proto.length(_GRAPH, size), *inner]
    return LaidFile(head.path, joined([*pieces, Range(head.path, head.graph.end, head.size)]), last=True)
