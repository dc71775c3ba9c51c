"""Blocks: matrices of a graph in 2 or 4 bits, a scale and a zero point for every 32 weights

Operators MatMulNBits and GatherBlockQuantized of onnxruntime, by its own kernels, a slice of columns at a time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from artifactstore.derive.extras import need
from artifactstore.derive.web import fitting
from artifactstore.derive.web.graph import INLINE, Graph, Writer, replace_initializers
from artifactstore.derive.web.levels import BLOCK, WebLevel

_DOMAIN = "com.microsoft"
_SLICE = 16 << 20  # elements of a matrix that are quantized at a time
# a table of fewer rows, such as one of positions, is small and stays as it is
_TABLE = 4096

Array = npt.NDArray[Any]
Columns = Callable[[int, int], Array]


@dataclass(frozen=True, slots=True)
class _Packed:
    """A matrix of `inner` by `outer` in blocks, by the names of its parts: the bits, the scales, the zero points"""

    names: tuple[str, str, str]
    inner: int
    outer: int
    bits: int


def quantize(source: Path, level: WebLevel, dest: Path, inline: int = INLINE) -> list[Path]:
    """Write a model with its matrices in blocks; the files there are. What is left of float32 is as it was"""
    graph = Graph(source)
    with Writer(dest) as writer:
        _Rewriting(graph, level, writer).all()
        return writer.finish(graph.model, inline)


class _Rewriting:
    """Nodes one after another; a matrix that several take is packed once"""

    def __init__(self, graph: Graph, level: WebLevel, writer: Writer) -> None:
        self._graph, self._level, self._writer = graph, level, writer
        self._onnx = need("onnx")
        self._packed: dict[str, _Packed] = {}
        self._tensors: list[Any] = []
        nodes = graph.model.graph.node
        # a table that is the transposed last matrix: how the builder ties them
        self._turned = {
            n.output[0]: n.input[0] for n in nodes if n.op_type == "Transpose" and graph.is_matrix(n.input[0])
        }
        self._heads = {n.input[1]: n.name for n in nodes if n.op_type == "MatMul" and graph.is_matrix(n.input[1])}

    def all(self) -> None:
        """Rewrite the model of the graph"""
        model = self._graph.model
        nodes = [new for node in model.graph.node for new in self._node(node)]
        model.graph.ClearField("node")
        model.graph.node.extend(nodes)
        used = self._graph.uses()
        # what nobody takes any more, such as the transposed table
        for node in [node for node in model.graph.node if not any(used[name] for name in node.output)]:
            model.graph.node.remove(node)
        used = self._graph.uses()
        left = [self._writer.tensor(name, self._graph.array(name)) for name in self._graph.initializers if used[name]]
        replace_initializers(model, [*self._tensors, *left])
        if not any(one.domain == _DOMAIN for one in model.opset_import):
            model.opset_import.add(domain=_DOMAIN, version=1)

    def _node(self, node: Any) -> list[Any]:
        if node.op_type == "MatMul" and self._graph.is_matrix(node.input[1]):
            return [self._matmul(node)]
        if node.op_type == "Gather":
            return self._gather(node) or [node]
        return [node]

    def _matmul(self, node: Any) -> Any:
        packed = self._pack(node.input[1], self._level.bits_of(node.name))
        return self._onnx.helper.make_node(
            "MatMulNBits",
            [node.input[0], *packed.names],
            list(node.output),
            name=node.name,
            domain=_DOMAIN,
            K=packed.inner,
            N=packed.outer,
            bits=packed.bits,
            block_size=BLOCK,
        )

    def _gather(self, node: Any) -> list[Any]:
        """A lookup in the packed table, or in the last matrix itself where both are one; none: it stays"""
        tied = self._turned.get(node.input[0])
        name = tied or node.input[0]
        axis = next((one.i for one in node.attribute if one.name == "axis"), 0)
        if axis or not self._graph.is_matrix(name):
            return []
        shape = list(self._graph.initializers[name].dims)
        rows, inner = reversed(shape) if tied else shape
        if inner % BLOCK or not (tied or rows >= _TABLE):
            return []
        bits = self._level.bits_of(self._heads[name]) if name in self._heads else self._level.heads
        packed = self._pack(name, bits) if tied else self._pack_rows(name, bits)
        flat, size = f"{packed.names[0]}_rows", f"{packed.names[0]}_shape"
        self._tensors.append(self._writer.tensor(size, np.array([rows, inner * bits // 8], np.int64)))
        make = self._onnx.helper.make_node
        lookup = make(
            "GatherBlockQuantized",
            [flat, node.input[1], *packed.names[1:]],
            list(node.output),
            name=node.name,
            domain=_DOMAIN,
            bits=bits,
            block_size=BLOCK,
            gather_axis=0,
            quantize_axis=1,
        )
        return [make("Reshape", [packed.names[0], size], [flat], name=f"{node.name}/Reshape"), lookup]

    def _pack(self, name: str, bits: int) -> _Packed:
        array = self._graph.array(name)
        return self._in_blocks(name, bits, array.shape[0], array.shape[1], lambda begin, end: array[:, begin:end])

    def _pack_rows(self, name: str, bits: int) -> _Packed:
        array = self._graph.array(name)
        return self._in_blocks(name, bits, array.shape[1], array.shape[0], lambda begin, end: array[begin:end].T)

    def _in_blocks(self, name: str, bits: int, inner: int, outer: int, columns: Columns) -> _Packed:
        if name in self._packed:
            return self._packed[name]
        kernel = fitting.quantize if bits == fitting.BITS else _kernel(bits)
        step = max(_SLICE // max(inner, 1), 1)
        parts = [
            kernel(np.ascontiguousarray(columns(begin, min(begin + step, outer)), np.float32))
            for begin in range(0, outer, step)
        ]
        names = (f"{name}_Q{bits}", f"{name}_scales", f"{name}_zero_points")
        for part, found in zip(names, zip(*parts, strict=True), strict=True):
            self._tensors.append(self._writer.tensor(part, np.concatenate(found)))
        self._packed[name] = _Packed(names, inner, outer, bits)
        return self._packed[name]


def _kernel(bits: int) -> Callable[[Array], tuple[Array, Array, Array]]:
    """The library's own, from the least and the largest of a block"""
    library = need("onnxruntime.quantization.matmul_nbits_quantizer")
    config = library.DefaultWeightOnlyQuantConfig(block_size=BLOCK, is_symmetric=False, bits=bits)
    kernel: Callable[[Array], tuple[Array, Array, Array]] = library.DefaultWeightOnlyQuantizer(config).qbits_block_quant
    return kernel
