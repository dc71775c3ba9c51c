"""A GGUF file of a model: its head, written by llama.cpp's gguf package, then tensors encoded as they are stored"""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from artifactstore.core.errors import Invalid
from artifactstore.derive.extras import need
from artifactstore.derive.making import Made, MadeFile, laid_out
from artifactstore.derive.quantize.ggml import TYPES, Type
from artifactstore.derive.quantize.gguf_model import Shape, factors, names, rotation
from artifactstore.derive.quantize.gguf_tokens import Tokens
from artifactstore.derive.quantize.levels import Level
from artifactstore.derive.quantize.matrix import FLOATS, Matrix, Tensors
from artifactstore.tensors.dtypes import view_bytes

_ALIGNMENT = 32
_HALF_ROTATED = "rope_freqs.weight"
# Type of weights, and llama.cpp's number for files that consist of it mostly.
_LEVELS: Mapping[Level, tuple[str, int]] = {
    Level.FP16: ("F16", 1),
    Level.BF16: ("BF16", 32),
    Level.INT8: ("Q8_0", 7),
    Level.Q8: ("Q8_0", 7),
    Level.Q4: ("Q4_K", 14),
    Level.Q3: ("Q3_K", 11),
    Level.Q2: ("Q2_K", 10),
}
# What takes shorter rows than the type before it.
_SHORTER = {"Q4_K": "Q4_0", "Q3_K": "Q4_0", "Q2_K": "Q4_0", "Q4_0": "F16", "Q8_0": "F16"}
_ENDS = ("token_embd.weight", "output.weight")


@dataclass(frozen=True, slots=True)
class Chosen:
    """What becomes of the tensors. types: by their names in the file; names: of the file by those of the source"""

    level: Level
    names: Mapping[str, str]
    types: Mapping[str, Type]
    notes: tuple[str, ...] = ()


def choose(tensors: Mapping[str, Any], shape: Shape, level: Level) -> Chosen:
    """By names and shapes alone; raise Invalid for what has no place in such a file"""
    usual, _ = _LEVELS[level]
    found = names(shape, tensors)
    types: dict[str, Type] = {}
    shorter: list[str] = []
    for name, saved_as in found.items():
        one = tensors[name]
        if one.dtype not in FLOATS:
            raise Invalid(f"Tensor {name!r:.80} is {one.dtype}, not a plain float", code="dtype", tensor=name)
        wanted = _wanted(usual, saved_as, one.shape)
        types[saved_as] = _fitting(wanted, one.shape)
        if types[saved_as].name != wanted:
            shorter.append(f"{saved_as} ({types[saved_as].name})")
    notes = [f"rows no blocks of {usual} fill: {len(shorter)}, such as {shorter[0]}"] if shorter else []
    if level is Level.Q2:
        notes.append("two bits cost much quality: measure it before it is used")
    return Chosen(level, found, types, tuple(notes))


def _wanted(usual: str, name: str, shape: Sequence[int]) -> str:
    if len(shape) < 2 or name.endswith("_norm.weight"):
        return "F32"
    return "Q8_0" if name in _ENDS and usual.endswith("_K") else usual


def _fitting(wanted: str, shape: Sequence[int]) -> Type:
    while (shape[-1] if shape else 1) % TYPES[wanted].block:
        wanted = _SHORTER[wanted]
    return TYPES[wanted]


def model_file(name: str, inputs: Tensors, chosen: Chosen, shape: Shape, tokens: Tokens) -> MadeFile:
    """The file NAME.gguf; raise Unavailable without the gguf package"""
    made = [_encoded(inputs, name, saved_as, chosen.types[saved_as], shape) for name, saved_as in chosen.names.items()]
    divided = factors(shape)
    if divided is not None:
        made.insert(0, Made(_HALF_ROTATED, "F32", tuple(divided.shape), divided.nbytes, None, _kept(divided)))
    head = _head(name, chosen.level, made, shape, tokens)
    placed, at = [], len(head)
    for one in made:
        placed.append((one, at))
        at += one.nbytes + -one.nbytes % _ALIGNMENT
    return laid_out(f"{name}.gguf", head, placed, size=at, form="gguf")


def _kept(tensor: torch.Tensor) -> Callable[[], Iterator[memoryview]]:
    return lambda: iter([view_bytes(tensor)])


def _encoded(inputs: Tensors, name: str, saved_as: str, kind: Type, shape: Shape) -> Made:
    matrix = Matrix(inputs, name)
    turn = rotation(shape, saved_as)
    whole_heads = shape.head if turn is not None else 1

    def work(rows: torch.Tensor) -> torch.Tensor:
        return kind.encode(rows if turn is None else turn(rows))

    def make() -> Iterator[memoryview]:
        yield from map(view_bytes, matrix.each(work, multiple=whole_heads))

    nbytes = matrix.rows * matrix.columns // kind.block * kind.nbytes
    key = matrix.key("gguf", kind.name, shape.head if turn is not None else 0)
    return Made(saved_as, kind.name, matrix.shape, nbytes, key, make)


def _head(name: str, level: Level, made: Sequence[Made], shape: Shape, tokens: Tokens) -> bytes:
    """All before the tensors, up to where the first one begins"""
    gguf = need("gguf")
    writer = gguf.GGUFWriter(None, shape.architecture)
    _say_model(writer, name, level, shape)
    _say_tokens(writer, tokens)
    for one in made:
        kind = gguf.GGMLQuantizationType(TYPES[one.dtype].number)
        writer.add_tensor_info(one.name, one.shape, np.dtype(np.float32), one.nbytes, raw_dtype=kind)
    with tempfile.TemporaryDirectory(prefix="artstore-") as folder:
        file = Path(folder) / "head"
        writer.write_header_to_file(file)
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        writer.close()
        raw = file.read_bytes()
    return raw + bytes(-len(raw) % _ALIGNMENT)


def _say_model(writer: Any, name: str, level: Level, shape: Shape) -> None:
    writer.add_type("model")
    writer.add_name(name)
    writer.add_block_count(shape.layers)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.hidden)
    writer.add_feed_forward_length(shape.inner)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.key_heads)
    writer.add_key_length(shape.head)
    writer.add_value_length(shape.head)
    writer.add_rope_dimension_count(shape.head)
    writer.add_rope_freq_base(shape.theta)
    writer.add_layer_norm_rms_eps(shape.epsilon)
    writer.add_vocab_size(shape.vocabulary)
    _say_scaling(writer, shape.scaling)
    writer.add_file_type(_LEVELS[level][1])
    writer.add_quantization_version(need("gguf").GGML_QUANT_VERSION)


def _say_scaling(writer: Any, scaling: Mapping[str, Any]) -> None:
    kind = scaling.get("rope_type")
    if kind not in {"linear", "yarn"}:
        return
    writer.add_rope_scaling_type(need("gguf").RopeScalingType(kind))
    writer.add_rope_scaling_factor(float(scaling["factor"]))
    if kind == "yarn" and "original_max_position_embeddings" in scaling:
        writer.add_rope_scaling_orig_ctx_len(int(scaling["original_max_position_embeddings"]))


def _say_tokens(writer: Any, tokens: Tokens) -> None:
    writer.add_tokenizer_model(tokens.model)
    if not tokens.tokens:
        return
    if tokens.pre is not None:
        writer.add_tokenizer_pre(tokens.pre)
    writer.add_token_list(list(tokens.tokens))
    if tokens.scores:
        writer.add_token_scores(list(tokens.scores))
    writer.add_token_types(list(tokens.types))
    if tokens.merges:
        writer.add_token_merges(list(tokens.merges))
    say = {
        "bos": writer.add_bos_token_id,
        "eos": writer.add_eos_token_id,
        "unknown": writer.add_unk_token_id,
        "padding": writer.add_pad_token_id,
    }
    for key, number in tokens.ids.items():
        say[key](number)
    for key, value in tokens.flags.items():
        {"add_bos_token": writer.add_add_bos_token, "add_eos_token": writer.add_add_eos_token}[key](value)
    if tokens.template is not None:
        writer.add_chat_template(tokens.template)
