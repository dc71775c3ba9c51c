"""Convert: a graph in float32 as another level of it"""

from pathlib import Path
from typing import Any

from artifactstore.derive.extras import need
from artifactstore.derive.web import blocks
from artifactstore.derive.web.export import CACHE
from artifactstore.derive.web.graph import INLINE, Graph, Writer, bare, remove, replace_initializers, rewritten
from artifactstore.derive.web.levels import WebLevel

# onnxruntime in browsers has no convolution of signed bytes, and what fuses attention takes unsigned ones
_UNSIGNED = {"Conv", "GroupQueryAttention", "MultiHeadAttention"}

# says that its advice was heard, which it would else give to the root logger
_PREPARED = {"onnx.quant.pre_process": "onnxruntime.quant"}


def convert(source: Path, level: WebLevel, folder: Path, inline: int = INLINE) -> list[Path]:
    """Write a level of a model to a folder; its files, the graph first

    inline: how many bytes of weights may lie in the graph itself; more lie in a file beside it.
    """
    dest = folder / level.file
    if level.dynamic:
        return _dynamic(source, level, dest, inline)
    if level.half:
        return _half(source, level, dest, inline)
    if level.heads:
        return blocks.quantize(source, level, dest, inline)
    return rewritten(source, dest, inline)


def _half(source: Path, level: WebLevel, dest: Path, inline: int) -> list[Path]:
    """Float16 inside; what goes in and out stays float32 for callers, but for the cache, which only comes back"""
    onnx, float16 = need("onnx"), need("onnxruntime.transformers.float16")
    middle = dest.with_name(f"middle-{dest.name}")
    if level.heads:
        blocks.quantize(source, level, middle)
    else:
        rewritten(source, middle)
    model = onnx.load(str(middle))
    kept = [one.name for one in (*model.graph.input, *model.graph.output) if not one.name.startswith(CACHE)]
    half = float16.convert_float_to_float16(model, keep_io_types=kept, disable_shape_infer=True)
    remove(middle)
    return _saved(half, dest, inline)


def _dynamic(source: Path, level: WebLevel, dest: Path, inline: int) -> list[Path]:
    """Bytes, with activations quantized as the model runs"""
    quantization = need("onnxruntime.quantization")
    middle, out = dest.with_name(f"middle-{dest.name}"), dest.with_name(f"out-{dest.name}")
    graph = Graph(source)
    operators = {node.op_type for node in graph.model.graph.node}
    unsigned = level.name == "uint8" or (level.name != "int8" and bool(operators & _UNSIGNED))
    with Writer(middle) as writer:
        _untie(graph, writer)
        graph.model.graph.ClearField("value_info")  # the library infers shapes anew, and those of torch are in its way
        writer.finish(graph.model, inline=0, metadata=_PREPARED)
    quantization.quantize_dynamic(
        str(middle),
        str(out),
        weight_type=quantization.QuantType.QUInt8 if unsigned else quantization.QuantType.QInt8,
        per_channel=True,
        use_external_data_format=True,
        extra_options={"MatMulConstBOnly": True, "DefaultTensorType": need("onnx").TensorProto.FLOAT},
    )
    remove(middle)
    files = rewritten(out, dest, inline)
    remove(out)
    return files


def _untie(graph: Graph, writer: Writer) -> None:
    """A table of embeddings that is the last matrix transposed as a table of its own, so that both become bytes"""
    model = graph.model
    tensors = {name: writer.tensor(name, graph.array(name)) for name in graph.initializers}
    for node in [n for n in model.graph.node if n.op_type == "Transpose" and graph.is_matrix(n.input[0])]:
        tensors[node.output[0]] = writer.tensor(node.output[0], graph.array(node.input[0]).T)
        model.graph.node.remove(node)
    used = graph.uses()
    replace_initializers(model, [tensor for name, tensor in tensors.items() if used[name]])


def _saved(model: Any, dest: Path, inline: int) -> list[Path]:
    """A model that is in memory"""
    to_array = need("onnx").numpy_helper.to_array
    with Writer(dest) as writer:
        replace_initializers(model, [writer.tensor(one.name, to_array(one)) for one in model.graph.initializer])
        bare(model)
        return writer.finish(model, inline)
