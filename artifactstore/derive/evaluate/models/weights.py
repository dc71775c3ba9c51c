"""Weights: the numbers in a model's files as they are stored, a part at a time"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from artifactstore.derive.evaluate.models.files import Chosen, Format
from artifactstore.derive.evaluate.models.quiet import opening
from artifactstore.derive.extras import need

# Values that are looked at together.
_PART = 1 << 24


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows of one tensor. shape: of all of it; last: whether no more come"""

    name: str
    shape: tuple[int, ...]
    values: torch.Tensor
    last: bool


def parts(folder: Path, chosen: Chosen, ends: tuple[str, ...] = ("",)) -> Iterator[Part]:
    """Of each tensor of floating point, and of each quantized one of GGUF what it stands for

    ends: one of them ends the name of each.
    """
    with opening("weights"):
        for path in chosen.weights:
            match chosen.format:
                case Format.SAFETENSORS:
                    yield from _safetensors(folder / path, ends)
                case Format.GGUF:
                    yield from _gguf(folder / path, ends)
                case Format.ONNX if path == chosen.path:
                    yield from _onnx(folder / path, ends)


def _safetensors(path: Path, ends: tuple[str, ...]) -> Iterator[Part]:
    with need("safetensors").safe_open(str(path), framework="pt") as file:
        for name in filter(lambda name: name.endswith(ends), file.keys()):
            rows = file.get_slice(name)
            shape = tuple(rows.get_shape())
            for begin, end, last in _cuts(shape):
                values = file.get_tensor(name) if not shape else rows[begin:end]
                if values.is_floating_point():
                    # torch asks nothing of numbers of a byte each
                    yield Part(name, shape, values.float() if values.element_size() == 1 else values, last)


def _gguf(path: Path, ends: tuple[str, ...]) -> Iterator[Part]:
    library = need("gguf")
    for tensor in library.GGUFReader(str(path)).tensors:
        if not tensor.name.endswith(ends):
            continue
        shape = tuple(int(one) for one in reversed(tensor.shape))
        for begin, end, last in _cuts(shape):
            values = library.quants.dequantize(tensor.data[begin:end], tensor.tensor_type)
            yield Part(tensor.name, shape, torch.tensor(values), last)


def _onnx(path: Path, ends: tuple[str, ...]) -> Iterator[Part]:
    library = need("onnx")
    graph = library.load(str(path), load_external_data=False).graph
    kinds = {library.TensorProto.FLOAT, library.TensorProto.FLOAT16, library.TensorProto.DOUBLE}
    for tensor in graph.initializer:
        if tensor.data_type in kinds and 0 not in tensor.dims and tensor.name.endswith(ends):
            values: Any = library.numpy_helper.to_array(tensor, base_dir=str(path.parent))
            yield Part(tensor.name, tuple(tensor.dims), torch.tensor(values), last=True)


def _cuts(shape: tuple[int, ...]) -> Iterator[tuple[int, int, bool]]:
    """(begin, end, last) of rows that together have so many values, at least one; none of a tensor that is empty"""
    if 0 in shape:
        return
    count = shape[0] if shape else 1
    of_row = 1
    for size in shape[1:]:
        of_row *= size
    step = max(_PART // of_row, 1)
    for begin in range(0, count, step):
        yield begin, min(begin + step, count), begin + step >= count
