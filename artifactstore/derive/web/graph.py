"""Graph: an ONNX model whose weights stay on the disk, read one at a time, and one that is written so"""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from artifactstore.derive.extras import need

# as onnxruntime asks for; smaller ones stay in the graph, where shapes are inferred from them
ALIGN = 64
SMALL = 1024
# what a graph with its weights may take: protobuf reads no more than 2 GiB, and a browser fetches it as one
INLINE = 512 << 20
DATA = "_data"
_NONE: Mapping[str, str] = MappingProxyType({})


class Graph:
    """A model read from a file, its large weights left where they are

    The graph may be changed; weights of the file are had with `array`, whole, one after another.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._onnx = need("onnx")
        self.model: Any = self._onnx.load(str(path), load_external_data=False)
        self.initializers: dict[str, Any] = {one.name: one for one in self.model.graph.initializer}

    def uses(self) -> Counter[str]:
        """How often each value is taken by a node, or is an output"""
        taken = Counter(name for node in self.model.graph.node for name in node.input)
        return taken + Counter(output.name for output in self.model.graph.output)

    def array(self, name: str) -> npt.NDArray[Any]:
        """A weight, mapped from the disk where it lies there"""
        tensor = self.initializers[name]
        if not self._onnx.external_data_helper.uses_external_data(tensor):
            found: npt.NDArray[Any] = self._onnx.numpy_helper.to_array(tensor)
            return found
        where = self._onnx.external_data_helper.ExternalDataInfo(tensor)
        dtype = self._onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
        local = self.path.parent / where.location
        return np.memmap(local, dtype=dtype, mode="r", offset=where.offset or 0, shape=tuple(tensor.dims))

    def is_matrix(self, name: str) -> bool:
        """Whether it is a weight of two dimensions in float32"""
        found = self.initializers.get(name)
        return found is not None and len(found.dims) == 2 and found.data_type == self._onnx.TensorProto.FLOAT


class Writer:
    """A model written to a file, its weights to one beside it as they come"""

    def __init__(self, path: Path) -> None:
        self._path, self._onnx = path, need("onnx")
        self._data = path.with_name(path.name + DATA)
        self._file = self._data.open("wb")
        self.nbytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def tensor(self, name: str, array: npt.NDArray[Any]) -> Any:
        """A weight of this name, its bytes in the file beside unless they are few"""
        self.nbytes += array.nbytes
        if array.nbytes < SMALL:
            return self._onnx.numpy_helper.from_array(np.ascontiguousarray(array), name)
        self._file.write(bytes(-self._file.tell() % ALIGN))
        found = self._onnx.TensorProto(
            name=name,
            dims=array.shape,
            data_type=self._onnx.helper.np_dtype_to_tensor_dtype(array.dtype),
            data_location=self._onnx.TensorProto.EXTERNAL,
        )
        for key, value in (("location", self._data.name), ("offset", self._file.tell()), ("length", array.nbytes)):
            found.external_data.add(key=key, value=str(value))
        self._file.write(np.ascontiguousarray(array).view(np.uint8).data)
        return found

    def finish(self, model: Any, inline: int = INLINE, metadata: Mapping[str, str] = _NONE) -> list[Path]:
        """Write the graph; its weights go into it where it has at most `inline` bytes then. The files there are"""
        self._file.close()
        bare(model)
        for key, value in metadata.items():
            model.metadata_props.add(key=key, value=value)
        if self._data.stat().st_size <= inline:
            self._onnx.external_data_helper.load_external_data_for_model(model, str(self._path.parent))
            for tensor in model.graph.initializer:
                tensor.ClearField("data_location")
                tensor.ClearField("external_data")
            self._data.unlink()
        self._path.write_bytes(model.SerializeToString(deterministic=True))
        return [path for path in (self._path, self._data) if path.exists()]


def bare(model: Any) -> None:
    """Take away what tools note for themselves: where code lay, and shapes that were inferred"""
    model.ClearField("metadata_props")
    model.ClearField("doc_string")
    model.graph.ClearField("metadata_props")
    model.graph.ClearField("doc_string")
    for one in _noted(model.graph):
        one.ClearField("metadata_props")
        one.ClearField("doc_string")


def _noted(graph: Any) -> Iterator[Any]:
    for rows in (graph.node, graph.value_info, graph.input, graph.output, graph.initializer):
        yield from rows


def rewritten(source: Path, dest: Path, inline: int = INLINE) -> list[Path]:
    """The same model under another name, with its weights as `Writer` keeps them"""
    graph = Graph(source)
    with Writer(dest) as writer:
        tensors = [writer.tensor(name, graph.array(name)) for name in graph.initializers]
        replace_initializers(graph.model, tensors)
        return writer.finish(graph.model, inline)


def replace_initializers(model: Any, tensors: list[Any]) -> None:
    """All weights of a model by others"""
    model.graph.ClearField("initializer")
    model.graph.initializer.extend(tensors)


def remove(path: Path) -> None:
    """A model and what lies beside it for it"""
    for one in path.parent.glob(path.name + "*"):
        one.unlink()
