"""State tree: nested values of a checkpoint, taken apart into a document and named tensors

The subtree `state['model']`, or the whole state when it is a module or a flat mapping of tensors, goes to
`model.safetensors` under the state dict's own names; `state['optimizer']` to `optimizer.safetensors`; tensors
elsewhere to `state.safetensors`.
"""

from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import torch

from artifactstore.core.errors import Invalid
from artifactstore.core.formats.limits import name_fault
from artifactstore.tensors import document
from artifactstore.tensors.dtypes import ARRAY_NAMES, NAMES

MODEL: Final = "model.safetensors"
OPTIMIZER: Final = "optimizer.safetensors"
STATE: Final = "state.safetensors"
MAX_NODES = 20_000_000

_FILES = {"model": MODEL, "optimizer": OPTIMIZER}
_RANKS = {"state": -1, "model": 0, "optimizer": 1}
_MAPPINGS: Mapping[type, str] = {dict: "dict", OrderedDict: "ordered", Counter: "counter"}
_ADVICE = {
    set: "use a list",
    frozenset: "use a tuple",
    bytearray: "use bytes",
    torch.Generator: "store its get_state()",
    np.random.Generator: "store its bit_generator.state",
    np.random.RandomState: "store its get_state()",
}
_PLAIN = "keep tensors, arrays, numbers, strings, bytes, lists, tuples, dicts, or what has a state_dict()"


@dataclass(frozen=True, slots=True)
class NamedTensor:
    """One tensor or array of a file; dtype is safetensors' name for it"""

    name: str
    dtype: str
    value: "torch.Tensor | np.ndarray[Any, Any]"


@dataclass(frozen=True, slots=True)
class StateTree:
    """A context taken apart: the bytes of `state.json`, and the tensors of each file in the order they were met"""

    document: bytes
    files: Mapping[str, tuple[NamedTensor, ...]]


def take_apart(context: Mapping[str, Any]) -> StateTree:
    """Every value of a context; raise Invalid naming the path of the first that cannot be stored without pickle"""
    taker = _Taker(whole_model=_is_model(context.get("state")))
    node = taker.members(dict(context))
    files = {name: tuple(tensors) for name, tensors in taker.files.items() if tensors}
    return StateTree(document.to_bytes({"dict": node}), MappingProxyType(files))


def _is_model(state: Any) -> bool:
    if isinstance(state, torch.nn.Module):
        return True
    flat = type(state) in _MAPPINGS and all(type(name) is str for name in state)
    return flat and bool(state) and all(isinstance(value, torch.Tensor) for value in state.values())


class _Taker:
    def __init__(self, *, whole_model: bool) -> None:
        self.files: dict[str, list[NamedTensor]] = {MODEL: [], OPTIMIZER: [], STATE: []}
        self._whole_model = whole_model
        self._keys: list[Any] = []
        self._open: set[int] = set()
        self._nodes = 0
        self._known: dict[tuple[Any, ...], document.Node] = {}
        self._names: set[tuple[str, str]] = set()

    def members(self, mapping: dict[Any, Any]) -> dict[str, document.Node]:
        """Nodes by name, in the mapping's order; the model's tensors are met first, so that they stay in its file"""
        order: Iterable[Any] = mapping
        if not self._keys or self._keys == ["state"]:
            order = sorted(mapping, key=lambda name: _RANKS.get(name, 2))
        nodes = {name: self._below(name, mapping[name], key=name) for name in order}
        return {name: nodes[name] for name in mapping}

    def _below(self, step: Any, value: Any, key: str = "") -> document.Node:
        """The node of what lies one `step` down; a `key` is checked as text there"""
        # No `finally`: after a failure the steps say where it was, and nothing else is asked.
        self._keys.append(step)
        if len(self._keys) > document.MAX_DEPTH:
            raise self._refuse(f"is nested deeper than {document.MAX_DEPTH} levels; flatten it")
        self._text(key)
        node = self._node(value)
        self._keys.pop()
        return node

    def _refuse(self, what: str) -> Invalid:
        first, *steps = map(_shown, self._keys)
        path = (str(self._keys[0]) if str(self._keys[0]).isidentifier() else first) + "".join(f"[{s}]" for s in steps)
        return Invalid(f"{path:.400} {what}", code="state", path=path)

    def _node(self, value: Any) -> document.Node:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise self._refuse(f"makes more than {MAX_NODES} values; a list may hold itself many times over")
        kind = type(value)
        if value is None or kind is bool:
            return value
        if kind is str:
            return self._text(value)
        if kind in {int, float, complex}:
            return document.encode_number(value)
        if kind is bytes:
            return document.encode_bytes(value)
        if kind in _MAPPINGS or kind in {list, tuple}:
            return self._container(value)
        return self._leaf(value)

    def _leaf(self, value: Any) -> document.Node:
        if isinstance(value, torch.Tensor):
            return self._tensor(value)
        if isinstance(value, np.ndarray):
            return self._array(value)
        if isinstance(value, np.generic):
            if value.dtype.name not in document.SCALARS:
                raise self._refuse(f"is a NumPy scalar of dtype {value.dtype}, which cannot be stored; convert it")
            return document.encode_scalar(value)
        if callable(getattr(type(value), "state_dict", None)):
            return self._container(self._state_dict(value))
        raise self._refuse(f"is a {_described(value)}; {_ADVICE.get(type(value), _PLAIN)}")

    def _state_dict(self, value: Any) -> Any:
        try:
            state = value.state_dict()
        except Exception as e:
            raise self._refuse(f"has a state_dict() that fails: {type(e).__name__}: {e!s:.200}") from e
        if type(state) not in _MAPPINGS:
            raise self._refuse(f"has a state_dict() that gives a {_described(state)}, not a dict")
        return state

    def _text(self, value: str) -> str:
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError as e:
                raise self._refuse("is or has as key a string with a lone surrogate, which is no valid text") from e
        return value

    def _container(self, value: Any) -> document.Node:
        if id(value) in self._open:
            raise self._refuse("holds itself; a state must be a tree")
        self._open.add(id(value))
        kind = type(value)
        if kind in _MAPPINGS:
            node = self._mapping(value, _MAPPINGS[kind])
        else:
            items = list(self._items(value))
            node = items if kind is list else {"tuple": items}
        self._open.discard(id(value))
        return node

    def _items(self, values: Iterable[Any]) -> Iterator[document.Node]:
        for number, value in enumerate(values):
            yield self._below(number, value)

    def _mapping(self, value: Any, tag: str) -> document.Node:
        metadata = getattr(value, "_metadata", None)
        named = all(type(key) is str for key in value)
        node: document.Node = {tag: self.members(value) if named else list(self._pairs(value))}
        if tag == "ordered" and metadata is not None:
            node["metadata"] = self._below("_metadata", metadata)
        return node

    def _pairs(self, value: Mapping[Any, Any]) -> Iterator[document.Node]:
        for key, item in value.items():
            if not _is_key(key):
                raise self._refuse(f"has the key {_shown(key)}; use strings, numbers or short tuples of them")
            yield [self._below(key, key), self._below(key, item)]

    def _tensor(self, tensor: torch.Tensor) -> document.Node:
        fault = _fault(tensor)
        if fault:
            raise self._refuse(fault)
        known = id(tensor) if not tensor.numel() else (tensor.data_ptr(), tensor.stride())
        same = (tensor.device, tensor.dtype, tuple(tensor.shape), known, tensor.is_conj(), tensor.is_neg())
        return self._named("tensor", same, NAMES[tensor.dtype], tensor)

    def _array(self, array: "np.ndarray[Any, Any]") -> document.Node:
        if type(array) not in {np.ndarray, np.memmap}:
            raise self._refuse(f"is a {_described(array)}; convert it with numpy.asarray")
        dtype = ARRAY_NAMES.get(array.dtype)
        if dtype is None:
            raise self._refuse(f"is an array of dtype {array.dtype!s:.80}, which safetensors lacks; convert it")
        return self._named("array", (id(array),), dtype, array)

    def _named(
        self, kind: document.Kind, same: tuple[Any, ...], dtype: str, value: "torch.Tensor | np.ndarray[Any, Any]"
    ) -> document.Node:
        """A node that names the tensor, which is kept once however often it is met"""
        if same not in self._known:
            file, keys = self._place()
            name = self._free_name(file, ".".join(key if type(key) is str else _shown(key) for key in keys))
            self.files[file].append(NamedTensor(name, dtype, value))
            self._known[same] = {kind: name, "file": file}
        return self._known[same]

    def _place(self) -> tuple[str, list[Any]]:
        if self._keys[0] != "state":
            return STATE, self._keys
        keys = self._keys[1:]
        if self._whole_model:
            return MODEL, keys
        file = _FILES.get(keys[0]) if keys and type(keys[0]) is str else None
        return (file, keys[1:] or keys) if file else (STATE, keys or self._keys)

    def _free_name(self, file: str, wanted: str) -> str:
        if wanted == "__metadata__" or name_fault(wanted):
            wanted = f"tensor~{len(self.files[file])}"
        name, number = wanted, 2
        while (file, name) in self._names:
            name = f"{wanted}~{number}"
            number += 1
        self._names.add((file, name))
        return name


def _described(value: Any) -> str:
    kind = type(value)
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{'class' if isinstance(value, type) else 'function'} {value.__qualname__:.80}"
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _shown(key: Any) -> str:
    try:
        return f"{key!r:.80}"
    except (ValueError, RecursionError):  # Python refuses to write an int of over 4300 digits
        return type(key).__name__


def _is_key(key: Any, depth: int = 0) -> bool:
    if type(key) is tuple:
        return depth < 8 and all(_is_key(part, depth + 1) for part in key)
    return key is None or type(key) in {bool, int, float, str, bytes}


def _fault(tensor: torch.Tensor) -> str | None:
    """Why a tensor cannot be stored, or None"""
    if type(tensor) not in {torch.Tensor, torch.nn.Parameter}:
        return f"is a {_described(tensor)}; convert it to a plain torch.Tensor"
    if tensor.layout is not torch.strided or tensor.is_nested:
        return f"is a tensor of layout {tensor.layout if not tensor.is_nested else 'nested'}; convert it to a dense one"
    if tensor.is_quantized:
        return "is a quantized tensor; store its int_repr(), scale and zero point"
    if tensor.is_meta:
        return "is a tensor on the meta device, which has no data; materialize it first"
    if tensor.dtype not in NAMES or (NAMES[tensor.dtype] == "F4" and not tensor.dim()):
        return f"is a tensor of dtype {tensor.dtype}, which safetensors lacks; convert it"
    return None
